#!/bin/bash
# DR: one server holds the VIP on lo with the usual arp settings, the other takes the frames by nft redirect;
# both answer the client past the director.
LAB_SERVERS="dr1 dr2"
. "$(dirname "$0")/../lab.sh"

through dr
ip -n "$LAB_P-dr2" -o address show | grep -E '10\.1\.0\.|2001:db8:1:' && fail "dr2 holds a VIP, it should not"
ok "dr2 holds no VIP"
