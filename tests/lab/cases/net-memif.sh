#!/bin/bash
# net_memif: two directors in a row, joined by shared memory instead of a wire; the first one's dest is the second
# one's VIP. Both families, TCP and UDP, a load; and SIGKILL of both, which leave their socket behind.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

port() { printf '[[port]]\nname = "%s"\ndevice = "%s"\naddresses = ["%s", "%s"]\n' "$@"; }
pool() { printf '[[pool]]\nname = "%s"\naddresses = ["%s", "%s"]\n' "$@"; }
serve() { # POOL VIP PROTOCOL PORT DEST...
    local d
    printf '[[service]]\naddress = "%s"\nprotocol = "%s"\nforward = "fullnat"\npool = "%s"\n' \
        "$(endpoint "$2" "$4")" "$3" "$1"
    for d in "${@:5}"; do printf '[[service.dest]]\naddress = "%s"\n' "$(endpoint "$d" "$4")"; done
}

director_of() { # NAME: the parts both have
    printf '[director]\nidle = "adaptive"\nconns = 131072\nhugepages = "never"\nmemory = 128\n'
    printf 'socket = "%s/%s.sock"\nsecret = "%s/secret"\n' "$LAB_DIR" "$1" "$LAB_DIR"
}

start() { # NAME: STARTED is its pid
    : >"$LAB_DIR/$1.log"
    start_in dir "$LAB_DIR/$1.log" $(on_all_cores) "$POINTSMAN" run -c "$LAB_DIR/$1.toml"
    wait_for 5 grep -qw ready "$LAB_DIR/$1.log" || fail "director $1 did not start: $(tail -n 3 "$LAB_DIR/$1.log")"
}

of() { "$POINTSMAN" status --json -s "$LAB_DIR/$1.sock" | jq -r "$2"; }

lab_up
need_binary
memif="socket=$LAB_DIR/memif.sock,socket-abstract=no"
{
    director_of near
    port wan net_af_packet0,iface=d0 10.1.0.254/24 2001:db8:1::fe/64
    port mid "net_memif0,role=server,$memif" 10.3.0.1/24 2001:db8:3::1/64
    pool mid 10.3.0.50 2001:db8:3::50
    for p in "tcp 80" "udp 7"; do
        serve mid "$(vip fullnat 4)" $p 10.3.0.100
        serve mid "$(vip fullnat 6)" $p 2001:db8:3::100
    done
} >"$LAB_DIR/near.toml"
{
    director_of far
    port mid "net_memif0,role=client,$memif" 10.3.0.2/24 2001:db8:3::2/64
    port lan net_af_packet0,iface=d1 10.2.0.254/24 2001:db8:2::fe/64
    pool lan 10.2.0.100 2001:db8:2::100
    for p in "tcp 80" "udp 7"; do
        serve lan 10.3.0.100 $p 10.2.0.11 10.2.0.12
        serve lan 2001:db8:3::100 $p 2001:db8:2::11 2001:db8:2::12
    done
} >"$LAB_DIR/far.toml"
start near
near=$STARTED
start far
far=$STARTED
# the first director has asked for its next hops before there was anybody to answer
for f in 4 6; do wait_for 12 get fullnat $f >/dev/null || fail "no answer through net_memif over IPv$f"; done
for f in 4 6; do
    mark_logs
    answers fullnat $f
    client each "$(vip fullnat $f)" 7 8 >/dev/null || fail "v$f: a datagram did not come back"
    bench_clean fullnat $f 1 -H 'Connection: close'
done
for name in near far; do
    same "$name: driver of its port mid" net_memif "$(of $name '.ports[] | select(.name == "mid").driver')"
    same "$name: the law holds" true "$(of $name .law.holds)"
done
kill -KILL "$near" "$far"
wait "$near" "$far" 2>/dev/null
[ -S "$LAB_DIR/memif.sock" ] || fail "SIGKILL left no socket: nothing to see here"
start near
near=$STARTED
start far
far=$STARTED
wait_for 12 get fullnat 4 >/dev/null || fail "no answer through net_memif after SIGKILL and start: $(tail -n 3 "$LAB_DIR"/{near,far}.log)"
ok "it serves after SIGKILL and start"
end_pid "$far" 8 && end_pid "$near" 8 || fail "a director had to be killed"
