#!/bin/bash
# A dest's ICMP error about a conn reaches the client, as if the VIP had sent it.
LAB_SERVERS="fn1 nat1 dr1 tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
# nobody listens on UDP port 9 of the servers
LAB_EXTRA=$(for f in 4 6; do for m in fullnat nat dr tunnel; do service $m $f udp 9 9 "$(servers_of $m)"; done; done)
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    got $m $f >/dev/null || fail "$m v$f: no answer"
    before=$(in_ns "$(servers_of $m)" nstat -asz UdpNoPorts Udp6NoPorts | awk '/NoPorts/ {n += $2} END {print n}')
    same "$m v$f: UDP to a port the server has closed" ECONNREFUSED "$(client who "$(vip $m $f)" 9 20)"
    after=$(in_ns "$(servers_of $m)" nstat -asz UdpNoPorts Udp6NoPorts | awk '/NoPorts/ {n += $2} END {print n}')
    [ "$after" -gt "$before" ] || fail "$m v$f: the error was not the server's"
done; done
