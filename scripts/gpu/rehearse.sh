#!/usr/bin/env bash
# The CUDA path without a GPU: a stand-in for the driver (rehearsal/libcuda.c) and NVIDIA's own compiler, so that every
# kernel the model uses is generated and compiled for an H100 as it will be there. No kernel runs and no number is right:
# the table of the portability test is full of DIFFERS. What counts is that no row FAILED and none was NOT REACHED.
#   scripts/gpu/rehearse.sh PROGRAM CUDA [DEVICES] [EXPERIMENT]
#     PROGRAM     a build with --features cuda
#     CUDA        a folder with lib*/libnvrtc.so* and include/, like /usr/local/cuda or the wheels' nvidia/cu13
#     DEVICES     default cuda,cuda:bf16,cuda+unfused
# With XDG_CACHE_HOME set, the kernels stay in $XDG_CACHE_HOME/cubecl/default.db; `pack.sh --kernels` takes them along, so that
# the GPU's time is not spent on compiling. They belong to this one PROGRAM: another build compiles its own. What tuning measured
# here means nothing and is not kept.
set -euo pipefail
program=$(realpath "${1:?usage: rehearse.sh PROGRAM CUDA}") cuda=$(realpath "${2:?usage: rehearse.sh PROGRAM CUDA}")
devices="${3:-cuda,cuda:bf16,cuda+unfused}" experiment="${4:-experiments/portability.toml}"
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -shared -fPIC -w -o "$work/libcuda.so.1" scripts/gpu/rehearsal/libcuda.c
export CUBECL_AUTOTUNE_CACHE=0
export LD_LIBRARY_PATH="$work" CUDA_PATH="$cuda" XDG_CACHE_HOME="${XDG_CACHE_HOME:-$work/cache}"
"$program" devices
for oracle in tied untied; do
  "$program" parity "crates/model/tests/fixtures/oracle/$oracle" --device cuda > "$work/parity" 2>&1 || true
  grep -q 'of .* tensors are above' "$work/parity" || { cat "$work/parity"; exit 1; }
done
code=0
"$program" portability "$experiment" --devices "$devices" --out "$work/out" > "$work/said" 2>&1 || code=$?
tail -n 12 "$work/said"
tables=("$work"/out/*.md)
[ -e "${tables[0]}" ] || { cat "$work/said"; exit 1; }
if grep -hE 'FAILED|NOT REACHED|MISSING' "${tables[@]}"; then
  echo "rehearse.sh: these rows would not run on a GPU" >&2
  exit 1
fi
echo "every kernel compiled: $(grep -hcE 'DIFFERS|ok' "${tables[@]}") rows were reached"
