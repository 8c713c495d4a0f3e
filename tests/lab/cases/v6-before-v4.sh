#!/bin/bash
# A v6 VIP before v4 servers that have no v6 (RFC 7915): TCP, UDP, fragments, ICMP errors, path MTU, no wrong checksum.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/crossed.sh"

CLIENTS=6 DESTS=4 MTU_TOLD=1420
crossed
