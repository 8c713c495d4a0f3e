#!/bin/bash
# Hairpin under full-NAT: a server is itself a client of the VIP it serves, and gets answers of every server, its own too.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
for s in $LAB_SERVERS; do
    ip -n "$LAB_P-$s" route add 10.1.0.0/24 via 10.2.0.254
    ip -n "$LAB_P-$s" -6 route add 2001:db8:1::/64 via 2001:db8:2::fe
done
lab_config fullnat all
director_start
for f in 4 6; do
    answers fullnat $f
    for s in $LAB_SERVERS; do
        mark_logs
        names=$(for _ in 1 2 3 4; do in_ns "$s" curl -s --noproxy '*' --max-time 2 "$(url fullnat $f)/"; done)
        same "v$f: who answers $s" "fn1 fn1 fn2 fn2" "$(sort <<<"$names" | xargs)"
        sees fullnat $f "$(pattern_seen fullnat $f)"
    done
done
