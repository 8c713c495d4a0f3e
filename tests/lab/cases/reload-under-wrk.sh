#!/bin/bash
# A reload under wrk that changes weights, adds and removes a dest, fails no request: conns that stay open, before
# one worker, and one conn per request, before two.
# May starve.
LAB_SERVERS="fn1 fn2 fn3"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

now_with() { # DESTS
    LAB_DESTS=$1
    lab_config fullnat 4 af_packet $workers
    pm reload >/dev/null || fail "reload with $1 was refused"
}

lab_up
for workers in 1 2; do
    header=$([ $workers = 1 ] && echo 'X: keep' || echo 'Connection: close')
    LAB_DESTS="fn1 fn2" && lab_config fullnat 4 af_packet $workers
    director_start
    got fullnat 4 >/dev/null || fail "no answer"
    bench_start fullnat 4 4 -H "$header"
    for dests in "fn1=3 fn2=1" "fn1=3 fn2=1 fn3=2" "fn2 fn3" "fn3" "fn1 fn2 fn3" "fn1=0 fn2 fn3" "fn1 fn2 fn3"; do
        sleep 0.5
        now_with "$dests"
    done
    bench_end
    answers fullnat 4
    director_stop
done
