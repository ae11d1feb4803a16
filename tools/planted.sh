#!/usr/bin/env bash
# Shows that the simulator finds bugs: `make planted`. Each patch in crates/sim/planted/ plants one in a copy of the tree;
# the simulator runs seeds over it until one fails. A bug that no seed finds, or a patch that no longer fits, is a failure.
#
#   tools/planted.sh [NAME...]     only these; SEEDS=200 bounds how long a bug is looked for
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SEEDS=${SEEDS:-200}
# Seeds that the tree has to pass as it is, or nothing that is found means anything.
readonly SEEDS_SOUND=${SEEDS_SOUND:-20}
# How long a bug is looked for.
readonly SECONDS_MAX=${SECONDS_MAX:-900}
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

missed=0
cd "$copy"
cargo build --release --locked --quiet -p evenkeel-sim
if ! "$CARGO_TARGET_DIR/release/evenkeel-sim" --seeds "$SEEDS_SOUND" >run.log 2>/dev/null; then
    echo "planted: the tree itself fails:" >&2
    grep -m1 FAILED run.log >&2
    exit 1
fi
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
        # Not all seeds need end: a planted bug may keep one busy for ever while another has failed long ago.
        # The log is emptied here: the last bug's must not be read before this run has begun.
        : >run.log
        "$CARGO_TARGET_DIR/release/evenkeel-sim" --seeds "$SEEDS" >run.log 2>/dev/null &
        run=$!
        end=$((SECONDS + SECONDS_MAX))
        while kill -0 "$run" 2>/dev/null && [ "$SECONDS" -lt "$end" ] && ! grep -q -E '^seed [0-9]+: FAILED' run.log; do
            sleep 0.2
        done
        status=0
        kill "$run" 2>/dev/null && status=124
        wait "$run" 2>/dev/null || true
        if failed=$(grep -m1 -E '^seed [0-9]+: FAILED' run.log); then
            seed=${failed#seed }
            checker=${failed#*FAILED }
            echo "found $name at seed ${seed%%:*} (${checker%%:*})"
        elif [ "$status" -eq 124 ]; then
            echo "MISSED $name: no seed has failed in $SECONDS_MAX s"
            missed=$((missed + 1))
        else
            echo "MISSED $name: $SEEDS seeds pass"
            missed=$((missed + 1))
        fi
    fi
    patch --quiet --reverse -p1 <"$patch" >/dev/null
done
echo "${#names[@]} planted, $((${#names[@]} - missed)) found, $missed missed"
[ "$missed" -eq 0 ]
