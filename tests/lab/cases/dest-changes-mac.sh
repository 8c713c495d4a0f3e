#!/bin/bash
# A dest that changes its MAC under wrk keeps its conns: no request fails. LAB_FULL=1: by both families each, else by one.
# May starve.
LAB_SERVERS="fn1 nat1 dr1 tun1"
. "$(dirname "$0")/../lab.sh"

new_mac() { # SERVER MAC: with the announcement a host makes when its card was replaced
    in_ns "$1" sysctl -qw net.ipv4.conf.r0.arp_notify=1 net.ipv6.conf.r0.ndisc_notify=1
    in_ns "$1" ip link set r0 address "$2"
}

families() { case ${LAB_FULL:-}$1 in fullnat | dr) echo 4 ;; nat | tunnel) echo 6 ;; *) echo 4 6 ;; esac; }

lab_up
lab_config all all
director_start
n=10
for m in fullnat nat dr tunnel; do for f in $(families $m); do
    s=$(servers_of $m)
    got $m $f >/dev/null || fail "$m v$f: no answer"
    bench_start $m $f 1
    sleep 0.4
    new_mac "$s" 02:00:00:00:77:$((n += 1))
    bench_end 300
    same "$m v$f: servers that answered" "$s" "$(get $m $f)"
done; done
