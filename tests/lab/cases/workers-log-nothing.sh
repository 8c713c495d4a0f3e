#!/bin/bash
# No worker writes a line or anything else to a file, whatever befalls it: /proc/PID/task/TID/io counts what each thread
# has written since it began. The control thread's lines show that the counting works.
# May starve.
LAB_SERVERS="fn1 fn2"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

written() { # THREAD_NAME -> bytes written by the director's threads of that name
    local task sum=0
    for task in "/proc/$DIRECTOR_PID"/task/*; do
        [[ $(cat "$task/comm") == "$1" ]] || continue
        sum=$((sum + $(awk '$1 == "wchar:" {print $2}' "$task/io")))
    done
    echo "$sum"
}

lab_up
[ -r /proc/self/io ] || { not_tried "all of it: this kernel does not count what a thread writes"; exit 0; }
lab_config fullnat all
director_start
for f in 4 6; do answers fullnat $f; done
bench_clean fullnat 4 1 -H 'Connection: close'
get fullnat 4 81 && fail "a closed port answered"
# a dest that goes away and comes back, a reload, an announcement
ip -n "$LAB_P-fn1" link set r0 down
BENCH_PATIENCE=0 bench fullnat 4 1
ip -n "$LAB_P-fn1" link set r0 up
pm reload >/dev/null && pm announce "$(vip fullnat 4)" >/dev/null || fail "reload or announce failed"
same "worker threads" 2 "$(cat "/proc/$DIRECTOR_PID"/task/*/comm | grep -c '^worker-[01]$')"
same "bytes worker 0 has written" 0 "$(written worker-0)"
same "bytes worker 1 has written" 0 "$(written worker-1)"
between "bytes the control thread has written" 200 1000000 "$(written pointsman)"
director_stop
