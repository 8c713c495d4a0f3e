#!/bin/bash
# Many clients, 16 with clocks of their own and three without timestamps, through one local address to one dest: each
# local port is used several times over while the server holds the last conns in TIME_WAIT. It must take every reuse for
# a new conn. The same with the rewriting switched off must fail, or this case shows nothing.
LAB_SERVERS="fn1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

# Rounds of so many seconds, until each port must have been used again.
ROUND=5 ROUNDS=12 ENOUGH=${REUSE_REQUESTS:-100000}
CLIENTS=$(seq 11 26)

clients_up() {
    local n
    for n in $CLIENTS; do
        make_ns "c$n" && plug "c$n" e0 br-c && ip -n "$LAB_P-c$n" addr add "10.1.0.$n/24" dev e0 &&
            ip -n "$LAB_P-c$n" link set lo up && no_offload "c$n" e0 || fail "no client $n"
        set_in "c$n" net.ipv4.ip_local_port_range="10000 65000"
    done
    for n in 11 12 13; do set_in "c$n" net.ipv4.tcp_timestamps=0; done
}

# What the server's kernel says when it takes a segment for one of an older conn.
doubts() {
    in_ns fn1 nstat -asz PAWSActive PAWSEstab PAWSTimewait TSEcrRejected TCPACKSkippedTimeWait \
        TcpExtPAWSActive TcpExtPAWSEstab TcpExtPAWSTimewait TcpExtTSEcrRejected TcpExtTCPACKSkippedTimeWait \
        TcpExtTCPTimeWaitOverflow 2>/dev/null | awk '/^TcpExt/ {n += $2} END {print n + 0}'
}

all_at_once() { # sets REQUESTS, ERRORS
    local n pids pid round
    REQUESTS=0 ERRORS=0
    for round in $(seq $ROUNDS); do
        pids=()
        for n in $CLIENTS; do
            : >"$LAB_DIR/wrk.$n"
            start_in "c$n" "$LAB_DIR/wrk.$n" wrk -t1 -c4 -d "${ROUND}s" --timeout 3s -H 'Connection: close' \
                "http://$(vip fullnat 4)/bench"
            pids+=("$STARTED")
        done
        for pid in "${pids[@]}"; do wait "$pid"; done
        for n in $CLIENTS; do
            bench_read "$LAB_DIR/wrk.$n"
            REQUESTS=$((REQUESTS + BENCH_REQUESTS)) ERRORS=$((ERRORS + BENCH_ERRORS))
        done
        [ "$REQUESTS" -lt "$ENOUGH" ] || return 0
    done
}

config_with() { # REWRITE
    lab_config fullnat 4
    sed -i "s/10.2.0.100-10.2.0.103/10.2.0.100/; s/^pool = \"lan\"/pool = \"lan\"\nrewrite = $1/" "$LAB_DIR/pointsman.toml"
}

lab_up
clients_up
set_in fn1 net.ipv4.tcp_max_tw_buckets=200000
config_with true
director_start
got fullnat 4 >/dev/null || fail "no answer"
before=$(doubts)
all_at_once
same "failed requests of $REQUESTS" 0 "$ERRORS"
between "requests: each port used again" "$ENOUGH" 100000000 "$REQUESTS"
between "conns in TIME_WAIT at the server" 50000 200000 "$(in_ns fn1 ss -s | awk -F'timewait ' '/timewait/ {print $2 + 0; exit}')"
same "segments that the server doubted" "$before" "$(doubts)"
director_stop

config_with false
director_start
before=$(doubts)
ROUNDS=2
all_at_once
[ "$ERRORS" != 0 ] || [ "$(doubts)" != "$before" ] || fail "without rewriting nothing fails: this case shows nothing"
ok "without rewriting: $ERRORS failed requests of $REQUESTS, $(($(doubts) - before)) doubted segments"
