#!/bin/bash
# route = true: a NAT server whose gateway is the director reaches the rest of the world, and the world it: TCP, ping,
# traceroute, path MTU; meanwhile its service is served. The kernel of the director's namespace takes no part.
LAB_SERVERS="nat1"
. "$(dirname "$0")/../lab.sh"

# the client becomes a router to wd, in 10.8.0.0/24 behind a link of 1,400 bytes
lab_up
make_ns wd && leg wd w0 cl w1 && no_offload wd w0 && no_offload cl w1 || fail "no world"
set_in cl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip -n "$LAB_P-cl" -batch - <<-END
	link set c1 down
	link set w1 mtu 1400
	addr add 10.8.0.254/24 dev w1
	addr add 2001:db8:8::fe/64 dev w1 nodad
	route add 10.2.0.0/24 via 10.1.0.254
	route add 2001:db8:2::/64 via 2001:db8:1::fe
END
ip -n "$LAB_P-wd" -batch - <<-END
	link set w0 mtu 1400
	addr add 10.8.0.1/24 dev w0
	addr add 2001:db8:8::1/64 dev w0 nodad
	route add default via 10.8.0.254
	route add default via 2001:db8:8::fe
END
mkdir "$LAB_DIR/world"
echo world >"$LAB_DIR/world/index.html"
start_in wd "$LAB_DIR/world.log" /usr/bin/python3 -m http.server 80 --bind :: --directory "$LAB_DIR/world"
head -c 2000000 /dev/urandom >"$LAB_DIR/world/big"

world() { if [ "$1" = 6 ]; then echo 2001:db8:8::1; else echo 10.8.0.1; fi; }
hop() { if [ "$1" = 6 ]; then echo 2001:db8:2::fe; else echo 10.2.0.254; fi; }
get_by() { in_ns "$1" curl -s --noproxy '*' --connect-timeout 1 --max-time 5 "http://$(endpoint "$2" 80)/${3:-}"; }

LAB_WAN='gateway = ["10.1.0.1", "2001:db8:1::1"]'
lab_config nat all
director_start
for f in 4 6; do
    same "v$f: without route = true" "" "$(get_by nat1 "$(world $f)")"
done
sed -i 's/^\[director\]$/&\nroute = true/' "$LAB_DIR/pointsman.toml"
pm reload >/dev/null || fail "route = true needs no restart"
for f in 4 6; do
    answers nat $f
    same "v$f: the server reaches the world" world "$(get_by nat1 "$(world $f)")"
    same "v$f: the world reaches the server" nat1 "$(get_by wd "$(server_address nat1 $f)")"
    same "v$f: a download over the 1,400-byte link" "$(sum_of <"$LAB_DIR/world/big")" "$(get_by nat1 "$(world $f)" big | sum_of)"
    in_ns wd ping -q -c 2 -i 0.1 -W 1 "$(server_address nat1 $f)" >/dev/null || fail "v$f: ping to the server"
    in_ns nat1 ping -q -c 2 -i 0.1 -W 1 "$(world $f)" >/dev/null || fail "v$f: ping from the server"
    hops=$(in_ns nat1 traceroute -$f -n -q 1 -w 1 -m 5 "$(world $f)" | awk 'NR > 1 {print $2}' | xargs)
    same "v$f: hops from the server" "$(hop $f) $(client_address $f) $(world $f)" "$hops"
    # too big for the world: the router's error comes back through the director
    got=$(in_ns nat1 ping -c 1 -W 1 -M 'do' -s 1440 "$(world $f)" 2>&1)
    [[ $got =~ mtu\ ?=\ ?1400 || $got =~ 'Packet too big: mtu=1400' ]] || fail "v$f: no word of the 1,400 bytes: $got"
    ok "v$f: the server learns of the 1,400 bytes"
done
between "packets routed, as status has it" 1000 1000000 "$(status_json | jq .routed)"
kernel_untouched
