#!/bin/bash
# scripts/demo, interrupted while it makes the lab and again while its director serves, leaves no namespace, process,
# file or hugepage behind.
# May starve.
. "$(dirname "$0")/../lab.sh"

need_binary
TRY=$(mktemp -d) && SAID=$(mktemp) || exit 1
PAGES=$(cat "$HUGE_DIR/nr_hugepages" 2>/dev/null)
DEMO=
tidy() {
    [ -z "$DEMO" ] || kill -TERM -- "-$DEMO" 2>/dev/null
    [ -z "$PAGES" ] || echo "$PAGES" >"$HUGE_DIR/nr_hugepages"
    rm -rf "$TRY" "$SAID"
}
trap tidy EXIT
trap 'exit 143' INT TERM HUP

reserved() { cat "$HUGE_DIR/nr_hugepages" 2>/dev/null || echo 0; }

nobody_in() { ! pgrep -g "$1" >/dev/null; }

# namespaces of labs whose shell is gone, sorted
ownerless() {
    ip netns list | grep -oE '^pm[0-9]+-[a-z0-9]+' | while read -r ns; do
        owner=${ns#pm}
        [ -e "/proc/${owner%%-*}" ] || echo "$ns"
    done | sort
}

nobody_uses_it() { ! pgrep -f "$TRY" >/dev/null; }

# interrupted WORDS: SIGINT to the demo's process group, as ^C sends it, when it has said these words
interrupted() {
    local before others rc
    before=$(reserved) others=$(ownerless)
    # a job of its own: only such a one gets SIGINT at all, and only its own processes do
    set -m
    TMPDIR=$TRY POINTSMAN=$POINTSMAN "$REPO/scripts/demo" >"$SAID" 2>&1 </dev/null &
    DEMO=$!
    set +m
    wait_for 30 grep -qE "$1" "$SAID" || fail "the demo did not get to /$1/: $(tail -n 3 "$SAID")"
    kill -INT -- "-$DEMO"
    wait "$DEMO"
    rc=$?
    same "status of the demo interrupted at /$1/" 130 "$rc"
    # what the signal has ended may take a moment to be gone
    wait_for 3 nobody_in "$DEMO"
    same "processes of its own left" "" "$(pgrep -g "$DEMO" -l | xargs)"
    same "namespaces it left" "" "$(comm -13 <(echo "$others") <(ownerless) | xargs)"
    wait_for 3 nobody_uses_it
    same "processes with files of its own" "" "$(pgrep -f "$TRY" | xargs)"
    same "files in its TMPDIR" "" "$(ls -A "$TRY")"
    same "hugepages reserved, as before" "$before" "$(reserved)"
    DEMO=
}

# none free, so that the demo has to reserve its own
if [ -n "$PAGES" ]; then
    echo $((PAGES - $(cat "$HUGE_DIR/free_hugepages"))) >"$HUGE_DIR/nr_hugepages"
fi
interrupted '^binary'
interrupted '^.{0,8}full-NAT'
ok "the second one served $(grep -oE '(no|with) hugepages' "$SAID")"
