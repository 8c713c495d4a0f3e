#!/bin/bash
# scripts/demo passes within two minutes; in full runs also that it fails, by name and exit status, with a binary that
# does nothing.
. "$(dirname "$0")/../lab.sh"

need_binary
SAID=$(mktemp) DEMO=
tidy() {
    [ -z "$DEMO" ] || kill -TERM -- "-$DEMO" 2>/dev/null
    rm -f "$SAID"
}
trap tidy EXIT
trap 'exit 143' INT TERM HUP

demo_with() { # BINARY: runs the demo with it and gives its status
    set -m
    POINTSMAN=$1 "$REPO/scripts/demo" >"$SAID" 2>&1 </dev/null &
    DEMO=$!
    set +m
    wait "$DEMO"
    local rc=$?
    DEMO=
    return $rc
}

began=$SECONDS
demo_with "$POINTSMAN" || fail "the demo exits $?: $(tail -n 30 "$SAID")"
took=$((SECONDS - began))
[ "$took" -le 120 ] || fail "the demo took $took s"
for method in full-NAT NAT DR IPIP; do
    same "$method over IPv4 and IPv6" 2 "$(grep -c "^$method  *http://" "$SAID")"
done
nothing='IPv[46]   full-NAT no answer  NAT no answer  DR no answer  IPIP no answer'
same "times that every request failed without a director" 4 "$(grep -c "$nothing" "$SAID")"
grep -q '^pass ' "$SAID" || fail "it does not say pass: $(tail -n 3 "$SAID")"
ok "it passes, in $took s"

if [ "${LAB_FULL:-0}" = 1 ]; then
    demo_with /bin/true && fail "it exits 0 with a binary that does nothing"
    grep -q '^FAIL .*(director full-NAT NAT DR IPIP' "$SAID" || fail "it does not say what failed: $(tail -n 3 "$SAID")"
    ok "it fails with a binary that does nothing"
fi
