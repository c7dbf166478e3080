"""Finds the Chrome or Chromium to run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mlcweb.errors import BrowserError

ENVIRONMENT = "MLCWEB_CHROMIUM"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KNOWN_PATHS = (
    "/usr/bin/chromium",
    "/usr/lib/chromium/chromium",
    "/usr/bin/google-chrome",
    "/opt/google/chrome/chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
)


def find_chromium(explicit: Path | None = None) -> Path:
    """The browser named by ``explicit`` or ``$MLCWEB_CHROMIUM``, else the first one installed."""
    named = str(explicit) if explicit else os.environ.get(ENVIRONMENT, "")
    if named:
        program = shutil.which(named)
        if not program:
            said = "--chromium" if explicit else f"${ENVIRONMENT}"
            raise BrowserError(
                f"{said} names {named}, which is not a program that can be run", hint=how_to_install()
            )
        return Path(program)
    # A PATH set to nothing means "search nowhere", which tests and minimal environments rely on.
    search = os.environ.get("PATH", os.defpath)
    for command in COMMANDS:
        if search and (program := shutil.which(command, path=search)):
            return Path(program)
    if search:
        for path in KNOWN_PATHS:
            if os.access(path, os.X_OK):
                return Path(path)
    raise BrowserError("no Chrome or Chromium found", hint=how_to_install())


def how_to_install() -> str:
    """The one command that gets a browser here."""
    if sys.platform == "darwin":
        command = "install it with `brew install --cask google-chrome`"
    elif shutil.which("apt-get") or Path("/usr/bin/apt-get").exists():
        sudo = "" if os.geteuid() == 0 else "sudo "
        command = f"install it with `{sudo}apt-get install chromium`"
    else:
        command = "install Chrome or Chromium"
    return f"{command}, or set {ENVIRONMENT} to its path"
