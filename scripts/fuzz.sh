#!/usr/bin/env bash
# Changes model, adapter, tokenizer, special-token and memory files at random for a few minutes and reads each.
# An input that makes a reader panic or hang is kept; copy it to crates/model/tests/fixtures/hostile.
#   scripts/fuzz.sh [MUTATIONS_PER_FILE]
set -euo pipefail
cd "$(dirname "$0")/.."
NEXTMEM_MUTATIONS="${1:-20000}" cargo test --release --workspace --test hostile -- --nocapture
