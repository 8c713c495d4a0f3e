#!/bin/bash
# The LVS internet gateway: conns of an intranet balanced over two routers; one that dies is replaced.
LAB_SERVERS="nat1 nat2"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

# ra and rb lead from the outer link to web, which knows both
routers_up() {
    local r n
    make_ns web || return 1
    for r in ra rb; do
        [ $r = ra ] && n=1 || n=2
        make_ns $r && plug $r o0 br-c && leg $r o1 web w$n || return 1
        no_offload $r o0 && no_offload $r o1 && no_offload web w$n
        set_in $r net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        ip -n "$LAB_P-$r" -batch - <<-END || return 1
	addr add 10.1.0.1$n/24 dev o0
	addr add 2001:db8:1::1$n/64 dev o0 nodad
	addr add 10.8.$n.1/24 dev o1
	addr add 2001:db8:8$n::1/64 dev o1 nodad
	END
        ip -n "$LAB_P-$r" route add 10.9.9.9 via 10.8.$n.2
        ip -n "$LAB_P-$r" -6 route add 2001:db8:9::9 via 2001:db8:8$n::2
        ip -n "$LAB_P-web" addr add 10.8.$n.2/24 dev w$n
        ip -n "$LAB_P-web" addr add 2001:db8:8$n::2/64 dev w$n nodad
        # answers may take either router: the conn is the director's
        ip -n "$LAB_P-web" route add 10.1.0.0/24 via 10.8.$n.1 metric $n
        ip -n "$LAB_P-web" -6 route add 2001:db8:1::/64 via 2001:db8:8$n::1 metric $n
    done
    ip -n "$LAB_P-web" -batch - <<-END
	link set lo up
	addr add 10.9.9.9/32 dev lo
	addr add 2001:db8:9::9/128 dev lo nodad
	END
    mkdir -p "$LAB_DIR/web/up" "$LAB_DIR/web/tmp"
    nginx_conf web >"$LAB_DIR/web/nginx.conf"
    start_in web "$LAB_DIR/web/error.log" nginx -p "$LAB_DIR/web" -e "$LAB_DIR/web/error.log" -c "$LAB_DIR/web/nginx.conf"
    wait_for 5 web_ready
}
web_ready() { [ "$(in_ns web ss -Hltn | grep -c ':80 ')" = 2 ]; }
web_address() { if [ "$1" = 6 ]; then echo 2001:db8:9::9; else echo 10.9.9.9; fi; }

# FAMILY COUNT [SERVER]: so many requests of an intranet's host, each a conn of its own
requests() {
    local n said=
    for n in $(seq "$2"); do
        said+="$(in_ns "${3:-nat1}" curl -s --noproxy '*' --max-time 8 "http://$(endpoint "$(web_address "$1")" 80)/") "
    done
    echo "$said" | xargs -n 1 | sort | uniq -c | xargs
}

# ROUTER: how many SYNs it has let through toward web
syns() { in_ns "$1" nft --json list counters 2>/dev/null | jq '[.nftables[].counter? | select(.name == "syns") | .packets] | add'; }
count_syns() {
    in_ns "$1" nft -f - <<-END
	table inet t {
	  counter syns { }
	  chain c { type filter hook forward priority 0; oifname "o1" tcp flags & (syn | ack) == syn counter name "syns"; }
	}
	END
}

lab_up
routers_up || fail "no routers"
count_syns ra && count_syns rb || fail "no counters"
LAB_EXTRA='[[pool]]
name = "wan"
addresses = ["10.1.0.200-10.1.0.203", "2001:db8:1::200-2001:db8:1::203"]
[[snat]]
name = "v4"
source = "10.2.0.0/24"
pool = "wan"
scheduler = "rr"
[[snat.dest]]
address = "10.1.0.11"
[[snat.dest]]
address = "10.1.0.12"
[[snat]]
name = "v6"
source = "2001:db8:2::/64"
pool = "wan"
scheduler = "rr"
[[snat.dest]]
address = "2001:db8:1::11"
[[snat.dest]]
address = "2001:db8:1::12"'
lab_config nat all
director_start
requests 4 1 >/dev/null
for f in 4 6; do
    [ $f = 4 ] && p='10\.1\.0\.20[0-3]' || p='2001:db8:1::20[0-3]'
    before_a=$(syns ra) before_b=$(syns rb)
    : >"$LAB_DIR/web/access.log"
    same "v$f: requests through the gateway" "10 web" "$(requests $f 10)"
    seen=$(seen_by web)
    [[ $seen =~ ^($p)( ($p))*$ ]] || fail "v$f: web saw \"$seen\""
    ok "v$f: web saw $seen"
    between "v$f: conns by ra" 4 7 $(($(syns ra) - before_a))
    between "v$f: conns by rb" 4 7 $(($(syns rb) - before_b))
done
in_ns nat2 ping -c 3 -i 0.1 -W 2 10.9.9.9 >"$LAB_DIR/ping" || fail "ping: $(cat "$LAB_DIR/ping")"
ok "ping through the gateway"
# weight 0 takes a router out of service: its conns go on, new ones take the other
sed -i 's/^address = "10.1.0.11"$/&\nweight = 0/' "$LAB_DIR/pointsman.toml"
pm reload >/dev/null || fail "reload"
before=$(syns ra)
same "requests with ra at weight 0" "6 web" "$(requests 4 6)"
same "new conns by ra meanwhile" 0 $(($(syns ra) - before))
# and one that dies is left at the client's second SYN
sed -i '/^weight = 0$/d' "$LAB_DIR/pointsman.toml"
pm reload >/dev/null || fail "reload"
ip -n "$LAB_P-rb" link set o0 down
same "requests with rb dead" "4 web" "$(requests 4 4)"
kernel_untouched
