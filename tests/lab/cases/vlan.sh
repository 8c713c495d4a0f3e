#!/bin/bash
# An 802.1Q tag per port: the client is in VLAN 100, the servers are untagged.
LAB_SERVERS="fn1 fn2 nat1 nat2"
. "$(dirname "$0")/../lab.sh"

lab_up
clang_bpf "$LAB_HOME/vlan.c" "$LAB_DIR/vlan.o" -DVLAN=100 || fail "clang could not compile vlan.c"
in_ns cl ethtool -K c0 txvlan off >/dev/null # the tag goes into the frame, as on a wire
in_ns cl tc qdisc add dev c0 clsact &&
    in_ns cl tc filter add dev c0 egress bpf direct-action obj "$LAB_DIR/vlan.o" sec tc/push &&
    in_ns cl tc filter add dev c0 ingress bpf direct-action obj "$LAB_DIR/vlan.o" sec tc/pop ||
    fail "the client could not be put into VLAN 100"
LAB_WAN='vlan = 100'
lab_config "fullnat nat" all
director_start
for f in 4 6; do
    answers fullnat $f
    answers nat $f
done
# a client in another VLAN is not served
in_ns cl tc filter del dev c0 egress
clang_bpf "$LAB_HOME/vlan.c" "$LAB_DIR/vlan.o" -DVLAN=200
in_ns cl tc filter add dev c0 egress bpf direct-action obj "$LAB_DIR/vlan.o" sec tc/push
silent fullnat 4
