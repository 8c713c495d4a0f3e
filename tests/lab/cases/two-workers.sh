#!/bin/bash
# Two workers: every method, both families; replies are handed over where they must be, and status shows the share.
# May starve.
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    answers $m $f
    mark_logs
    answers $m $f
    sees $m $f "$(pattern_seen $m $f)"
    client each "$(vip $m $f)" 7 16 >/dev/null || fail "$m v$f: a datagram did not come back"
done; done
for m in fullnat nat; do bench_clean $m 4 2 -H 'Connection: close'; done
sleep 1.2
status_json >"$LAB_DIR/status.json" || fail "status --json failed"
same "workers" 2 "$(jq '.workers | length' "$LAB_DIR/status.json")"
same "both have received frames" true "$(jq '[.workers[].received > 100] | all' "$LAB_DIR/status.json")"
same "frames were handed over" true "$(jq '([.workers[].handed_over] | add) > 0' "$LAB_DIR/status.json")"
same "all that were handed over were taken over" "$(jq '[.workers[].handed_over] | add' "$LAB_DIR/status.json")" \
    "$(jq '[.workers[].taken_over] | add' "$LAB_DIR/status.json")"
# Arrival knows nothing of owners, so of what must be somewhere half goes over; DR and tunnel have no replies.
same "each handed over 10 to 90 of 100, and its share says so" true "$(jq '[.workers[] | .handed_over_share as $share
    | $share > 0.1 and $share < 0.9 and ($share - .handed_over / .received | fabs) < 0.01] | all' "$LAB_DIR/status.json")"
ok "shares handed over: $(jq -c '[.workers[].handed_over_share]' "$LAB_DIR/status.json")"
