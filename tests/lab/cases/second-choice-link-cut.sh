#!/bin/bash
# The link of one of three servers is cut under wrk, one conn per request: with retries = 1 every new conn that meets the
# silent server is with another one after one retransmission, no connect fails, and only requests on conns that were open
# then may.
# May starve.
LAB_SERVERS="fn1 fn2 fn3"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config fullnat 4
director_start
got fullnat 4 >/dev/null || fail "no answer"
# A conn of one who looks on: how long its handshake takes.
connect_time() { in_ns cl curl -s --noproxy '*' --max-time 5 -o /dev/null -w '%{time_connect}\n' "$(url fullnat 4)/"; }

BENCH_PATIENCE=1 bench_start fullnat 4 7 -H 'Connection: close'
sleep 1
ip -n "$LAB_P-sw" link set p-fn3-r0 down
times=
for n in 1 2 3 4 5 6; do times+="$(connect_time) " || fail "a conn failed: $times"; done
wait "$BENCH_PID" || fail "wrk failed: $(tail -n 1 "$LAB_DIR/wrk.out")"
bench_read "$LAB_DIR/wrk.out"
read -r connect read write timeout < <(awk '/Socket errors:/ {gsub(",", ""); print $4, $6, $8, $10; n = 1}
    END {if (!n) print 0, 0, 0, 0}' "$LAB_DIR/wrk.out")
same "connects that failed" 0 "$connect"
between "requests that failed: read, write and timeout, of 64 conns" 0 64 "$((read + write + timeout))"
between "requests" 1000 10000000 "$BENCH_REQUESTS"
over=$(status_json | jq '[.services[].dests[] | select(.address == "10.2.0.13:80").passed_over] | add')
between "SYNs that fn3 left unanswered and another dest got" 10 1000000 "$over"
# Of six conns in turn two met fn3; the client's second SYN comes after a second.
slowest=$(tr ' ' '\n' <<<"$times" | sort -n | tail -n 1)
between "milliseconds of the slowest handshake of $times" 900 1900 "$(awk -v t="$slowest" 'BEGIN {printf "%d", t * 1000}')"
