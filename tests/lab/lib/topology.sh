# Namespaces, links, addresses and routes of the lab. Sourced by lab.sh.

# Addresses. Four methods, one VIP each; the last octet of a server says its method.
vip() { # METHOD FAMILY
    local n
    case $1 in fullnat) n=100 ;; nat) n=101 ;; dr) n=102 ;; tunnel) n=103 ;; esac
    if [ "$2" = 6 ]; then echo "2001:db8:1::$n"; else echo "10.1.0.$n"; fi
}

server_octet() {
    case $1 in fn1) echo 11 ;; fn2) echo 12 ;; fn3) echo 13 ;; nat1) echo 21 ;; nat2) echo 22 ;;
    dr1) echo 31 ;; dr2) echo 32 ;; tun1) echo 41 ;; tun2) echo 42 ;; *) echo 99 ;; esac
}

server_address() { # SERVER FAMILY
    if [ "$2" = 6 ]; then echo "2001:db8:2::$(server_octet "$1")"; else echo "10.2.0.$(server_octet "$1")"; fi
}

servers_of() { # METHOD: those of LAB_SERVERS that serve it
    local s
    for s in $LAB_SERVERS; do
        case $1:$s in fullnat:fn? | nat:nat? | dr:dr? | tunnel:tun?) echo "$s" ;; esac
    done
}

client_address() { if [ "$1" = 6 ]; then echo 2001:db8:1::1; else echo 10.1.0.1; fi; }

# set_in NAME KEY=VALUE...: sysctls of a namespace, one process for all
set_in() {
    local name=$1
    shift
    in_ns "$name" sysctl -qw "$@"
}

# Host-like settings before any link exists: no autoconfiguration, no duplicate detection, answers may
# come by another leg than questions leave by (rp_filter 0).
make_ns() {
    local name=$1 v6=${2:-on}
    # noted first: a signal that comes while it is made ends us before the next line
    LAB_NAMESPACES+=("$LAB_P-$name")
    ip netns add "$LAB_P-$name" || return 1
    local keys=(net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0)
    # a conn whose timer ran out would change its hash, by which `keep_order` gives it a processor
    [ ! -e /proc/sys/net/core/txrehash ] || keys+=(net.core.txrehash=0)
    if [ "$v6" = on ]; then
        keys+=(net.ipv6.conf.{all,default}.{accept_dad,accept_ra,router_solicitations}=0)
    else
        keys+=(net.ipv6.conf.{all,default}.disable_ipv6=1)
    fi
    set_in "$name" "${keys[@]}"
}

# Checksum offload off: frames leave a veth with their sums unfinished otherwise, and a director that
# updates sums incrementally (RFC 1624) keeps them wrong.
no_offload() { in_ns "$1" ethtool -K "$2" tx off >/dev/null; }

# A veth hands a frame to the processor its sender runs on, so that a sender who moves overtakes himself: on a busy
# machine by milliseconds, which servers then doubt (PAWS). By the flow's hash (RPS) each flow has one processor.
keep_order() { # NAME IFACE
    # shellcheck disable=SC2016
    in_ns "$1" bash -c 'for f in /sys/class/net/$1/queues/rx-*/rps_cpus; do echo "$2" >"$f" || exit 1; done' \
        - "$2" "$(processors "$(nproc --all)")"
}

# processors N -> the kernel's bitmap of the processors 0 to N - 1: groups of 32 bits, the highest first
processors() {
    local n=$1 map=
    for (( ; n >= 32; n -= 32)); do map=,ffffffff$map; done
    [ "$n" = 0 ] || map=,$(printf %x $(((1 << n) - 1)))$map
    echo "${map#,}"
}

# leg NAME IFACE OTHER OTHER_IFACE [QUEUES]: a veth pair between two namespaces, both ends up
leg() {
    local queues="numrxqueues ${5:-1} numtxqueues ${5:-1}"
    # shellcheck disable=SC2086
    ip link add "$2" mtu "$LAB_MTU" $queues netns "$LAB_P-$1" type veth \
        peer name "$4" mtu "$LAB_MTU" $queues netns "$LAB_P-$3" &&
        keep_order "$1" "$2" && keep_order "$3" "$4" &&
        ip -n "$LAB_P-$1" link set "$2" up && ip -n "$LAB_P-$3" link set "$4" up
}

# bridge_in_sw NAME: frames pass between its ports and nowhere else
bridge_in_sw() {
    local snoop=0
    [ -z "${LAB_SNOOPING:-}" ] || snoop=1
    ip -n "$LAB_P-sw" link add "$1" mtu "$LAB_MTU" type bridge forward_delay 0 mcast_snooping $snoop \
        mcast_querier $snoop mcast_query_interval 200 mcast_startup_query_interval 100 \
        mcast_query_response_interval 100 mcast_membership_interval 500 &&
        ip -n "$LAB_P-sw" link set "$1" up
}

# plug NAME IFACE BRIDGE [QUEUES]: a veth from a namespace to a port of a bridge
plug() {
    leg "$1" "$2" sw "p-$1-$2" "${4:-1}" && ip -n "$LAB_P-sw" link set "p-$1-$2" master "$3"
}

topology_up() {
    make_ns cl && make_ns dir off && make_ns sw off || return 1
    # a bridge must not show its frames to nft and conntrack
    in_ns sw sysctl -qw net.bridge.bridge-nf-call-{iptables,ip6tables,arptables}=0 2>/dev/null
    if [ -n "${LAB_SNOOPING:-}" ]; then set_in sw net.ipv6.conf.{all,default}.disable_ipv6=0; fi
    bridge_in_sw br-s || return 1
    if [ -n "${LAB_CLIENT_BRIDGE:-}" ]; then
        bridge_in_sw br-c && plug cl c0 br-c "$LAB_WORKERS" && plug dir d0 br-c "$LAB_WORKERS"
    else
        leg cl c0 dir d0 "$LAB_WORKERS"
    fi && plug dir d1 br-s "$LAB_WORKERS" && plug cl c1 br-s || return 1
    client_up && all_servers_net_up
}

client_up() {
    ip -n "$LAB_P-cl" -batch - <<-END || return 1
	link set lo up
	addr add 10.1.0.1/24 dev c0
	addr add 10.2.0.1/24 dev c1
	addr add 2001:db8:1::1/64 dev c0 nodad
	addr add 2001:db8:2::1/64 dev c1 nodad
	END
    # a wide range: tens of thousands of conns to one VIP within a minute
    set_in cl net.ipv4.conf.c0.rp_filter=0 net.ipv4.conf.c1.rp_filter=0 net.ipv4.ip_local_port_range="10000 65000"
    no_offload cl c0 && no_offload cl c1
}

all_servers_net_up() {
    local s pids=() pid rc=0
    for s in $LAB_SERVERS; do make_ns "$s" && plug "$s" r0 br-s || return 1; done
    for s in $LAB_SERVERS; do
        server_net_up "$s" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || rc=1; done
    return $rc
}

server_net_up() {
    local s=$1
    ip -n "$LAB_P-$s" -batch - <<-END || return 1
	link set lo up
	addr add $(server_address "$s" 4)/24 dev r0
	addr add $(server_address "$s" 6)/64 dev r0 nodad
	END
    set_in "$s" net.ipv4.conf.r0.rp_filter=0 net.ipv4.ip_local_port_range="10000 65000"
    no_offload "$s" r0 || return 1
    case $s in
    nat?) routes_to_client "$s" default default 254 fe ;;
    dr? | tun?) routes_to_client "$s" 10.1.0.0/24 2001:db8:1::/64 1 1 ;;
    esac && case $s in
    dr1) hold_vip "$s" dr ;;
    dr2) redirect_vip "$s" ;;
    tun?) hold_vip "$s" tunnel && ip -n "$LAB_P-$s" link set r0 xdp obj "$LAB_FILES/decap.o" sec xdp.frags ;;
    esac
}

routes_to_client() { # SERVER PREFIX4 PREFIX6 VIA4 VIA6
    ip -n "$LAB_P-$1" route add "$2" via "10.2.0.$4" && ip -n "$LAB_P-$1" -6 route add "$3" via "2001:db8:2::$5"
}

# The VIP on lo, never told about by ARP: as every LVS howto has it.
hold_vip() { # SERVER METHOD
    set_in "$1" net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 &&
        ip -n "$LAB_P-$1" addr add "$(vip "$2" 4)/32" dev lo &&
        ip -n "$LAB_P-$1" addr add "$(vip "$2" 6)/128" dev lo nodad
}

# The other way to take a DR frame: the VIP is on no interface, nft hands it to the host.
redirect_vip() {
    in_ns "$1" nft -f - <<-END
	table inet dr {
	  chain pre {
	    type nat hook prerouting priority dstnat; policy accept;
	    ip daddr $(vip dr 4) redirect
	    ip6 daddr $(vip dr 6) redirect
	  }
	}
	END
}
