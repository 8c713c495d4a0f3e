#!/bin/bash
# SIGKILL leaves no hugepage in the way: all are free again, a start takes them again, a stop gives them back.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

free_pages() { cat "$HUGE_DIR/free_hugepages"; }
are_free() { [ "$(free_pages)" -ge "$1" ]; }

lab_up
hugepages_reserve 256
if [ "$HUGEPAGES" = never ]; then
    not_tried "all of it: no hugepages are to be had on this machine"
    exit 0
fi
before=$(free_pages)
for driver in af_packet af_xdp; do
    HUGEPAGES=require
    lab_config fullnat 4 $driver
    for n in 1 2; do
        director_start
        answers fullnat 4
        between "$driver: free hugepages while it runs, of $before" 0 $((before - 128)) "$(free_pages)"
        kill -KILL "$DIRECTOR_PID"
        wait "$DIRECTOR_PID" 2>/dev/null
        wait_for 3 are_free "$before" || fail "$driver: SIGKILL left $((before - $(free_pages))) hugepages in use"
        same "$driver: files in hugetlbfs" "" "$(awk '$3 == "hugetlbfs" {print $2}' /proc/mounts |
            xargs -r -I{} find {} -type f -newer "$LAB_DIR/pointsman.toml" | xargs)"
    done
    director_start
    answers fullnat 4
    director_stop
    wait_for 3 are_free "$before" || fail "$driver: a stop left $((before - $(free_pages))) hugepages in use"
    ok "$driver: $before hugepages are free again"
done
