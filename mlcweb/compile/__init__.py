"""Compiles a source to a bundle: decides everything, then makes it stage by stage.

``decide`` refuses what can be refused before any work is done, ``write`` makes the bundle, ``run`` does the two.
"""

from mlcweb.compile.request import CompileRequest, CompileResult
from mlcweb.compile.run import compile_bundle

__all__ = ["CompileRequest", "CompileResult", "compile_bundle"]
