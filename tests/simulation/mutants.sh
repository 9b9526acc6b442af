#!/usr/bin/env bash
# Whether the simulation finds mistakes: applies each patch of tests/simulation/mutants to a copy of the source and runs
# worlds until one does not hold. All worlds must hold without a patch, and one within SEEDS (100) must not with any.
# Names of patches as arguments: only these.
set -euo pipefail
cd "$(dirname "$0")/../.."

SEEDS=${SEEDS:-100}
patches=$PWD/tests/simulation/mutants
target=${CARGO_TARGET_DIR:-$PWD/target}
# Always the same place, so that little has to be built anew the next time.
copy=$target/mutants
# One of its own: cargo takes the copy and the original for the same package.
export CARGO_TARGET_DIR=$target/of-mutants CARGO_INCREMENTAL=1
# It may lie in a working tree that is not meant.
export GIT_CEILING_DIRECTORIES=$target
rm -rf "$copy" "$copy.log"
mkdir -p "$copy"

git ls-files -z --cached --others --exclude-standard | xargs -0 tar -c | tar -x -C "$copy"

build() {
    (cd "$copy" && cargo test --quiet --locked --test simulation --no-run) >"$copy.log" 2>&1
}

worlds() {
    (cd "$copy" && ATP_SIM_SEEDS=$SEEDS cargo test --quiet --locked --test simulation every_world -- --nocapture) \
        >"$copy.log" 2>&1
}

fail() {
    printf 'FAILED: %s\n' "$1"
    tail -40 "$copy.log" || true
    exit 1
}

selected=("$@")
[[ ${#selected[@]} -gt 0 ]] || mapfile -t selected < <(cd "$patches" && ls -- *.patch)

build || fail "the source does not build"
worlds || fail "a world does not hold without any mistake"
printf '%-28s %s\n' "no mistake" "$SEEDS worlds hold"
for name in "${selected[@]}"; do
    patch=$patches/${name%.patch}.patch
    (cd "$copy" && git apply "$patch") 2>"$copy.log" || fail "$name no longer applies: make it anew"
    build || fail "$name does not build: make it anew"
    begun=$SECONDS
    if worlds; then
        fail "$name: $SEEDS worlds hold although $(head -1 "$patch")"
    fi
    found=$(grep -m1 '^seed [0-9]*:' "$copy.log") || fail "$name: no world says what does not hold"
    printf '%-28s %s (%d s)\n' "${name%.patch}" "$found" $((SECONDS - begun))
    (cd "$copy" && git apply --reverse "$patch")
done
