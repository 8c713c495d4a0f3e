#!/bin/bash
# Routes with a from: replies leave by the uplink of their VIP, what a server begins itself by that of the server.
LAB_SERVERS="fn1 nat1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/uplinks.sh"

uplink() { # DESTINATION SOURCE VIA
    printf '[[route]]\nto = "%s"\nfrom = "%s"\nvia = "%s"\n' "$@"
}

lab_up
uplinks_up || fail "no uplinks"
LAB_DIRECTOR='route = true'
# full-NAT's VIP by the first, all else by the second
LAB_WAN='gateway = ["10.1.0.22", "2001:db8:1::22"]'
LAB_EXTRA=$(
    uplink 0.0.0.0/0 10.1.0.100/32 10.1.0.21
    uplink ::/0 2001:db8:1::100/128 2001:db8:1::21
)
lab_config "fullnat nat" all
director_start

# by_uplink WHAT FAMILY UPLINK COMMAND...: the client is answered, and by this uplink alone
by_uplink() {
    local what=$1 f=$2 up=$3 other before others
    shift 3
    other=$([ "$up" = up1 ] && echo up2 || echo up1)
    before=$(carried $up "$f") others=$(carried $other "$f")
    "$@" >/dev/null || { sleep 0.3; "$@" >/dev/null; } || fail "$what v$f: no answer"
    [ "$(carried $up "$f")" -gt "$before" ] || fail "$what v$f: nothing came by $up"
    same "$what v$f by $up: packets by $other" "$others" "$(carried $other "$f")"
}

for f in 4 6; do
    # whichever way the client asks
    for asked in up1 up2; do
        client_by $asked fullnat $f
        client_by $asked nat $f
        by_uplink "full-NAT asked by $asked" $f up1 get fullnat $f
        by_uplink "NAT asked by $asked" $f up2 get nat $f
    done
    client=$([ $f = 6 ] && echo 2001:db8:8::1 || echo 10.8.0.1)
    ip -n "$LAB_P-cl" route replace "$([ $f = 6 ] && echo 2001:db8:2::/64 || echo 10.2.0.0/24)" \
        via "$([ $f = 6 ] && echo 2001:db8:81::1 || echo 10.81.0.1)" src "$client"
    by_uplink "a server's own ping" $f up2 in_ns nat1 ping -q -c 1 -W 1 "$client"
done
# now the servers' own packets by the first
LAB_EXTRA+=$'\n'$(
    uplink 0.0.0.0/0 10.2.0.16/28 10.1.0.21
    uplink ::/0 2001:db8:2::/64 2001:db8:1::21
)
lab_config "fullnat nat" all
pm reload >/dev/null || fail "routes need no restart"
for f in 4 6; do
    client=$([ $f = 6 ] && echo 2001:db8:8::1 || echo 10.8.0.1)
    by_uplink "a server's own ping, after a reload" $f up1 in_ns nat1 ping -q -c 1 -W 1 "$client"
done
