#!/usr/bin/env bash
# The virtual environment with mlcweb installed editable:  scripts/venv.sh PYTHON FOLDER
set -euo pipefail
python=$1 folder=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "mlcweb needs Python 3.10 or later; $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.11" >&2
  exit 1
}
if [ ! -x "$folder/bin/pip" ]; then
  # Debian ships Python without ensurepip; the package that has it is named after the version.
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      export DEBIAN_FRONTEND=noninteractive
      apt-get update -q </dev/null >&2
      apt-get install -y -q --no-install-recommends "python$version-venv" </dev/null >&2
    else
      echo "$python cannot make virtual environments. Install it with: sudo apt-get install python$version-venv" >&2
      exit 1
    fi
  fi
  "$python" -m venv "$folder"
fi
"$folder/bin/pip" install --quiet --no-input --disable-pip-version-check -e '.[dev]'
