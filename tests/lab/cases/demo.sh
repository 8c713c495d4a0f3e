#!/bin/bash
# scripts/demo passes within two minutes.
# May starve.
. "$(dirname "$0")/../lab.sh"
. "$(dirname "$0")/../lib/demo.sh"

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
if [ -n "${LAB_FULL:-}" ]; then
    HUGE_DIR=/none demo_with "$POINTSMAN" || fail "without hugepages the demo exits $?: $(tail -n 30 "$SAID")"
    grep -q '^lab .* no hugepages' "$SAID" || fail "it had hugepages: $(grep '^lab' "$SAID")"
    ok "it passes without hugepages"
fi
