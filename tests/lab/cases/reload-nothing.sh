#!/bin/bash
# 100 reloads that change nothing leave rr order and counts as they were.
LAB_SERVERS="fn1 fn2 fn3"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config fullnat 4
director_start
got fullnat 4 >/dev/null || fail "no answer"
order=
for n in $(seq 100); do
    if [ $((n % 2)) = 0 ]; then pm reload >/dev/null || fail "reload $n was refused"; else kill -HUP "$DIRECTOR_PID"; fi
    order+="$(get fullnat 4 | tail -c 2) "
done
for n in 1 2 3; do order+="$(get fullnat 4 | tail -c 2) "; done
# three in a row are always three different ones
read -ra turn <<<"$order"
for n in $(seq 0 $((${#turn[@]} - 4))); do
    [ "${turn[n]}" = "${turn[n + 3]}" ] && [ "${turn[n]}" != "${turn[n + 1]}" ] || fail "rr order was disturbed at $n: $order"
done
ok "rr order over 100 reloads"
same "conns counted by the dests" 104 "$(status_json | jq '[.services[] | select(.address == "10.1.0.100:80").dests[].conns] | add')"
between "reloads counted" 51 101 "$(status_json | jq .config.reloads)"
