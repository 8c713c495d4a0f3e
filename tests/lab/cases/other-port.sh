#!/bin/bash
# A dest may listen on another port than the service has: 8080 to 80 under full-NAT and NAT.
LAB_SERVERS="fn1 fn2 nat1 nat2"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config "fullnat nat" all
director_start
for m in fullnat nat; do for f in 4 6; do
    mark_logs
    answers $m $f 8080
    for s in $(servers_of $m); do
        same "$s was asked on port" 80 "$(awk '{print $NF}' "$LAB_DIR/$s/access.log" | sort -u)"
    done
done; done
