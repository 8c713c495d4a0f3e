#!/bin/bash
# rr takes turns, wrr by weight, sh keeps a client at its server, lc and wlc go where fewer conns are.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

tally() { # COUNT -> "N1 N2": who answered so many requests
    local n names=
    for n in $(seq "$1"); do names+="$(get fullnat 4 || fail "no answer to request $n")"$'\n'; done
    echo "$(grep -c fn1 <<<"$names") $(grep -c fn2 <<<"$names")"
}

with() { # SCHEDULER DESTS
    LAB_SCHED=$1 LAB_DESTS=$2
    lab_config fullnat 4
    director_start
    got fullnat 4 >/dev/null || fail "no answer"
}

lab_up
with rr "fn1 fn2"; same "rr, of 20" "10 10" "$(tally 20)"; director_stop
with wrr "fn1=3 fn2=1"; same "wrr 3:1, of 20" "15 5" "$(tally 20)"; director_stop
with sh "fn1 fn2"
[[ "$(tally 12)" =~ ^(0\ 12|12\ 0)$ ]] || fail "sh sent one client to both"
ok "sh keeps a client at its server"
director_stop
for sched in lc wlc; do
    with $sched "fn1 fn2"
    # four conns that stay open: two each
    for n in 1 2 3 4; do
        start_in cl "$LAB_DIR/hold.out" /usr/bin/python3 "$LAB_HOME/client.py" hold "$(vip fullnat 4)" 80 3 /held-$sched-$n
        sleep 0.3
    done
    sleep 0.3
    for s in fn1 fn2; do
        same "$sched: conns held at $s" 2 "$(grep -o "/held-$sched-[0-9]" "$LAB_DIR/$s/access.log" | sort -u | wc -l)"
    done
    director_stop
done
