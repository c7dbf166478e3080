#!/usr/bin/env bash
# Make a software Chromium whose WebGPU has shader-f16 (and subgroups of 8):  scripts/f16-chromium.sh [FOLDER]
# It prints the program to run, which mlcweb takes as MLCWEB_CHROMIUM. Debian 12, root for apt's package lists.
#
# SwiftShader, Chromium's own software GPU, has no 16-bit floats; Mesa's lavapipe has, since version 25, which is
# in bookworm-backports. One library of that package, unpacked and not installed, takes SwiftShader's place in a
# copy of Debian's chromium, behind scripts/vulkan_as_swiftshader.c.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out=${1:-$root/.cache/f16-chromium}
debian_chromium=/usr/lib/chromium
die() { echo "f16-chromium: $*" >&2; exit 1; }

if [ -x "$out/chromium-f16" ]; then echo "$out/chromium-f16"; exit 0; fi
[ -x "$debian_chromium/chromium" ] || die "needs Debian's chromium package (apt-get install chromium)"
grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release || die "needs Debian 12; this is $(. /etc/os-release; echo "$PRETTY_NAME")"
[ "$(id -u)" = 0 ] || die "needs root, to read package lists with apt-get"
mkdir -p "$out" "$root/.cache"
exec 9>"$root/.cache/apt.lock" && flock 9 # tests run in several processes
if [ -x "$out/chromium-f16" ]; then echo "$out/chromium-f16"; exit 0; fi
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The mirror that this machine uses already, with lists of its own so that the system's stay as they are.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 ~ /^bookworm$/ {print $1; exit}')
[ -n "$mirror" ] || die "found no bookworm mirror in apt's sources"
echo "deb $mirror bookworm-backports main" > "$work/sources.list"
mkdir -p "$work/lists/partial"
apt=(apt-get -q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root)
"${apt[@]}" update </dev/null >&2 || die "apt-get could not read bookworm-backports"
(cd "$work" && "${apt[@]}" download mesa-vulkan-drivers </dev/null >&2) || die "apt-get could not fetch mesa-vulkan-drivers"
dpkg-deb -x "$work"/mesa-vulkan-drivers_*.deb "$work/mesa"
driver=$(find "$work/mesa" -name libvulkan_lvp.so)
[ -n "$driver" ] || die "the package holds no libvulkan_lvp.so"
cp "$driver" "$work/libvulkan_lvp.so"
# Libraries that the driver needs and the machine lacks are installed: they are Debian 12's own.
missing() { LC_ALL=C ldd "$driver" | awk '/not found/ {print $1}' | xargs; }
if [ -n "$(missing)" ]; then
  needs=$(dpkg-deb -f "$work"/mesa-vulkan-drivers_*.deb Depends | tr ',' '\n' | awk '{print $1}' | xargs)
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q </dev/null >&2
  apt-get install -y -q --no-install-recommends $needs </dev/null >&2 || die "apt-get could not install the driver's libraries"
  [ -z "$(missing)" ] || die "Mesa's driver needs libraries that are not here: $(missing)"
fi

cp -a "$debian_chromium" "$work/chromium"
mv "$work/chromium/libvk_swiftshader.so" "$work/chromium/libvk_swiftshader_real.so"
sed -i 's#libvk_swiftshader\.so#libvk_swiftshader_real.so#' "$work/chromium/vk_swiftshader_icd.json"
# ziglang, which mlcweb depends on anyway, is a C compiler too.
"$root/.venv/bin/python" -m ziglang cc -O2 -shared -fPIC -target x86_64-linux-gnu.2.36 \
  -o "$work/chromium/libvk_swiftshader.so" "$here/vulkan_as_swiftshader.c" -ldl >&2

rm -rf "$out/chromium"
mv "$work/chromium" "$work/libvulkan_lvp.so" "$out/"
cat > "$work/chromium-f16" <<EOF
#!/bin/sh
export ICD_SO="$out/libvulkan_lvp.so"
# Its compiler takes a fifth of the time for vectors of four lanes, of kernels with loops in loops.
export LP_NATIVE_VECTOR_WIDTH=128
exec "$out/chromium/chromium" "\$@"
EOF
chmod +x "$work/chromium-f16"
mv "$work/chromium-f16" "$out/"
echo "$out/chromium-f16"
