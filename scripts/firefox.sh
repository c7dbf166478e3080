#!/usr/bin/env bash
# Print the Firefox that tests run: MLCWEB_FIREFOX, or the one on PATH; as root on Debian, one is installed.
set -euo pipefail
for name in ${MLCWEB_FIREFOX:+"$MLCWEB_FIREFOX"} firefox firefox-esr; do
  if command -v "$name"; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no Firefox here; on Debian: sudo apt-get install firefox-esr" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
mkdir -p "$(dirname "$0")/../.cache"
exec 9>"$(dirname "$0")/../.cache/apt.lock" && flock 9 # tests run in several processes
apt-get update -q </dev/null >&2
apt-get install -y -q --no-install-recommends firefox-esr </dev/null >&2
command -v firefox-esr
