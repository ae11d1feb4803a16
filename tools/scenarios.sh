#!/usr/bin/env bash
# Scenarios at the counts and times at which they are to be believed, rather than those of `make test`: `make scenarios`, and
# the first part of `make soak`. About an hour. Ends at the first that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./tools/setup.sh test
cargo build --locked -p evenkeel-cli

# Runs a scenario: its name, what the environment says of its counts, and perhaps a part of the names of its tests.
long() {
    local scenario=$1 counts=$2 tests=${3:-}
    echo "== $scenario $counts $tests"
    # shellcheck disable=SC2086 # several words, or none
    env $counts cargo test --locked --quiet -p evenkeel-tests --test "$scenario" -- --nocapture --test-threads 1 $tests
}

# COMPARE AND WRITE under way when owners and gateways are killed.
long counting STEPS=1000
# The directory stands still, or is killed, for so many seconds.
long directory_away AWAY_S=60 missed_by_nobody
# The backup that the directory is restored from is so many seconds old.
long restored_directory BACKUP_AGE_S=300 two_copies
# A server is away for so many seconds; so many times each, for medians.
long returning "AWAY_S=30 ROUNDS=5"
# All servers at once, so many times.
long all_killed KILLS=20
# Servers are killed in turn while extents move, so many rounds.
long rounds ROUNDS=30
# The source, the target and the planner of a move, so many kills each.
long kills_by_role ROUNDS=10
# The owner is cut off from everybody, so many times.
long partition ROUNDS=20
# An owner, and a gateway, stand still with writes in their buffers, so many times each.
long zombies ROUNDS=20
# Links are cut, lead one way only, lose and delay, so many times each.
long bad_links ROUNDS=4
