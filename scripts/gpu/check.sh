#!/usr/bin/env bash
# The first contact with a GPU, in one call: what works there, what does not, and how fast it is.
#
#   scripts/gpu/check.sh [--backend cuda|wgpu] [--seconds 480] [--program PATH] [--python python3] [--out DIR] [--tiny] [--only STEPS] [--limit N] [--devices LIST]
#
# Needs gpu/ (scripts/gpu/pack.sh) beside the checkout, or --program; on the machine only a driver and, for CUDA, NVRTC.
# Steps, the most important first; one that fails or takes too long does not stop the next:
#   unpack, start       the program is there and this machine's C library runs it
#   devices             what it finds: devices, drivers, NVRTC, nvidia-smi
#   parity              every tensor of both oracles (transformers, peft), in f32 and where need be in TF32
#   portability         every operation and a whole model, batched, against f64: f32, not fused, bf16
#   bench-0.6b          ours and PyTorch in one run
#   train-nano          a published experiment from its first step to its tables
#   portability-facts   the same as portability with a trained backbone
#   bench-8b, train     with the time that is left
# All of it takes at most --seconds. DIR (default: $OUT, else results/gpu-check) gets gpu-check.md, the table, and
# gpu-check.tar.gz, all logs and results, at most 16 MiB. The exit code is 0 if every step passed or says why it was skipped.
#   --tiny    small sizes, so that a CPU that plays a GPU gets through it (Mesa's llvmpipe: --backend wgpu --tiny)
#   --only    of these steps, separated by commas
#   --limit   no step gets more than so many seconds
#   --devices of portability, like cuda,cuda:bf16; without it f32, f32 not fused, and bf16 where the device has it
set -uo pipefail
set -m # every step is a process group of its own, so that all of it can be ended

usage() { echo "check.sh: $1; see the head of $0" >&2; exit 2; }
backend=cuda budget=480 program="" python="${PYTHON:-python3}" out="${OUT:-results/gpu-check}" tiny="" only="" most=100000 devices=""
while [ $# -gt 0 ]; do
  case "$1" in
    --tiny) tiny=1; shift; continue ;;
    --backend | --seconds | --program | --python | --out | --only | --limit | --devices) [ $# -ge 2 ] || usage "$1 needs a value" ;;
    *) usage "unknown option $1" ;;
  esac
  case "$1" in
    --backend) backend="$2" ;;
    --seconds) budget="$2" ;;
    --program) program="$2" ;;
    --python) python="$2" ;;
    --out) out="$2" ;;
    --only) only="$2" ;;
    --limit) most="$2" ;;
    --devices) devices="$2" ;;
  esac
  shift 2
done
case "$backend" in cuda | wgpu | vulkan | flex) ;; *) usage "--backend: got $backend, expected cuda, wgpu, vulkan or flex" ;; esac
case "$budget$most" in '' | *[!0-9]*) usage "--seconds and --limit: got $budget and $most, expected numbers" ;; esac
steps="unpack start devices parity portability bench-0.6b train-nano portability-facts bench-8b train"
for name in ${only//,/ }; do
  case " $steps " in *" $name "*) ;; *) usage "--only: no step $name, expected some of $steps" ;; esac
done
packed=1
[ -z "$program" ] || { program=$(realpath -m "$program"); packed=""; }
mkdir -p "$out" || exit 2
out=$(realpath "$out")
cd "$(dirname "$0")/../.." || exit 2

MOST=$((16 * 1024 * 1024 - 65536)) # bytes of the archive
work=$(mktemp -d)                  # logs and results; what is in it is archived
scratch=$(mktemp -d)               # weights
rows="$work/rows"
: > "$rows"
failed=0 current=0
started=$(date +%s)
left() { echo $((budget - 8 - ($(date +%s) - started))); }

# Ends a process group: asks, and after 3 seconds does not ask.
end_group() {
  kill -TERM -- "-$1" 2> /dev/null || return 0
  for _ in 1 2 3 4 5 6; do
    kill -0 -- "-$1" 2> /dev/null || return 0
    sleep 0.5
  done
  kill -KILL -- "-$1" 2> /dev/null
}

first_error() {
  local line
  line=$(grep -a -m 1 '^error' "$1") || line=$(grep -a -m 1 -E 'panicked|FAILED|Segmentation|Traceback|[Ee]rror' "$1") || line=$(tail -n 1 "$1")
  printf '%s' "$line" | tr -d '\r' | sed 's/\x1b\[[0-9;]*[A-Za-z]//g; s/|/\//g' | cut -c 1-300
}

# step NAME LIMIT NEEDED COMMAND..: runs it for at most LIMIT seconds of those left, or skips it if fewer than NEEDED are.
# The command's exit code: 0 passed, 77 skipped, anything else failed. A line "note: .." of its own goes into the table.
step() {
  local name="$1" limit="$2" needed="$3" log="$work/$1.log" now seconds code result note rest
  shift 3
  [ -z "$only" ] || case ",$only,unpack,start," in *",$name,"*) ;; *) return ;; esac
  [ "$limit" -lt "$most" ] || limit=$most
  [ "$needed" -lt "$limit" ] || needed=$limit
  rest=$(left)
  if [ "$rest" -lt "$needed" ]; then
    row "$name" "skipped" 0 "$rest seconds left, it needs $needed"
    return
  fi
  [ "$limit" -lt "$rest" ] || limit=$rest
  echo "== $name (at most $limit s)"
  now=$(date +%s)
  "$@" > "$log" 2>&1 < /dev/null &
  current=$!
  while kill -0 "$current" 2> /dev/null && [ $(($(date +%s) - now)) -lt "$limit" ]; do sleep 0.2; done
  result=passed
  if kill -0 "$current" 2> /dev/null; then
    result="failed: time"
    end_group "$current"
  fi
  wait "$current" 2> /dev/null
  code=$?
  # What a step left running, too.
  end_group "$current"
  current=0
  seconds=$(($(date +%s) - now))
  note=$(grep -a '^note: ' "$log" | tail -n 1 | cut -c 7-200)
  if [ "$result" = passed ]; then
    case "$code" in
      0) ;;
      77) result=skipped ;;
      *) result="failed: $code"; note="$(first_error "$log")" ;;
    esac
  elif [ -n "${ENDS_BY_TIME:-}" ]; then
    # A training that is ended by the clock has done what it was asked to.
    note=$(ended 2>> "$log") && result=passed || note="$(first_error "$log")"
  else
    note="ended after $limit s; last: $(tail -n 1 "$log" | tr -d '\r' | sed 's/|/\//g' | cut -c 1-200)"
  fi
  row "$name" "$result" "$seconds" "$note"
  tail -n 15 "$log" | cut -c 1-200
}

row() {
  echo "| $1 | $2 | $3 | $4 |" >> "$rows"
  echo "-- $1: $2 after $3 s${4:+ ($4)}"
  case "$2" in failed*) failed=1 ;; esac
  summary
}

summary() {
  {
    echo "# GPU check on \`$backend\`${tiny:+, tiny}"
    echo
    echo "$(date -u +%Y-%m-%dT%H:%MZ), $(($(date +%s) - started)) of $budget s, $(uname -m), $(nproc) CPUs, commit $( ([ -n "$packed" ] && cat gpu/commit) || git rev-parse --short HEAD 2> /dev/null || echo unknown)"
    echo
    echo "| step | result | seconds | note or first error |"
    echo "|---|---|---|---|"
    cat "$rows"
  } > "$out/gpu-check.md"
}

# Everything of $work in one archive; the largest files are left out until it is small enough.
archive() {
  local size largest
  cp "$out/gpu-check.md" "$work/"
  keep
  : > "$work/left-out"
  while :; do
    tar -C "$work" -czf "$out/gpu-check.tar.gz" . || return 1
    size=$(stat -c %s "$out/gpu-check.tar.gz")
    [ "$size" -gt "$MOST" ] || break
    largest=$(find "$work" -type f -printf '%s %p\n' | sort -rn | head -n 1 | cut -d ' ' -f 2-)
    [ -n "$largest" ] || return 1
    echo "$(stat -c %s "$largest") ${largest#"$work"/}" >> "$work/left-out"
    rm -f "$largest"
  done
  [ ! -s "$work/left-out" ] || { echo; echo "Too large for the archive (bytes, file):"; sed 's/^/- /' "$work/left-out"; } >> "$out/gpu-check.md"
}

finish() {
  trap - EXIT TERM INT HUP
  [ "$current" = 0 ] || { end_group "$current"; row "ended" "failed: from outside" 0 ""; }
  summary
  archive
  cat "$out/gpu-check.md"
  ls -l "$out/gpu-check.tar.gz"
  rm -rf "$work" "$scratch"
  exit "$failed"
}
trap finish EXIT
trap 'failed=1; finish' TERM INT HUP

nm() { "$program" "$@"; }

unpack() {
  (cd gpu && sha256sum --quiet -c MANIFEST) || return 1
  xz -dkc gpu/nextmem.xz > "$scratch/nextmem" && chmod +x "$scratch/nextmem" || return 1
  # Kernels that were compiled before (rehearse.sh), unless this machine has its own.
  if [ -e gpu/kernels.xz ] && [ ! -e "$XDG_CACHE_HOME/cubecl/default.db" ]; then
    mkdir -p "$XDG_CACHE_HOME/cubecl" && xz -dkc gpu/kernels.xz > "$XDG_CACHE_HOME/cubecl/default.db" || return 1
  fi
  [ ! -e gpu/cuda.tar.xz ] || { mkdir -p "$scratch/cuda" && tar -C "$scratch/cuda" -xJf gpu/cuda.tar.xz; }
}

start() {
  nm --version && return
  echo "error: the program does not start here; it needs $(cat gpu/glibc 2> /dev/null || echo 'an unknown GLIBC'), this machine has $(ldd --version 2>&1 | head -n 1)"
  return 1
}

devices() {
  nvidia-smi || echo "no nvidia-smi"
  ls -l /usr/local/cuda/lib64/libnvrtc* /usr/local/nvidia/lib64/libcuda* 2> /dev/null
  env | grep -E '^(CUDA|LD_LIBRARY|NEXTMEM|VK_|CUBECL|BURN|XDG_CACHE|HOME)' | sort
  "$python" -c 'import torch, transformers, peft; print("PyTorch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__, torch.cuda.is_available())' || echo "no PyTorch"
  nm devices > "$scratch/devices"
  local code=$?
  cat "$scratch/devices"
  [ "$code" = 0 ] || return "$code"
  local row
  row=$(grep -E "^[^a-z]*$backend " "$scratch/devices" | head -n 1)
  [ -n "$row" ] || { echo "error: $(grep -E "^ *$backend: " "$scratch/devices" | head -n 1)"; return 1; }
  case "$row" in *"cannot be opened"*) echo "error: $row"; return 1 ;; esac
  echo "note: $(printf '%s' "$row" | tr -s ' ' | LC_ALL=C sed 's/[^ -~]/,/g; s/,\+/,/g; s/^[ ,]*//; s/[ ,]*$//; s/|/,/g')"
}

# At 1e-5, and where the device multiplies in TF32, which has no switch, at what that loses.
parity() {
  local case cases="tied untied" code=0 note=""
  [ -z "$tiny" ] || cases=tied
  for case in $cases; do
    nm parity "crates/model/tests/fixtures/oracle/$case" --device "$backend" 2>&1 | tee "$scratch/parity" || code=1
    note="$note${note:+; }$case: $(tail -n 1 "$scratch/parity" | sed 's/ with transformers .* peft [^,]*//')"
  done
  echo "note: $note"
  return "$code"
}

portability() {
  local list="$devices"
  if [ -z "$list" ] && [ -n "$tiny" ]; then
    list="$backend"
  elif [ -z "$list" ]; then
    list="$backend,$backend+unfused"
    ! nm devices | grep -E "^[^a-z]*$backend .*bf16" > /dev/null || list="$list,$backend:bf16"
  fi
  nm portability experiments/portability.toml --devices "$list" --out "$work/portability"
}

portability_facts() {
  nm portability experiments/nano-facts.toml --devices "$backend,$backend+unfused" --out "$work/portability"
}

bench() {
  local peer=()
  if "$python" -c 'import torch, transformers, peft' 2> /dev/null; then peer=(--peer "$python"); else echo "note: ours alone, no PyTorch for $python"; fi
  nm bench "$@" --device "$backend" "${peer[@]}" --weights "$scratch/weights" --out "$work/bench"
}

# train NAME: nano is an experiment as it is published from a CPU, long has as many steps as the clock lets it.
train() {
  local experiment="$scratch/$1.toml"
  if [ -n "$tiny" ]; then
    printf 'base = "%s"\nname = "%s"\nresults = "%s"\n\n[device]\nbackend = "%s"\n' "$PWD/experiments/portability.toml" "$1" "$scratch/results" "$backend" > "$experiment"
  else
    printf 'base = "%s"\nname = "%s"\nresults = "%s"\n\n[device]\nbackend = "%s"\n\n[backbone]\nmodel = "%s"\n\n[data.text]\npath = "%s"\n\n' \
      "$PWD/experiments/nano-text.toml" "$1" "$scratch/results" "$backend" "$PWD/datasets/nano-backbone" "$PWD/datasets/pride_and_prejudice.txt" > "$experiment"
    [ "$1" = nano ] || sed -n '/^\[train/,$p' experiments/gpu-text.toml >> "$experiment"
  fi
  nm run "$experiment"
  local code=$?
  [ "$code" = 0 ] && echo "note: the whole experiment"
  return "$code"
}

# What the trainings left, without their weights.
keep() {
  [ -d "$scratch/results" ] || return 0
  mkdir -p "$work/train"
  (cd "$scratch/results" 2> /dev/null && find . -type f ! -path '*/weights/*' ! -path '*/checkpoint/*' -exec cp --parents {} "$work/train/" \;)
}

# The last step of a training that the clock ended; fails if it made none.
ended() {
  local log line
  for log in substitution stage2 reconstruction stage1 pretrain; do
    line=$(tail -n 1 "$scratch/results/long/$log/metrics.jsonl" 2> /dev/null) || continue
    [ -n "$line" ] || continue
    printf '%s, stopped by the clock: %s' "$log" "$(printf '%s' "$line" | cut -c 1-150)"
    return 0
  done
  return 1
}

# Without a machine-wide cache a run compiles everything again; one folder for all steps.
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$scratch/cache}"
# Where this Python's packages are, NVRTC may be.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2> /dev/null) && export NEXTMEM_SITE_PACKAGES="$site"

if [ -n "$program" ]; then
  row unpack skipped 0 "--program $program"
else
  step unpack 60 5 unpack
  program="$scratch/nextmem"
fi
step start 20 5 start
if [ "$failed" = 1 ]; then exit 1; fi
# A packed toolkit is one more place to look in.
[ ! -d "$scratch/cuda" ] || export NEXTMEM_SITE_PACKAGES="${NEXTMEM_SITE_PACKAGES:+$NEXTMEM_SITE_PACKAGES:}$scratch/cuda"
if [ -n "$tiny" ]; then
  step devices 60 5 devices
  step parity 200 20 parity
  step portability 200 20 portability
  step bench-0.6b 90 20 bench --model datasets/nano-backbone --batch 1 --tokens 8 --new-tokens 2 --latents 2 --repeats 1 --rounds 1 --only "encode 1"
  ENDS_BY_TIME=1 step train 120 30 train long
else
  step devices 90 5 devices
  step parity 90 20 parity
  step portability 150 30 portability
  step bench-0.6b 220 60 bench --size 0.6b --dtype bf16 --batch 16 --tokens 240 --new-tokens 64 --rounds 1
  step train-nano 180 60 train nano
  step portability-facts 100 60 portability_facts
  step bench-8b 180 150 bench --size 8b --dtype bf16 --batch 8 --tokens 240 --new-tokens 32 --repeats 2 --rounds 1 --only decode
  ENDS_BY_TIME=1 step train 1000 30 train long
fi
