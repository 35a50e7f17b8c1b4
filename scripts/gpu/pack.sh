#!/usr/bin/env bash
# Packs what travels to a machine that has a GPU but no Rust into gpu/, at most 64 MiB together with the checkout.
#   scripts/gpu/pack.sh [--program PATH] [--kernels FILE] [--toolkit VERSION] [cargo's options, like --features vulkan]
# Without --program it builds one with CUDA and wgpu. --toolkit adds NVRTC and its headers (Python packages), for a machine that
# has a driver only: 13.0 for drivers from 580 on. --kernels takes along what rehearse.sh compiled with the same program.
# There: copy the checkout with gpu/, then  scripts/gpu/check.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
MOST=$((64 * 1024 * 1024))
program="" toolkit="" kernels=""
while [ $# -gt 0 ]; do
  case "$1" in
    --program) program="${2:?--program needs a path}"; shift 2 ;;
    --kernels) kernels="${2:?--kernels needs a file, like CACHE/cubecl/default.db}"; shift 2 ;;
    --toolkit) toolkit="${2:?--toolkit needs a version of CUDA, like 13.0}"; shift 2 ;;
    *) break ;;
  esac
done
if [ -z "$program" ]; then
  cargo build --release -p nextmem --features gpu "$@"
  program="${CARGO_TARGET_DIR:-target}/release/nextmem"
fi
rm -rf gpu
mkdir -p gpu
strip -o gpu/nextmem "$program"
# The newest version of glibc's symbols that it needs: a machine with an older glibc does not start it (scripts/release.sh).
objdump -T gpu/nextmem | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 > gpu/glibc
gpu/nextmem --version | sed 's/.*(\(.*\))/\1/' > gpu/commit
xz -T0 -9 gpu/nextmem
if [ -n "$kernels" ]; then
  # A database whose last changes may still be in the log beside it.
  whole=$(mktemp -d)
  cp "$kernels" "$whole/kernels"
  [ ! -e "$kernels-wal" ] || cp "$kernels-wal" "$whole/kernels-wal"
  python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")' "$whole/kernels"
  xz -T0 -6 -c "$whole/kernels" > gpu/kernels.xz
  rm -rf "$whole"
fi
if [ -n "$toolkit" ]; then
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  for name in nvrtc runtime crt cccl; do
    python3 -m pip download -q --no-deps -d "$wheels" "nvidia-cuda-$name==$toolkit.*"
  done
  for wheel in "$wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$wheels/site"; done
  [ -d "$wheels/site/nvidia/cu13" ] || { echo "pack.sh: CUDA $toolkit has another layout, expected 13.x" >&2; exit 1; }
  # NVRTC, and the headers that generated kernels reach; not the libraries to link with, nor CCCL's algorithms.
  XZ_OPT="-9 -T0" tar -C "$wheels/site" -cJf gpu/cuda.tar.xz --exclude '*.a' --exclude '*.alt.so*' --exclude 'libcudart*' --exclude cmake \
    --exclude cub --exclude thrust nvidia/cu13
fi
(cd gpu && {
  echo "# size and sha256 of what travels; sha256sum -c MANIFEST"
  for file in *; do [ "$file" = MANIFEST ] || { echo "# $(stat -c %s "$file") $file"; sha256sum "$file"; }; done
} > MANIFEST)
travels=$({ git ls-files -z --cached --others --exclude-standard; find gpu -type f -print0; } | xargs -0 stat -c %s 2> /dev/null | awk '{ s += $1 } END { print s }')
cat gpu/MANIFEST
echo "needs $(cat gpu/glibc); with the checkout $((travels / 1024)) KiB of $((MOST / 1024)) KiB"
if [ "$travels" -gt "$MOST" ]; then
  echo "pack.sh: too large to travel; take less along (--toolkit?), or commit or remove large files" >&2
  exit 1
fi
