#!/bin/bash
# The director asks for neighbours with its own address as sender, never with the VIP; and answers for VIPs, own and pool addresses.
LAB_SERVERS="dr1 fn1"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
capture sw br-s "$LAB_DIR/cap" arp or icmp6
director_start
for f in 4 6; do got dr $f >/dev/null || fail "v$f: no answer"; got fullnat $f >/dev/null || fail "v$f: no answer"; done
capture_end
same "ARP requests for the DR server were sent by" 10.2.0.254 \
    "$(frames "$LAB_DIR/cap" arp | grep -o 'who-has 10.2.0.31 .*tell 10[0-9.]*' | grep -v 'tell 10.2.0.1$' | awk '{print $NF}' | sort -u | xargs)"
frames "$LAB_DIR/cap" arp | grep -E 'Request who-has 10\.2\.[0-9.]+ .*tell 10\.1\.' && fail "asked with a VIP as sender"
frames "$LAB_DIR/cap" "icmp6 and ip6[40] = 135 and src net 2001:db8:1::/64" | grep . && fail "asked with a v6 VIP as sender"
ok "no question has a VIP as its sender"
for a in 10.2.0.254 10.2.0.100 2001:db8:2::fe 2001:db8:2::100; do
    in_ns fn1 ping -c 1 -W 2 -q $a >/dev/null || fail "a server gets no answer from $a"
    ok "a server gets its ping answered by $a"
done
in_ns cl ping -c 1 -W 2 -q 10.1.0.254 >/dev/null || fail "the client gets no answer from 10.1.0.254"
