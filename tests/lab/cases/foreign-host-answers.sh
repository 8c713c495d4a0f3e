#!/bin/bash
# The classic trap: a DR server on the client's segment without the arp settings answers for the VIP. It is named in log
# and status with its MAC, and the director announces again, at a bounded rate.
LAB_SERVERS="dr1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

trap_in_status() { status | grep -qi "$mac"; }

lab_up
lab_config dr all
director_start
answers dr 4
director_logged "$(printf '%s|' 'another host' 'foreign' | sed 's/|$//')" && fail "an alarm without a cause"
make_ns trap && plug trap t0 br-c && ip -n "$LAB_P-trap" addr add 10.1.0.50/24 dev t0 &&
    ip -n "$LAB_P-trap" addr add "$(vip dr 4)/32" dev lo && ip -n "$LAB_P-trap" link set lo up || fail "no trap could be set"
mac=$(mac_in trap t0)
capture cl c0 "$LAB_DIR/cap" "arp and arp[14:4] = 0x0a010066 and ether src $(mac_in dir d0)"
wait_for 25 grep -qi "$mac" "$DIRECTOR_LOG" || fail "the log does not name $mac, which answers for the VIP"
ok "the log says: $(grep -i "$mac" "$DIRECTOR_LOG" | head -n 1)"
wait_for 2 trap_in_status || fail "status does not name $mac"
ok "status names it"
sleep 3
capture_end
between "announcements that answered it" 1 20 "$(frames "$LAB_DIR/cap" | grep -c .)"
