#!/bin/bash
# A protocol where the server speaks first (SMTP's greeting) works through all methods; under full-NAT and NAT
# the dest's port is another one than the service's (25 to 26).
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    names=
    for n in 1 2; do
        line=$(client greeting "$(vip $m $f)" 25) || fail "$m v$f: no greeting: $line"
        names+="${line#220 }"$'\n'
    done
    same "$m v$f: greeted by" "$(servers_of $m | sed 's/$/ ESMTP/' | xargs)" "$(grep . <<<"$names" | sort | xargs)"
done; done
