#!/bin/bash
# A v4 VIP before v6 servers that have no v4 (RFC 7915): TCP, UDP, fragments, ICMP errors, path MTU, no wrong checksum.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/crossed.sh"

CLIENTS=4 DESTS=6 MTU_TOLD=1380
crossed
