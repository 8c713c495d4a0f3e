#!/bin/bash
# SIGTERM stops cleanly: status 0, no socket, no XDP program and no promiscuous mode left behind; then a start works.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
for driver in af_packet af_xdp; do
    lab_config fullnat 4 $driver
    director_start
    answers fullnat 4
    [ -S "$LAB_DIR/pointsman.sock" ] || fail "no control socket while running"
    director_stop
    [ ! -e "$LAB_DIR/pointsman.sock" ] || fail "$driver: the control socket was left behind"
    for i in d0 d1; do
        link=$(ip -n "$LAB_P-dir" -details link show $i)
        grep -q 'xdp' <<<"$link" && fail "$driver: an XDP program was left on $i: $link"
        same "$driver: promiscuity of $i" 0 "$(grep -o 'promiscuity [0-9]*' <<<"$link" | cut -d ' ' -f 2)"
    done
done
