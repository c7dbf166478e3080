#!/usr/bin/env bash
# See that a Chrome or Chromium is here, and that playwright can drive it; as root on Debian, install what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

find_browser() { .venv/bin/python -c 'from mlcweb.browser.find import find_chromium; find_chromium()' 2>/dev/null; }
# The wheel brings a Node.js of its own, which needs one library that a bare Debian lacks.
driver_runs() { "${PLAYWRIGHT_NODEJS_PATH:-$(echo .venv/lib/python3*/site-packages/playwright/driver/node)}" --version >/dev/null 2>&1; }

packages=()
if ! find_browser; then
  if [ -n "${MLCWEB_CHROMIUM:-}" ]; then
    echo "MLCWEB_CHROMIUM names $MLCWEB_CHROMIUM, which is not a program that can be run" >&2
    exit 1
  fi
  packages+=(chromium)
fi
driver_runs || packages+=(libatomic1)
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing here: ${packages[*]}. Install them (Debian: sudo apt-get install ${packages[*]});" >&2
  echo "MLCWEB_CHROMIUM names a Chrome or Chromium in an unusual place." >&2
  exit 1
fi
echo "installing Debian's ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q </dev/null >&2
apt-get install -y -q --no-install-recommends "${packages[@]}" </dev/null >&2
find_browser || { echo "chromium was installed, but cannot be found" >&2; exit 1; }
driver_runs || { echo "playwright's Node.js still does not run" >&2; exit 1; }
