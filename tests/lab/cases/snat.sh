#!/bin/bash
# SNAT: servers whose default gateway is the director open conns of their own: curl, UDP, ping, traceroute.
# They leave with an address of a pool, a VIP, or the address of the port.
# May starve.
LAB_SERVERS="nat1 nat2"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

# a web server, a UDP echo and a closed port where the clients are
outside_up() {
    mkdir -p "$LAB_DIR/cl/up" "$LAB_DIR/cl/tmp"
    nginx_conf cl >"$LAB_DIR/cl/nginx.conf"
    start_in cl "$LAB_DIR/cl/error.log" nginx -p "$LAB_DIR/cl" -e "$LAB_DIR/cl/error.log" -c "$LAB_DIR/cl/nginx.conf"
    start_in cl "$LAB_DIR/cl/servers.log" /usr/bin/python3 "$LAB_HOME/servers.py" cl "$LAB_DIR/cl/small.log" \
        10.1.0.1 2001:db8:1::1
    wait_for 5 outside_ready || fail "nothing listens outside"
}
outside_ready() { [ "$(in_ns cl ss -Hltun | grep -Ec ':(80|8080|7) ')" -ge 6 ]; }

outside() { # SERVER FAMILY [PORT] -> what the web server outside answers
    in_ns "$1" curl -s --noproxy '*' --connect-timeout 1 --max-time 3 \
        "http://$(endpoint "$(client_address "$2")" "${3:-80}")/"
}

leaves_as() { # SERVER FAMILY PATTERN [PORT]: a request gets its answer, and the log outside says who asked
    : >"$LAB_DIR/cl/access.log"
    same "v$2: $1 asks the web server outside${4:+ on port $4}" cl "$(outside "$1" "$2" "${4:-80}")"
    wait_for 1 test -s "$LAB_DIR/cl/access.log"
    local seen
    seen=$(seen_by cl)
    [[ $seen =~ ^($3)$ ]] || fail "v$2: outside $1 is \"$seen\", wanted $3"
    ok "v$2: outside, $1 is $seen"
}

udp() { # SERVER FAMILY COMMAND... -> by client.py, toward the outside
    in_ns "$1" /usr/bin/python3 "$LAB_HOME/client.py" "$3" "$(client_address "$2")" "${@:4}"
}

lan_address() { if [ "$1" = 6 ]; then echo 2001:db8:2::fe; else echo 10.2.0.254; fi; }

lab_up
outside_up
LAB_EXTRA='[[pool]]
name = "wan"
addresses = ["10.1.0.200-10.1.0.203", "2001:db8:1::200-2001:db8:1::203"]
[[snat]]
source = ["10.2.0.0/24", "2001:db8:2::/64"]
ports = [8080]
pool = "automap"
[[snat]]
source = ["10.2.0.21/32", "2001:db8:2::21/128"]
pool = "wan"
[[snat]]
source = ["10.2.0.22/32", "2001:db8:2::22/128"]
protocol = ["tcp", "udp"]
address = ["10.1.0.101", "2001:db8:1::101"]'
lab_config nat all
outside nat1 4 >/dev/null && fail "nat1 gets out without a director"
director_start
for f in 4 6; do
    [ $f = 4 ] && p='10\.1\.0\.' own=254 || p='2001:db8:1::' own=fe
    leaves_as nat1 $f "${p}20[0-3]"
    leaves_as nat2 $f "${p}101"
    leaves_as nat1 $f "$p$own" 8080
    answers nat $f
    udp nat1 $f udp 7 200 700 >/dev/null || fail "v$f: UDP echo"
    ok "v$f: 200 datagrams went out and came back"
    grep -Eqx "udp (${p}20[0-3]) [0-9]+" "$LAB_DIR/cl/small.log" || fail "v$f: UDP left as something else"
    same "v$f: a closed UDP port outside" ECONNREFUSED "$(udp nat1 $f who 9 20)"
    capture cl c0 "$LAB_DIR/ping$f" 'icmp or icmp6'
    in_ns nat1 ping -c 5 -i 0.05 -W 2 -s 1000 "$(client_address $f)" >"$LAB_DIR/ping" || fail "v$f: ping: $(cat "$LAB_DIR/ping")"
    capture_end
    same "v$f: echo requests outside that came from the pool" 5 \
        "$(frames "$LAB_DIR/ping$f" | grep 'echo request' | grep -Ec "${p}20[0-3] >")"
    in_ns nat2 ping -c 1 -W 1 "$(client_address $f)" >/dev/null && fail "v$f: nat2's rule has no icmp"
    same "v$f: traceroute -I from nat1" "1 $(lan_address $f) 2 $(client_address $f)" \
        "$(in_ns nat1 traceroute -I -n -q 1 -w 2 -m 4 "$(client_address $f)" | awk 'NR > 1 {print $1, $2}' | xargs)"
done
same "SNAT rules in status" 3 "$(status_json | jq '.snat | length')"
between "conns of the second rule" 8 600 "$(status_json | jq '.snat[1].dests[0].conns')"
in_ns nat1 wrk -t1 -c32 -d 1s --timeout 5s -H 'Connection: close' http://10.1.0.1/bench >"$LAB_DIR/wrk.out" 2>&1
bench_read "$LAB_DIR/wrk.out"
same "requests that failed, of $BENCH_REQUESTS from nat1 under wrk" 0 "$BENCH_ERRORS"
[ "$BENCH_REQUESTS" -gt 100 ] || fail "only $BENCH_REQUESTS requests"
kernel_untouched
