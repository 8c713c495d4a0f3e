#!/bin/bash
# The classic trap: a DR server without the arp settings, with a leg on the client's segment, answers for the VIP. It is
# named in log and status with its MAC, and the director announces again, at a bounded rate.
# May starve.
LAB_SERVERS="dr1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

declare -A TRAP ALARM CAPTURES

# trap_set FAMILY NAME FILTER: a host that answers for the VIP of this family; FILTER: the director's announcements of it
trap_set() {
    plug "$2" t0 br-c || fail "no trap could be set"
    TRAP[$1]=$(mac_in "$2" t0)
    capture cl c0 "$LAB_DIR/cap$1" "$3"
    CAPTURES[$1]=$CAPTURE_PID
}

named() { ALARM[$1]=$(grep -iE "VIP .* is also held by ${TRAP[$1]}" "$DIRECTOR_LOG"); }
in_status() { status | grep -qi "${TRAP[$1]}"; }

lab_up
lab_config dr all
director_start
for f in 4 6; do answers dr $f; done
director_logged 'also held by' && fail "an alarm without a cause"
# in full runs the probes that come every ten seconds find them, else those at start
[ -n "${LAB_FULL:-}" ] || director_stop
dir=$(mac_in dir d0)
trap_set 4 dr1 "arp and arp[14:4] = 0x0a010066 and ether src $dir"
in_ns dr1 sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0
# ND answers for what is on the link's own interface only, so over v6 a server on lo is no trap: another host. 136:
# neighbour advertisements.
make_ns trap || fail "no trap could be set"
trap_set 6 trap "icmp6 and ip6[40] = 136 and ether src $dir"
ip -n "$LAB_P-trap" addr add "$(vip dr 6)/64" dev t0 nodad || fail "no trap could be set"
[ -n "${LAB_FULL:-}" ] || director_start
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
