#!/bin/bash
# The classic trap: a DR server on the client's segment without the arp settings answers for the VIP. It is named in log
# and status with its MAC, and the director announces again, at a bounded rate.
# May starve.
LAB_SERVERS="dr1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

declare -A TRAP ALARM CAPTURES

# trap_set FAMILY FILTER: a host that answers for the VIP of this family; FILTER: the director's announcements of it
trap_set() {
    local f=$1 vip name=trap$1
    vip=$(vip dr "$f")
    make_ns "$name" && plug "$name" t0 br-c || fail "no trap could be set"
    TRAP[$f]=$(mac_in "$name" t0)
    capture cl c0 "$LAB_DIR/cap$f" "$2"
    CAPTURES[$f]=$CAPTURE_PID
    if [ "$f" = 4 ]; then
        # a VIP on lo that is answered for, as without arp_ignore
        ip -n "$LAB_P-$name" addr add 10.1.0.50/24 dev t0 && ip -n "$LAB_P-$name" addr add "$vip/32" dev lo
    else
        # ND answers for what is on the link's own interface only
        ip -n "$LAB_P-$name" addr add "$vip/64" dev t0 nodad
    fi && ip -n "$LAB_P-$name" link set lo up || fail "no trap could be set"
}

named() { ALARM[$1]=$(grep -iE "VIP .* is also held by ${TRAP[$1]}" "$DIRECTOR_LOG"); }
in_status() { status | grep -qi "${TRAP[$1]}"; }

lab_up
lab_config dr all
director_start
for f in 4 6; do answers dr $f; done
director_logged 'also held by' && fail "an alarm without a cause"
dir=$(mac_in dir d0)
trap_set 4 "arp and arp[14:4] = 0x0a010066 and ether src $dir"
# 136: neighbour advertisements
trap_set 6 "icmp6 and ip6[40] = 136 and ether src $dir"
for f in 4 6; do
    wait_for 25 named $f || fail "v$f: the log does not name ${TRAP[$f]}, which answers for the VIP"
    ok "v$f: the log says: ${ALARM[$f]}"
    wait_for 2 in_status $f || fail "v$f: status does not name ${TRAP[$f]}"
    ok "v$f: status names it"
done
# in full runs until the next probes, which find them again
sleep $((${LAB_FULL:-0} * 10 + 1))
for f in 4 6; do
    CAPTURE_PID=${CAPTURES[$f]}
    capture_end
    between "v$f: announcements that answered it" 1 40 "$(frames "$LAB_DIR/cap$f" | grep -c "$(vip dr $f)")"
    same "v$f: lines that name it" 1 "$(grep -ci "${TRAP[$f]}" "$DIRECTOR_LOG")"
done
