#!/usr/bin/env bash
# Everything that needs a GPU, in steps; results go to $OUT (default: results/), to be copied over results/ and committed.
#   scripts/gpu/run.sh devices parity portability      correctness on CUDA (and Vulkan where it is built in), 5-10 minutes
#   scripts/gpu/run.sh bench                           0.6B and 8B against PyTorch, 10-20 minutes
#   scripts/gpu/run.sh train                           real text, as long as the experiment says
# Needs: gpu/nextmem.xz (scripts/gpu/pack.sh), the NVIDIA driver, NVRTC; for bench python3 with
# scripts/peer/requirements.txt. One step that fails does not stop the others; the exit code tells.
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT="${OUT:-results}"
PYTHON="${PYTHON:-python3}"
mkdir -p "$OUT"
if [ ! -x gpu/nextmem ]; then xz -dk gpu/nextmem.xz && chmod +x gpu/nextmem; fi
nm() { gpu/nextmem "$@"; }
failed=0
step() { echo "== $*"; "$@" || { echo "FAILED: $*"; failed=1; }; }

devices() { nm devices | tee "$OUT/devices-gpu.txt"; nvidia-smi | tee -a "$OUT/devices-gpu.txt"; }

parity() {
  for case in tied untied; do
    nm parity "crates/model/tests/fixtures/oracle/$case" --device cuda | tee "$OUT/parity-cuda-$case.txt"
  done
}

portability() {
  local list="flex,cuda,cuda:bf16"
  nm devices | grep -q "vulkan .*0" && list="$list,vulkan"
  nm portability experiments/portability.toml --devices "$list" --out "$OUT/portability/gpu"
  nm portability experiments/nano-facts.toml --devices "$list" --out "$OUT/portability/gpu"
}

bench() {
  local weights="${WEIGHTS:-$(mktemp -d)}"
  nm bench --size 0.6b --device cuda --dtype bf16 --peer "$PYTHON" --batch 16 --tokens 240 --new-tokens 128 --weights "$weights" --out "$OUT/bench"
  nm bench --size 8b --device cuda --dtype bf16 --peer "$PYTHON" --batch 8 --tokens 240 --new-tokens 64 --repeats 2 --rounds 1 --weights "$weights" --out "$OUT/bench"
}

train() { nm run experiments/gpu-text.toml; mkdir -p "$OUT/gpu-text"; cp -r results/runs/gpu-text/. "$OUT/gpu-text/" 2>/dev/null; }

for name in "${@:-devices}"; do
  case "$name" in
    devices | parity | portability | bench | train) step "$name" ;;
    *) echo "unknown step $name; see the head of this file"; exit 2 ;;
  esac
done
exit "$failed"
