#!/usr/bin/env bash
# Programs for other machines into dist/: stripped, one per set of features, for glibc 2.28 and newer (2018: RHEL 8,
# Debian 10, Ubuntu 20.04), so that a cluster needs no Rust. The GPU one needs a driver and NVRTC to use CUDA, nothing to start.
#   scripts/release.sh [cpu] [gpu]        default: both; gpu = CUDA and wgpu
# Installs nothing; needs cargo-zigbuild and Zig, which links against the old glibc (and compiles the parts in C):
#   pip install cargo-zigbuild ziglang
set -euo pipefail
cd "$(dirname "$0")/.."
GLIBC=2.28
ARCH="${ARCH:-x86_64}"
target="$ARCH-unknown-linux-gnu"
missing=()
command -v cargo-zigbuild > /dev/null || missing+=("cargo-zigbuild (pip install cargo-zigbuild)")
command -v zig > /dev/null || python3 -c 'import ziglang' 2> /dev/null || missing+=("zig (pip install ziglang)")
command -v objdump > /dev/null || missing+=("objdump and strip (binutils)")
if [ ${#missing[@]} -gt 0 ]; then
  printf 'release.sh: missing %s\n' "${missing[@]}" >&2
  exit 2
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
mkdir -p dist
[ $# -gt 0 ] || set -- cpu gpu
for set in "$@"; do
  case "$set" in
    cpu) features=() ;;
    gpu) features=(--features gpu) ;;
    *) echo "release.sh: got $set, expected cpu or gpu" >&2; exit 2 ;;
  esac
  cargo zigbuild --release -p nextmem --target "$target.$GLIBC" "${features[@]}"
  name="nextmem-$version-$target.$GLIBC-$set"
  strip -o "dist/$name" "${CARGO_TARGET_DIR:-target}/$target/release/nextmem"
  needs=$(objdump -T "dist/$name" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
  if [ "$(printf '%s\n%s\n' "$needs" "$GLIBC" | sort -V | tail -n 1)" != "$GLIBC" ]; then
    echo "release.sh: $name needs glibc $needs, expected at most $GLIBC" >&2
    exit 1
  fi
  # It runs where it was built for.
  if [ "$(uname -m)" = "$ARCH" ]; then
    "dist/$name" --version
    "dist/$name" devices > /dev/null
  fi
  echo "$name needs glibc $needs, $(stat -c %s "dist/$name") bytes"
done
(cd dist && sha256sum nextmem-* > SHA256SUMS && cat SHA256SUMS)
