#!/bin/bash
# Static routes and a gateway per port, longest prefix wins: a server behind a router, a client behind another.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

# fn1 moves behind the router rt: 10.3.0.0/24 and 2001:db8:3::/64
lab_up
make_ns rt && plug rt t0 br-s && leg rt t1 fn1 r1 || fail "no router"
no_offload fn1 r1
set_in rt net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip -n "$LAB_P-rt" -batch - <<-END
	addr add 10.2.0.200/24 dev t0
	addr add 2001:db8:2::200/64 dev t0 nodad
	addr add 10.3.0.1/24 dev t1
	addr add 2001:db8:3::1/64 dev t1 nodad
END
ip -n "$LAB_P-fn1" -batch - <<-END
	link set r0 down
	addr add 10.3.0.11/24 dev r1
	addr add 2001:db8:3::11/64 dev r1 nodad
	route add default via 10.3.0.1
END
ip -n "$LAB_P-fn1" -6 route add default via 2001:db8:3::1
# the client has an address in a network only the gateway knows
ip -n "$LAB_P-cl" -batch - <<-END
	addr add 10.8.0.1/32 dev lo
	addr add 2001:db8:8::1/128 dev lo nodad
END
server_address() { if [ "$2" = 6 ]; then echo 2001:db8:3::11; else echo 10.3.0.11; fi; }
LAB_WAN='gateway = ["10.1.0.1", "2001:db8:1::1"]'
LAB_EXTRA='[[route]]
to = "10.3.0.0/16"
via = "10.1.0.99"
[[route]]
to = "10.3.0.0/24"
via = "10.2.0.200"
[[route]]
to = "2001:db8:3::/64"
via = "2001:db8:2::200"'
lab_config fullnat all
director_start
for f in 4 6; do
    answers fullnat $f
    same "v$f: from behind the gateway" fn1 "$(in_ns cl curl -s --max-time 3 \
        --interface "$([ $f = 6 ] && echo 2001:db8:8::1 || echo 10.8.0.1)" "$(url fullnat $f)/")"
done
