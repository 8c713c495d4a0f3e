#!/bin/bash
# SIGKILL of one of three servers under wrk, one conn per request: with retries = 1 no connect fails, and only requests
# on conns that were open then may. With retries = 0 its conns fail, or this case shows nothing.
# May starve.
LAB_SERVERS="fn1 fn2 fn3"
. "$(dirname "$0")/../lab.sh"

config_with() { # RETRIES
    lab_config fullnat 4
    sed -i "s/^protocol = \"tcp\"$/&\nretries = $1/" "$LAB_DIR/pointsman.toml"
}

# Its master and its worker, which are in its namespace: ours.
kill_nginx() { # SERVER
    local pid
    for pid in $(ip netns pids "$LAB_P-$1"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != nginx ] || kill -KILL "$pid"
    done
}

# failures N: how many of N conns in turn fail
failures() {
    local n bad=0
    for n in $(seq "$1"); do
        in_ns cl curl -s --noproxy '*' --max-time 5 -o /dev/null "$(url fullnat 4)/" || bad=$((bad + 1))
    done
    echo $bad
}

lab_up
config_with 1
director_start
got fullnat 4 >/dev/null || fail "no answer"
BENCH_PATIENCE=1 bench_start fullnat 4 5 -H 'Connection: close'
sleep 1
kill_nginx fn3
wait "$BENCH_PID" || fail "wrk failed: $(tail -n 1 "$LAB_DIR/wrk.out")"
bench_read "$LAB_DIR/wrk.out"
# wrk may find out that a connect was refused when it reads or writes
read -r connect read write timeout < <(awk '/Socket errors:/ {gsub(",", ""); print $4, $6, $8, $10; n = 1}
    END {if (!n) print 0, 0, 0, 0}' "$LAB_DIR/wrk.out")
same "connects that failed" 0 "$connect"
between "requests that failed: read, write and timeout, of 64 conns" 0 64 "$((read + write + timeout))"
between "requests" 1000 10000000 "$BENCH_REQUESTS"
over=$(status_json | jq '[.services[].dests[] | select(.address == "10.2.0.13:80").passed_over] | add')
between "SYNs that fn3 refused and another dest got" 10 1000000 "$over"
same "and of the other dests" "$over" "$(status_json | jq '[.services[].dests[].passed_over] | add')"
same "conns of 6 that the dead server refuses with retries = 1" 0 "$(failures 6)"
# A reload, not a restart: where the server's kernel holds a port in TIME_WAIT it says so instead of refusing.
config_with 0
pm reload >/dev/null || fail "the reload was refused"
same "conns of 6 that the dead server refuses with retries = 0" 2 "$(failures 6)"
