#!/usr/bin/env bash
# See that a Chrome or Chromium is here; as root on Debian, install Debian's when there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

find_it() { .venv/bin/python -c 'from mlcweb.browser.find import find_chromium; find_chromium()' 2>/dev/null; }

find_it && exit 0
if [ -n "${MLCWEB_CHROMIUM:-}" ]; then
  echo "MLCWEB_CHROMIUM names $MLCWEB_CHROMIUM, which is not a program that can be run" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "No Chrome or Chromium found. Install one (Debian: sudo apt-get install chromium), or set MLCWEB_CHROMIUM." >&2
  exit 1
fi
echo "no Chrome or Chromium found: installing Debian's chromium" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q </dev/null >&2
apt-get install -y -q --no-install-recommends chromium </dev/null >&2
find_it || { echo "apt-get installed chromium, but it cannot be found" >&2; exit 1; }
