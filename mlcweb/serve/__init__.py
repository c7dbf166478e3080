"""The local server: the engine's pages at ``/``, a bundle's files at ``/bundle/``."""

from mlcweb.serve.server import Server, engine_folder, serving

__all__ = ["Server", "engine_folder", "serving"]
