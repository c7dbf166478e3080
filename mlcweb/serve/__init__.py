"""Serves the engine's pages at ``/`` and a bundle's files at ``/bundle/``, on this machine."""

from mlcweb.serve.server import Server, engine_folder, serving

__all__ = ["Server", "engine_folder", "serving"]
