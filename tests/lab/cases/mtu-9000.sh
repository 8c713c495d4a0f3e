#!/bin/bash
# Jumbo frames: an MTU of 9,000 on both ports; a datagram of 8,900 bytes passes whole.
LAB_SERVERS="fn1 nat1 dr1 tun1"
LAB_MTU=9000
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
head -c 20000000 /dev/urandom >"$LAB_DIR/upload"
for m in fullnat nat dr tunnel; do for f in 4 6; do
    s=$(servers_of $m)
    same "$m v$f: 8,900 bytes with DF" "$s 8900" "$(client who "$(vip $m $f)" 7 8900 df)"
    same "$m v$f: status of an upload" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -T "$LAB_DIR/upload" "$(url $m $f)/up/v$f")"
    cmp "$LAB_DIR/upload" "$LAB_DIR/$s/up/v$f" || fail "$m v$f: the upload was damaged"
done; done
