#!/usr/bin/env bash
# What three servers with 100 GiB of volumes take: `make footprint`. Prints resident memory, the times of a clean start
# and of one after kill -9 with a full journal, and the CPU that idling takes, and fails when one is more than it may
# be. Needs about 8 GiB of room in TMPDIR, on the disk that is to be measured, and a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./tools/setup.sh demo
cargo build --release --locked --quiet -p evenkeel-cli -p evenkeel-tests --bins
exec "${CARGO_TARGET_DIR:-target}/release/footprint"
