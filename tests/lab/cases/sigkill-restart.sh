#!/bin/bash
# SIGKILL and start again with the same command: serves within 2 s, by both drivers, nothing in the way.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
for driver in af_packet af_xdp; do
    lab_config fullnat 4 $driver
    director_start
    answers fullnat 4
    for n in 1 2 3; do
        kill -KILL "$DIRECTOR_PID"
        wait "$DIRECTOR_PID" 2>/dev/null
        start=$EPOCHREALTIME
        director_start 5
        wait_for 3 get fullnat 4 >/dev/null || fail "$driver: no answer after SIGKILL and start"
        took=$(since "$start")
        [ "${took%.*}" -lt 2 ] || fail "$driver: served only after $took s"
        ok "$driver: served $took s after the start that followed SIGKILL"
    done
    director_stop
done
