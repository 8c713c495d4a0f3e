#!/bin/bash
# Full-NAT: servers that have no default route and none to the client's network answer the client.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

through fullnat
for s in fn1 fn2; do
    ip -n "$LAB_P-$s" route get 10.1.0.1 2>/dev/null && fail "$s has a route to the client"
    ip -n "$LAB_P-$s" route get 2001:db8:1::1 2>/dev/null && fail "$s has a v6 route to the client"
done
ok "the servers have no route to the client"
