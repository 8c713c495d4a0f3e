#!/bin/bash
# A SYN on a conn that has ended, from the same client port, opens it afresh at once.
LAB_SERVERS="fn1 nat1 dr1 tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    got $m $f >/dev/null || fail "$m v$f: no answer"
    said=$(client again "$(vip $m $f)" 80 20000 5) || fail "$m v$f: conn from port 20000: $said"
    ok "$m v$f: five conns from one port, one after the other"
done; done
