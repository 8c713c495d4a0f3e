#!/bin/bash
# TTL and hop limit are decremented; a frame that has none left is answered by time exceeded.
LAB_SERVERS="fn1 nat1 dr1 tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    got $m $f >/dev/null || fail "$m v$f: no answer"
    same "$m v$f, TTL 1" EHOSTUNREACH "$(client hops "$(vip $m $f)" 80 1)"
    same "$m v$f, TTL 2" connected "$(client hops "$(vip $m $f)" 80 2)"
done; done
