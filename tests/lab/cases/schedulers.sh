#!/bin/bash
# rr takes turns, wrr by weight, sh keeps a client at its server, lc and wlc go where fewer conns are: what they do here
# neither rr nor wrr would do.
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

# hold NAME N: the N-th conn of that name, which stays open, and which the director has seen to be
hold() {
    start_in cl "$LAB_DIR/hold.out" /usr/bin/python3 "$LAB_HOME/client.py" hold "$(vip fullnat 4)" 80 30 "/held-$1-$2"
    wait_for 3 active_are "$2" || fail "conn $2 was not opened: $(tail -n 1 "$LAB_DIR/hold.out")"
    wait_for 3 logged "/held-$1-$2 " || fail "nobody has logged conn $2"
}

active_are() {
    [ "$(status_json | jq '[.services[] | select(.address == "10.1.0.100:80").dests[].active] | add')" = "$1" ]
}

logged() { grep -q -- "$1" "$LAB_DIR"/fn?/access.log; }

holders() { # NAME -> "N1 N2": who serves the conns of that name
    local s n=
    for s in fn1 fn2; do n+="$(grep -o "/held-$1-[0-9]" "$LAB_DIR/$s/access.log" | sort -u | wc -l) "; done
    echo "${n% }"
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
    # one conn stays open: all short ones go to the other server, where rr would take turns
    hold $sched 1
    busy=$(holders $sched)
    [ "$busy" = "1 0" ] && other="0 8" || other="8 0"
    same "$sched: of 8 short conns beside one that is held at the ${busy/1 0/first}" "$other" "$(tally 8)"
    # three more that stay open: two each
    for n in 2 3 4; do hold $sched $n; done
    same "$sched: of 4 conns held" "2 2" "$(holders $sched)"
    director_stop
done
with wlc "fn1=1 fn2=3"
for n in 1 2 3 4; do hold wlc13 $n; done
same "wlc 1:3, of 4 conns held" "1 3" "$(holders wlc13)"
director_stop
