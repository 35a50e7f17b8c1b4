#!/usr/bin/env bash
# Builds the program here and packs it for a machine that has a GPU but no Rust: gpu/nextmem.xz, about 13 MB.
#   scripts/gpu/pack.sh [--features vulkan]
# There: copy the checkout with gpu/, then  scripts/gpu/run.sh STEP...
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p nextmem "$@"
target="${CARGO_TARGET_DIR:-target}"
mkdir -p gpu
strip -o gpu/nextmem "$target/release/nextmem"
xz -T0 -9 -f gpu/nextmem
ls -l gpu/nextmem.xz
