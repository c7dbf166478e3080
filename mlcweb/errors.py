"""Defines the errors that a user can act on; the command line prints one message for each and exits with 1."""

from __future__ import annotations


class MlcwebError(Exception):
    """A known failure: what happened, which file or flag, and what to do next.

    ``code`` is a stable kebab-case identifier for machines; ``hint`` is the next step, one sentence.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SourceError(MlcwebError):
    """The model's source cannot be found, reached or read."""

    code = "source"


class CheckpointError(MlcwebError):
    """The checkpoint's files are damaged, or disagree with its config."""

    code = "checkpoint"


class UnsupportedError(MlcwebError):
    """An architecture, quantization or option that mlcweb does not implement."""

    code = "unsupported"


class RecipeError(MlcwebError):
    """An unknown or malformed recipe."""

    code = "recipe"


class CompileError(MlcwebError):
    """Lowering or code generation produced something WebGPU's limits do not admit."""

    code = "compile"


class BundleError(MlcwebError):
    """A bundle is missing, damaged, or of another format version."""

    code = "bundle"


class HostError(MlcwebError):
    """A host of bundles cannot be reached, or a page could not load from it."""

    code = "host"


class BrowserError(MlcwebError):
    """No usable browser, or the page in it failed."""

    code = "browser"


class ValidationError(MlcwebError):
    """The bundle ran, and its answer differs from the host reference."""

    code = "validation"


class ProfileError(MlcwebError):
    """A file that should hold a profile does not."""

    code = "profile"


class PublishError(MlcwebError):
    """A bundle cannot be published: the target refuses it, holds something else, or cannot be reached."""

    code = "publish"


class BuildError(MlcwebError):
    """A list of models is wrong, or some of its bundles could not be made."""

    code = "build"
