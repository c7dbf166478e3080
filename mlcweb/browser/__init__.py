"""Finds the Chrome or Chromium that is installed, and runs the engine's pages in it."""
