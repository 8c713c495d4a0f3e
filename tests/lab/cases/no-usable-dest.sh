#!/bin/bash
# A service whose dests are all quiesced answers port unreachable.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
LAB_DESTS="fn1=0 fn2=0"
lab_config fullnat all
director_start
for f in 4 6; do
    same "v$f TCP" ECONNREFUSED "$(client hops "$(vip fullnat $f)" 80 64)"
    same "v$f UDP" ECONNREFUSED "$(client who "$(vip fullnat $f)" 7 20)"
done
