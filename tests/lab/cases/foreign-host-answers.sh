#!/bin/bash
# The classic trap: a DR server on the client's segment without the arp settings answers for the VIP. It is named in log
# and status with its MAC, and the director announces again, at a bounded rate.
LAB_SERVERS="dr1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

# trapped FAMILY FILTER: a host that answers for the VIP of this family; FILTER: the director's announcements of it
trapped() {
    local f=$1 vip name=trap$1 mac
    vip=$(vip dr "$f")
    make_ns "$name" && plug "$name" t0 br-c || fail "no trap could be set"
    mac=$(mac_in "$name" t0)
    capture cl c0 "$LAB_DIR/cap" "$2"
    if [ "$f" = 4 ]; then
        # a VIP on lo that is answered for, as without arp_ignore
        ip -n "$LAB_P-$name" addr add 10.1.0.50/24 dev t0 && ip -n "$LAB_P-$name" addr add "$vip/32" dev lo
    else
        # ND answers for what is on the link's own interface only
        ip -n "$LAB_P-$name" addr add "$vip/64" dev t0 nodad
    fi && ip -n "$LAB_P-$name" link set lo up || fail "no trap could be set"
    wait_for 25 names_it "$mac" || fail "v$f: the log does not name $mac, which answers for the VIP"
    ok "the log says: $(grep -i "$mac" "$DIRECTOR_LOG" | head -n 1)"
    wait_for 2 status_names_it "$mac" || fail "v$f: status does not name $mac"
    ok "v$f: status names it"
    sleep 3
    capture_end
    between "v$f: announcements that answered it" 1 20 "$(frames "$LAB_DIR/cap" | grep -c "$vip")"
    TRAPS+=("$mac")
}

names_it() { grep -qi "VIP .* is also held by $1" "$DIRECTOR_LOG"; }
status_names_it() { status | grep -qi "$1"; }

lab_up
lab_config dr all
director_start
for f in 4 6; do answers dr $f; done
director_logged 'also held by' && fail "an alarm without a cause"
TRAPS=()
dir=$(mac_in dir d0)
trapped 4 "arp and arp[14:4] = 0x0a010066 and ether src $dir"
# 136: neighbour advertisements
trapped 6 "icmp6 and ip6[40] = 136 and ether src $dir"
# probes have found the first one again meanwhile
for mac in "${TRAPS[@]}"; do same "lines that name $mac" 1 "$(grep -ci "$mac" "$DIRECTOR_LOG")"; done
