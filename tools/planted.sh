#!/usr/bin/env bash
# Shows that the simulator finds bugs: `make planted`. Each patch in crates/sim/planted/ plants one in a copy of the tree; the
# simulator runs the seed that its head names, and if that one passes others, until one fails. A bug that no seed finds, or
# a patch that no longer fits, is a failure. A seed counts only if the tree passes it as it is.
#
#   tools/planted.sh [NAME...]     only these; SEEDS=200 bounds how many seeds are tried, SECONDS_MAX=120 for how long
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SEEDS=${SEEDS:-200}
readonly SECONDS_MAX=${SECONDS_MAX:-120}
readonly ROOT=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# All builds share one directory, so that only what a patch changes is compiled again; and none is optimised to the last.
export CARGO_TARGET_DIR=${PLANTED_TARGET_DIR:-$ROOT/target/planted}
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
export CARGO_PROFILE_RELEASE_INCREMENTAL=true CARGO_PROFILE_RELEASE_OPT_LEVEL=2
export RUST_BACKTRACE=0

# Unpacked files are new (-m): the builds of an earlier run, with its last bug in them, must not pass for this tree's.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null -T - -cf - | tar -xmf - -C "$copy"

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for patch in crates/sim/planted/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi

cd "$copy"
readonly SIM=$CARGO_TARGET_DIR/release/evenkeel-sim
readonly SOUND=$copy/evenkeel-sim-sound
cargo build --release --locked --quiet -p evenkeel-sim
cp "$SIM" "$SOUND"

# The seed that a patch names.
seed_of() { sed -n '1,/^---/s/^Seed: \([0-9]*\)$/\1/p' "$ROOT/crates/sim/planted/$1.patch"; }

# Whether the tree passes a seed as it is.
passes_sound() { "$SOUND" --seed "$1" >sound.log 2>/dev/null; }

# Runs seeds with the bug until one fails; prints its line, or nothing. Not all need end: a planted bug may keep one busy
# for ever while another has failed long ago.
search() {
    : >run.log
    "$SIM" --seeds "$SEEDS" >run.log 2>/dev/null &
    local run=$! end=$((SECONDS + SECONDS_MAX))
    while kill -0 "$run" 2>/dev/null && [ "$SECONDS" -lt "$end" ] && ! grep -q -E '^seed [0-9]+: FAILED' run.log; do
        sleep 0.2
    done
    kill "$run" 2>/dev/null || true
    wait "$run" 2>/dev/null || true
    grep -m1 -E '^seed [0-9]+: FAILED' run.log || true
}

# The first seed that fails, the recorded one before all others. That one has failed as well if it does not end: the tree as
# it is needs a second or two for a seed.
find_seed() {
    local known failed status=0
    known=$(seed_of "$1")
    if [ -n "$known" ]; then
        timeout "$SECONDS_MAX" "$SIM" --seed "$known" >run.log 2>/dev/null || status=$?
        if [ "$status" -eq 124 ]; then
            echo "seed $known: FAILED it does not end in $SECONDS_MAX s"
            return
        fi
        failed=$(grep -m1 -E '^seed [0-9]+: FAILED' run.log || true)
        if [ -n "$failed" ]; then
            echo "$failed"
            return
        fi
    fi
    search
}

missed=0
for name in "${names[@]}"; do
    patch=$ROOT/crates/sim/planted/$name.patch
    if ! patch --quiet --forward -p1 <"$patch" >/dev/null; then
        echo "MISSED $name: the patch does not fit the tree any more"
        missed=$((missed + 1))
        git -C "$ROOT" ls-files -z -- crates | (cd "$ROOT" && tar --null -T - -cf -) | tar -xmf - -C "$copy"
        continue
    fi
    if ! cargo build --release --locked --quiet -p evenkeel-sim 2>build.log; then
        echo "MISSED $name: the patched tree does not compile"
        sed 's/^/  /' build.log
        missed=$((missed + 1))
    else
        failed=$(find_seed "$name")
        seed=${failed#seed }
        seed=${seed%%:*}
        checker=${failed#*FAILED }
        known=$(seed_of "$name")
        if [ -z "$failed" ]; then
            echo "MISSED $name: $SEEDS seeds pass, or none has failed in $SECONDS_MAX s"
            missed=$((missed + 1))
        elif ! passes_sound "$seed"; then
            echo "MISSED $name: seed $seed fails without the bug as well: $(grep -m1 FAILED sound.log)"
            missed=$((missed + 1))
        elif [ "$seed" = "$known" ]; then
            echo "found $name at seed $seed (${checker%%:*})"
        else
            echo "found $name at seed $seed (${checker%%:*}); its patch names ${known:-no seed}"
        fi
    fi
    patch --quiet --reverse -p1 <"$patch" >/dev/null
done
echo "${#names[@]} planted, $((${#names[@]} - missed)) found, $missed missed"
[ "$missed" -eq 0 ]
