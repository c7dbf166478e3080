#!/usr/bin/env bash
# Print a web server that tests run:  scripts/web-server.sh nginx|caddy [FOLDER]
# The one on PATH; as root on Debian, Debian's packages unpacked into FOLDER: nothing is installed, no service started.
# nginx is printed only with its module for brotli, as Debian's packages lay them out.
set -euo pipefail
name=${1:?nginx or caddy}
out=${2:-$(dirname "$0")/../.cache/web-servers}
die() { echo "web-server: $*" >&2; exit 1; }
case $name in
  nginx) packages=(nginx nginx-common libnginx-mod-http-brotli-filter) libraries=(libbrotli1 libpcre2-8-0) ;;
  caddy) packages=(caddy) libraries=() ;;
  *) die "knows nginx and caddy, not $name" ;;
esac

# The program, from the root of a file system; the module stands beside it.
complete() { [ -x "$1" ] && { [ "$name" != nginx ] || [ -f "${1%/sbin/nginx}/lib/nginx/modules/ngx_http_brotli_filter_module.so" ]; }; }
if [ $# -lt 2 ]; then
  for program in $(PATH=$PATH:/usr/sbin command -v "$name" || true); do
    if complete "$program"; then echo "$program"; exit 0; fi
  done
fi
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
  die "no $name here that has what tests need; on Debian: sudo apt-get install ${packages[*]}"
mkdir -p "$out" "$(dirname "$0")/../.cache"
out=$(cd "$out" && pwd)
exec 9>"$(dirname "$0")/../.cache/apt.lock" && flock 9 # tests run in several processes
found() { find "$out/$name/usr" -path "*bin/$name" -type f 2>/dev/null; }
if complete "$(found)"; then found; exit 0; fi
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get update -q && apt-get -o APT::Sandbox::User=root download -q "${packages[@]}" "${libraries[@]}") \
  </dev/null >&2 || die "apt-get could not fetch ${packages[*]}"
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
rm -rf "${out:?}/$name"
mv "$work/root" "$out/$name"
program=$(found)
lacks=$(LD_LIBRARY_PATH=$(echo "$out/$name"/usr/lib/*-linux-gnu) LC_ALL=C ldd "$program" 2>/dev/null | awk '/not found/ {print $1}' | xargs)
[ -z "$lacks" ] || die "$name needs libraries that are not here: $lacks"
complete "$program" || die "Debian's packages do not hold what was expected"
echo "$program"
