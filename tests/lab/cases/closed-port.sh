#!/bin/bash
# What is addressed to a VIP and may not open a conn gets what a host would give: RST, port unreachable, echo reply;
# nothing where the VIP says closed = "drop".
LAB_SERVERS="fn1 nat1"
. "$(dirname "$0")/../lab.sh"

lab_up
LAB_EXTRA=$(for f in 4 6; do printf '[[vip]]\naddress = "%s"\nclosed = "drop"\n' "$(vip nat $f)"; done)
lab_config "fullnat nat" all
director_start
got fullnat 4 >/dev/null || fail "no answer on the open port"
# what is dropped is waited for: both families at once
tried() { # FAMILY
    local f=$1
    same "v$f TCP to a closed port" ECONNREFUSED "$(client hops "$(vip fullnat $f)" 81 64)"
    same "v$f UDP to a closed port" ECONNREFUSED "$(client who "$(vip fullnat $f)" 81 20)"
    in_ns cl ping -c 2 -i 0.2 -W 2 -q "$(vip fullnat $f)" >/dev/null || fail "v$f: the VIP does not answer ping"
    ok "v$f: the VIP answers ping"
    same "v$f TCP to a closed port of a VIP that drops" timeout "$(client hops "$(vip nat $f)" 81 64)"
    same "v$f UDP to a closed port of a VIP that drops" timeout "$(client who "$(vip nat $f)" 81 20)"
    got nat $f >/dev/null || fail "v$f: no answer on the open port of the VIP that drops"
}
tried 4 &
pid=$!
tried 6
wait $pid || exit 1
