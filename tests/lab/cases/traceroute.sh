#!/bin/bash
# traceroute to the VIP, TCP and UDP with --mtu, shows the hops and the 1,400-byte link behind the director: as the VIP, or
# with icmp_source = "router" as themselves.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

# fn1 moves behind the router rt, over a link of 1,400 bytes
lab_up
make_ns rt && plug rt t0 br-s && leg rt t1 fn1 r1 || fail "no router"
no_offload fn1 r1 && no_offload rt t0
set_in rt net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
set_in fn1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
ip -n "$LAB_P-rt" -batch - <<-END
	link set t1 mtu 1400
	addr add 10.2.0.200/24 dev t0
	addr add 2001:db8:2::200/64 dev t0 nodad
	addr add 10.3.0.1/24 dev t1
	addr add 2001:db8:3::1/64 dev t1 nodad
END
ip -n "$LAB_P-fn1" -batch - <<-END
	link set r0 down
	link set r1 mtu 1400
	addr add 10.3.0.11/24 dev r1
	addr add 2001:db8:3::11/64 dev r1 nodad
	route add default via 10.3.0.1
	route add default via 2001:db8:3::1
END
server_address() { if [ "$2" = 6 ]; then echo 2001:db8:3::11; else echo 10.3.0.11; fi; }
LAB_EXTRA='[[route]]
to = "10.3.0.0/24"
via = "10.2.0.200"
[[route]]
to = "2001:db8:3::/64"
via = "2001:db8:2::200"'
lab_config fullnat all
# nobody listens at the server's port 53: its port unreachable ends the trace
for f in 4 6; do service fullnat $f udp 53 53 fn1 >>"$LAB_DIR/pointsman.toml"; done
director_start
for f in 4 6; do got fullnat $f >/dev/null || fail "v$f: no answer"; done

# trace FAMILY OPTIONS... -> "HOP:ADDRESS [F=MTU]" of each line
trace() {
    local f=$1
    shift
    in_ns cl ip route flush cache
    in_ns cl ip -6 route flush cache
    in_ns cl traceroute "-$f" -n -q 1 -N 1 -w 2 -m 5 "$@" "$(vip fullnat "$f")" | awk 'NR > 1 {
        mtu = ""; for (i = 3; i <= NF; i++) if ($i ~ /^F=/) mtu = " " $i
        printf "%s%s:%s%s", sep, $1, $2, mtu; sep = ", "}'
}

director() { if [ "$1" = 6 ]; then echo 2001:db8:1::fe; else echo 10.1.0.254; fi; }
router() { if [ "$1" = 6 ]; then echo 2001:db8:2::200; else echo 10.2.0.200; fi; }

for source in vip router; do
    if [ $source = router ]; then
        sed -i 's/^\(forward = .*\)$/\1\nicmp_source = "router"/' "$LAB_DIR/pointsman.toml"
        pm reload >/dev/null || fail "icmp_source needs no restart"
    fi
    for f in 4 6; do
        hop=$([ $source = vip ] && vip fullnat $f || router $f)
        same "v$f as $source, -T -p 80" "1:$(director $f), 2:$hop, 3:$(vip fullnat $f)" "$(trace $f -T -p 80)"
        same "v$f as $source, -U -p 53 --mtu" "1:$(director $f) F=1500, 2:$hop, 3:$(vip fullnat $f) F=1400" \
            "$(trace $f -U -p 53 --mtu)"
    done
done
