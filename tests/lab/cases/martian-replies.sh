#!/bin/bash
# DR and tunnel servers whose gateway is the director: their replies come back through it and are forwarded and counted.
LAB_SERVERS="dr1 dr2 tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
ip -n "$LAB_P-cl" link set c1 down
for s in $LAB_SERVERS; do
    ip -n "$LAB_P-$s" route replace 10.1.0.0/24 via 10.2.0.254
    ip -n "$LAB_P-$s" -6 route replace 2001:db8:1::/64 via 2001:db8:2::fe
done
mkdir -p "$LAB_FILES"
head -c 3000000 /dev/urandom >"$LAB_FILES/3m-$LAB_P"
# their packets must fit the clients' side too: the director says so to the server
lab_config "dr tunnel" all
sed -i '/^name = "wan"$/,/^mtu/s/^mtu = .*/mtu = 1400/' "$LAB_DIR/pointsman.toml"
director_start
for m in dr tunnel; do for f in 4 6; do
    answers $m $f
    in_ns cl curl -s --noproxy '*' --max-time 5 "$(url $m $f)/files/3m-$LAB_P" | cmp - "$LAB_FILES/3m-$LAB_P" ||
        fail "$m v$f: the download was damaged"
    ok "$m v$f: a download"
    same "$m v$f: UDP" "3 came back" "$(client udp "$(vip $m $f)" 7 3 500)"
done; done
between "martian replies" 1000 1000000 "$(status_json | jq .martian_replies)"
same "services whose dests sent replies through the director" "$(status_json | jq '[.services[] | select(.name | test(" (80|7)$"))] | length')" \
    "$(status_json | jq '[.services[] | select(.name | test(" (80|7)$")) | select(any(.dests[]; .out_packets > 0))] | length')"
same "martians dropped" 0 "$(status_json | jq .law.dropped.martian)"
