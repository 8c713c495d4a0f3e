#!/bin/bash
# Without hugepages two workers that hand frames over on af_xdp ports lose none of their memory: a load that turns
# every buffer over many times goes on at the same rate. LAB_FULL=1: four times, else twice.
# May starve.
LAB_SERVERS="nat1 nat2"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

lab_up
HUGEPAGES=never
lab_config nat 4 af_xdp
director_start
answers nat 4
for turn in 1 2 ${LAB_FULL:+3 4}; do
    bench_clean nat 4 2 -H 'Connection: close'
    [ "$BENCH_RATE" -ge 500 ] || fail "turn $turn: only $BENCH_RATE requests per second"
done
answers nat 4
