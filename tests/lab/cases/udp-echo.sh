#!/bin/bash
# UDP through all methods and both families: every datagram comes back, a socket's datagrams all go to one server.
# May starve.
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    mark_logs
    client udp "$(vip $m $f)" 7 200 1000 >/dev/null || fail "$m v$f: a datagram did not come back"
    users=0
    for s in $(servers_of $m); do [ ! -s "$LAB_DIR/$s/small.log" ] || users=$((users + 1)); done
    same "$m v$f: servers used by one socket" 1 $users
    same "$m v$f: servers used by many" "$(servers_of $m | xargs)" "$(client each "$(vip $m $f)" 7 6 | sort -u | xargs)"
    # tiny, odd and the largest that fits
    for size in 0 1 3 1400; do
        client udp "$(vip $m $f)" 7 2 $size >/dev/null || fail "$m v$f: a datagram of $size bytes did not come back"
    done
done; done
