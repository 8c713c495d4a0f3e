#!/bin/bash
# oversize = "fragment": what a tunnel over a link of 1,400 bytes does not carry whole goes in fragments of the outer
# packet. The client learns no smaller MTU, and its upload arrives as it was.
# LAB_FULL=1: 100 MB, else 25 MB.
LAB_SERVERS="tun1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

MB=25
[ -z "${LAB_FULL:-}" ] || MB=100

lab_up
# as in mss-clamp: the bridge's port drops what is larger in silence
ip -n "$LAB_P-sw" link set p-dir-d1 mtu 1400 && ip -n "$LAB_P-dir" link set d1 mtu 1400 || fail "no such link"
LAB_LAN_MTU=1400
# the server's kernel puts fragments together; whole packets have lost their header before, by decap.c
start_in tun1 "$LAB_DIR/untunnel.log" python3 "$LAB_HOME/untunnel.py" inner
untunnel=$STARTED
for _ in $(seq 50); do
    ! grep -q ready "$LAB_DIR/untunnel.log" || break
    sleep 0.1
done
ip -n "$LAB_P-tun1" link set inner up mtu 1500 || fail "no TUN device: $(cat "$LAB_DIR/untunnel.log")"
set_in tun1 net.ipv4.conf.inner.rp_filter=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.ipfrag_high_thresh=67108864 \
    net.ipv6.ip6frag_high_thresh=67108864
lab_config tunnel all
sed -i 's/^\(forward = .*\)$/\1\noversize = "fragment"/' "$LAB_DIR/pointsman.toml"
director_start
head -c ${MB}000000 /dev/urandom >"$LAB_DIR/load"
sum=$(sum_of <"$LAB_DIR/load")
for f in 4 6; do
    same "v$f: status of $MB MB up" 201 "$(in_ns cl curl -sS --noproxy '*' --max-time 40 -o /dev/null \
        -w '%{http_code}' -T "$LAB_DIR/load" "$(url tunnel $f)/up/$f")"
    same "v$f: sum of it" "$sum" "$(sum_of <"$LAB_DIR/tun1/up/$f")"
    same "v$f: MTU the client has learnt" "" \
        "$(ip -n "$LAB_P-cl" route get "$(vip tunnel $f)" | grep -o 'mtu [0-9]*')"
done
director_stop
kill "$untunnel"
wait "$untunnel" 2>/dev/null
# each full segment of the uploads, of 1,460 and of 1,440 bytes at most
read -r v4 v6 < <(tail -n 1 "$LAB_DIR/untunnel.log")
for n in "$v4" "$v6"; do
    [ "${n:-0}" -ge $((MB * 1000000 / 1460 * 9 / 10)) ] || fail "$n packets came in fragments: this case shows nothing"
    ok "$n packets came in fragments"
done
