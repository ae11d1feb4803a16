#!/usr/bin/env bash
# Builds the program as it is shipped and compares it with tgt: `make bench [ARGS="--rounds 5 --rows ram"]`. What all
# there is to choose, `tools/bench.sh --help` says.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked --quiet -p evenkeel-cli
exec python3 -B tools/bench.py --binary "${CARGO_TARGET_DIR:-target}/release/evenkeel" "$@"
