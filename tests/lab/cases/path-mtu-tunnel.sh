#!/bin/bash
# A frame that is too big for the tunnel and may not be fragmented is answered with the MTU that fits: the client
# learns 1480 (1460 for 6in6) and uploads all the same.
LAB_SERVERS="tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config tunnel all
director_start
head -c 3000000 /dev/urandom >"$LAB_DIR/upload"
for f in 4 6; do
    same "v$f: status of an upload" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -T "$LAB_DIR/upload" "$(url tunnel $f)/up/v$f")"
    cmp "$LAB_DIR/upload" "$LAB_DIR/tun1/up/v$f" || fail "v$f: the upload was damaged"
    same "v$f: MTU the client has learnt" "$((f == 4 ? 1480 : 1460))" \
        "$(ip -n "$LAB_P-cl" route get "$(vip tunnel $f)" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)"
done
