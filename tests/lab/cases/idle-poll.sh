#!/bin/bash
# idle = "poll" never sleeps; idle = "adaptive" does when there is nothing to do; both serve.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

busy() { # percent of one CPU used by the director over a second of rest
    local ticks
    ticks=$(awk '{print $14 + $15}' "/proc/$DIRECTOR_PID/stat")
    sleep 1
    echo $(($(awk '{print $14 + $15}' "/proc/$DIRECTOR_PID/stat") - ticks))
}

lab_up
for LAB_IDLE in adaptive poll; do
    lab_config fullnat 4
    director_start
    answers fullnat 4
    if [ $LAB_IDLE = poll ]; then
        between "CPU in percent while idle, poll" 40 115 "$(busy)"
    else
        between "CPU in percent while idle, adaptive" 0 60 "$(busy)"
    fi
    director_stop
done
