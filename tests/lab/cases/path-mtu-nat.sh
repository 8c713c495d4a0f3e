#!/bin/bash
# A server side of smaller MTU: SYNs are clamped to it; where mss forbids that, the client learns it, with DF and v6; a v4
# datagram without DF is fragmented for the server.
LAB_SERVERS="fn1 nat1"
. "$(dirname "$0")/../lab.sh"

lab_up
LAB_LAN_MTU=1400
head -c 3000000 /dev/urandom >"$LAB_DIR/upload"
lab_config "fullnat nat" all
director_start
for m in fullnat nat; do for f in 4 6; do
    same "$m v$f: status of an upload, clamped" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -T "$LAB_DIR/upload" "$(url $m $f)/up/clamped-$f")"
    same "$m v$f: MTU the client had to learn" "" \
        "$(ip -n "$LAB_P-cl" route get "$(vip $m $f)" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)"
done; done
director_stop

sed -i 's/^\(forward = .*\)$/\1\nmss = 8960/' "$LAB_DIR/pointsman.toml"
director_start
for m in fullnat nat; do
    s=$(servers_of $m)
    for f in 4 6; do
        same "$m v$f: status of an upload" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
            -T "$LAB_DIR/upload" "$(url $m $f)/up/v$f")"
        cmp "$LAB_DIR/upload" "$LAB_DIR/$s/up/v$f" || fail "$m v$f: the upload was damaged"
        same "$m v$f: MTU the client has learnt" 1400 \
            "$(ip -n "$LAB_P-cl" route get "$(vip $m $f)" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)"
    done
    ip -n "$LAB_P-cl" route flush cache
    same "$m: what the server got of 1472 bytes without DF" "$s 1472" "$(client who "$(vip $m 4)" 7 1472 nodf)"
    between "$m: datagrams the server put together" 1 9 "$(in_ns "$s" nstat -asz IpReasmOKs | awk '/Reasm/ {print $2}')"
done
