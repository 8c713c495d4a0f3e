#!/bin/bash
# VIPs are announced at start, on link up and by `pointsman announce VIP`: gratuitous ARP and unsolicited NA.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

arp="arp and ether dst ff:ff:ff:ff:ff:ff and arp[14:4] = 0x0a010064 and arp[24:4] = 0x0a010064"
na="icmp6 and ip6[40] = 136 and ip6 dst ff02::1 and ip6[48:4] = 0x20010db8 and ip6[60:4] = 0x00000100"
announced() { # WHEN
    capture_end
    for what in "$arp" "$na"; do
        [ "$(frames "$LAB_DIR/cap" "$what" | grep -c .)" -gt 0 ] || fail "$1: no ${what%% *} announcement of the VIP"
    done
    ok "announced $1"
}

lab_up
lab_config fullnat all
capture cl c0 "$LAB_DIR/cap" arp or icmp6
director_start
sleep 1
announced "at start"
mac=$(frames "$LAB_DIR/cap" "$arp" | head -n 1 | awk '{print $2}')
same "its MAC is the port's" "$(mac_in dir d0)" "$mac"

capture cl c0 "$LAB_DIR/cap" arp or icmp6
pm announce "$(vip fullnat 4)" >/dev/null || fail "announce of the v4 VIP failed"
pm announce "$(vip fullnat 6)" >/dev/null || fail "announce of the v6 VIP failed"
sleep 0.5
announced "by command"
pm announce 10.1.0.99 >"$LAB_DIR/said" 2>&1 && fail "announced an address that is no VIP"
ok "no VIP: $(head -n 1 "$LAB_DIR/said")"

ip -n "$LAB_P-cl" link set c0 down
sleep 1.5
ip -n "$LAB_P-cl" link set c0 up
capture cl c0 "$LAB_DIR/cap" arp or icmp6
sleep 3
announced "on link up"
