#!/bin/bash
# A v6 VIP behind a bridge with mcast_snooping 1 and a querier: the director reports its solicited-node groups by MLDv2,
# and goes on doing so, or the client's questions for the VIP never reach it.
# May starve.
# Mostly waits.
LAB_SERVERS="fn1 dr1"
LAB_CLIENT_BRIDGE=1 LAB_SNOOPING=1
. "$(dirname "$0")/../lab.sh"

in_group() { bridge -n "$LAB_P-sw" mdb show dev br-c | grep "port p-dir-d0 " | grep -q 'ff02::1:ff00:100'; }
forget() { ip -n "$LAB_P-cl" neigh flush all; ip -n "$LAB_P-cl" neigh del "$(vip fullnat 6)" dev c0 2>/dev/null; }

lab_up
sleep 3 # the bridge begins to snoop when its own queries have had time to be answered
lab_config "fullnat dr" all
director_start
wait_for 6 in_group || fail "the VIP's group is not in the bridge's table: $(bridge -n "$LAB_P-sw" mdb show)"
ok "the bridge knows the VIP's group at the director's port"
for n in 1 2; do
    forget
    got fullnat 6 >/dev/null || fail "no answer from the v6 VIP, turn $n"
    got dr 6 >/dev/null || fail "no answer from the v6 DR VIP, turn $n"
    sleep 4 # memberships last 5 s here: the reports must be repeated when queried
    in_group || fail "the VIP's group has left the bridge's table, turn $n"
done
ok "two questions over 8 s found the VIP"
