# Two routers between the client side's link and a client behind both. Sourced by cases that need them, with
# LAB_CLIENT_BRIDGE=1 set before lab.sh.
#
#    cl:lo 10.8.0.1 -+- x1 --- up1 10.1.0.21 -+- br-c -- d0:dir
#    2001:db8:8::1   +- x2 --- up2 10.1.0.22 -+          (::21, ::22)

uplinks_up() {
    local n
    ip -n "$LAB_P-cl" -batch - <<-END
	addr add 10.8.0.1/32 dev lo
	addr add 2001:db8:8::1/128 dev lo nodad
	link set c1 down
END
    for n in 1 2; do
        make_ns "up$n" && plug "up$n" u0 br-c && leg "up$n" u1 cl "x$n" || return 1
        no_offload "up$n" u0 && no_offload "up$n" u1 && no_offload cl "x$n" || return 1
        set_in "up$n" net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 \
            net.ipv4.conf.u0.send_redirects=0
        ip -n "$LAB_P-up$n" -batch - <<-END || return 1
	addr add 10.1.0.2$n/24 dev u0
	addr add 2001:db8:1::2$n/64 dev u0 nodad
	addr add 10.8$n.0.1/24 dev u1
	addr add 2001:db8:8$n::1/64 dev u1 nodad
	route add 10.8.0.1 via 10.8$n.0.2
	route add 2001:db8:8::1 via 2001:db8:8$n::2
	route add 10.2.0.0/24 via 10.1.0.254
	route add 2001:db8:2::/64 via 2001:db8:1::fe
END
        ip -n "$LAB_P-cl" -batch - <<-END || return 1
	addr add 10.8$n.0.2/24 dev x$n
	addr add 2001:db8:8$n::2/64 dev x$n nodad
END
        set_in cl "net.ipv4.conf.x$n.rp_filter=0"
        in_ns "up$n" nft -f - <<-END || return 1
	table inet count {
	  counter toward4 { }
	  counter toward6 { }
	  chain passing {
	    type filter hook forward priority 0;
	    ip daddr 10.8.0.1 counter name toward4
	    ip6 daddr 2001:db8:8::1 counter name toward6
	  }
	}
END
    done
}

# The client's packets to an address go by this uplink from now on.
client_by() { # UPLINK METHOD FAMILY
    local n=${1#up}
    if [ "$3" = 6 ]; then
        ip -n "$LAB_P-cl" route replace "$(vip "$2" 6)" via "2001:db8:8$n::1" src 2001:db8:8::1
    else
        ip -n "$LAB_P-cl" route replace "$(vip "$2" 4)" via "10.8$n.0.1" src 10.8.0.1
    fi
}

# carried UPLINK FAMILY -> packets toward the client that it has carried so far
carried() { in_ns "$1" nft -j list counter inet count "toward$2" | jq '.nftables[] | .counter? | .packets // empty'; }
