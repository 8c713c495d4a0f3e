# Sixteen clients behind one local address. Sourced by the cases tuple-reuse*.
#
# Thirteen have timestamps by clocks of their own, three have none. One uploads 100 MB a conn, the other 15 make short
# conns, four at a time each: 61 requests at once.

CROWD=$(seq 11 25)
UPLOADER=26
# nginx logs when each request ended
LAB_BENCH_LOG="seconds.log second buffer=32k flush=1s"
LAB_SERVERS="fn1"
LAB_CLIENT_BRIDGE=1
# uploads are not to wait for a disk, where there is memory
if [ "$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 1000000 ] 2>/dev/null; then export TMPDIR=/dev/shm; fi

crowd_up() {
    local n
    for n in $CROWD $UPLOADER; do
        make_ns "c$n" && plug "c$n" e0 br-c && ip -n "$LAB_P-c$n" addr add "10.1.0.$n/24" dev e0 &&
            ip -n "$LAB_P-c$n" link set lo up && no_offload "c$n" e0 || fail "no client $n"
        set_in "c$n" net.ipv4.ip_local_port_range="10000 65000"
    done
    for n in 11 12 13; do set_in "c$n" net.ipv4.tcp_timestamps=0; done
    set_in fn1 net.ipv4.tcp_max_tw_buckets=200000
    big_file
    head -c 100000000 "$LAB_FILES/1g" >"$LAB_DIR/100m"
}

# One local address, one dest, rewriting as asked for.
crowd_config() { # REWRITE
    lab_config fullnat 4
    sed -i "s/10.2.0.100-10.2.0.103/10.2.0.100/; s/^pool = \"lan\"/pool = \"lan\"\nrewrite = $1/" "$LAB_DIR/pointsman.toml"
}

# crowd_start: short conns and uploads (of at most UPLOAD_SECONDS), until crowd_end
crowd_start() {
    CROWD_SINCE=$EPOCHREALTIME REQUESTS=0 ERRORS=0
    rm -f "$LAB_DIR/stop" "$LAB_DIR/uploads"
    start_in "c$UPLOADER" "$LAB_DIR/uploads" bash -c 'while [ ! -e "$1" ]; do
            curl -sS --noproxy "*" --max-time "$4" -o /dev/null -w "status %{http_code}\n" -T "$2" "$3"
        done' uploads "$LAB_DIR/stop" "$LAB_DIR/100m" "http://$(vip fullnat 4)/up/100m" "${UPLOAD_SECONDS:-60}"
    UPLOADS_PID=$STARTED
    shorts_start
}

shorts_start() {
    local n
    SHORTS_PIDS=()
    for n in $CROWD; do
        : >"$LAB_DIR/wrk.$n"
        start_in "c$n" "$LAB_DIR/wrk.$n" wrk -t1 -c4 -d 900s --timeout 10s -H 'Connection: close' \
            "http://$(vip fullnat 4)/bench"
        SHORTS_PIDS+=("$STARTED")
    done
}

shorts_end() { # adds to REQUESTS, ERRORS
    local n pid
    for pid in "${SHORTS_PIDS[@]}"; do kill -INT "$pid"; done
    # one that was not yet connected then has ignored it: it counts as an error
    for pid in "${SHORTS_PIDS[@]}"; do
        wait_for 3 is_over "$pid" || { end_pid "$pid" && ERRORS=$((ERRORS + 1)); }
        wait "$pid" 2>/dev/null
    done
    for n in $CROWD; do
        bench_read "$LAB_DIR/wrk.$n"
        REQUESTS=$((REQUESTS + BENCH_REQUESTS)) ERRORS=$((ERRORS + BENCH_ERRORS))
    done
}

crowd_end() {
    touch "$LAB_DIR/stop"
    shorts_end
    wait "$UPLOADS_PID"
}

# crowd_until SECONDS CONNS [MOST]: waits for so many seconds at least and MOST at most, until the server had so many conns
crowd_until() {
    local turn
    sleep "$1"
    for turn in $(seq $((${3:-0} - $1))); do
        [ "$(server_conns)" -lt "$2" ] || return 0
        sleep 1
    done
}

server_conns() { in_ns fn1 nstat -asz TcpPassiveOpens | awk '/Passive/ {print $2}'; }

uploads() { grep -c '^status' "$LAB_DIR/uploads"; }
uploads_failed() { echo $(($(uploads) - $(grep -cE '^status 20[14]$' "$LAB_DIR/uploads"))); }

# What the server's kernel says when it takes a segment for one of an older conn: "0", or the counters' names.
doubts() {
    in_ns fn1 nstat -asz 2>/dev/null | awk '
        /^TcpExt(PAWSActive|PAWSEstab|PAWSTimewait|TSEcrRejected|TCPACKSkippedTimeWait|TCPTimeWaitOverflow) / {
            known++
            if ($2) said = said $1 "=" $2 " "
        }
        END {print known < 3 ? "nstat knows nothing" : said ? said : 0}'
}

time_waits() { in_ns fn1 ss -s | awk -F'timewait ' '/timewait/ {print $2 + 0; exit}'; }

# syns_again -> SYNs that clients sent more than once
syns_again() {
    local n
    for n in $CROWD $UPLOADER; do in_ns "c$n" nstat -asz TcpExtTCPSynRetrans; done |
        awk '/SynRetrans/ {n += $2} END {print n + 0}'
}

# links_took -> frames that came by the links of the director's ports
links_took() {
    ip -n "$LAB_P-dir" -s -json link show | jq '[.[] | select(.ifname | test("^d[01]$")) | .stats64.rx.packets] | add'
}

# losses -> frames that somebody says are lost: listeners, links, ports, the director. A port's ring may be full
# without the driver counting it (net_af_packet): what the link took and the port did not.
losses() {
    local name links ports before turn
    for name in fn1 dir sw $(printf 'c%s ' $CROWD $UPLOADER); do ip -n "$LAB_P-$name" -s -json link show; done |
        jq '.[].stats64 | .rx.dropped + .tx.dropped + .rx.errors + .tx.errors' >"$LAB_DIR/lost"
    in_ns fn1 nstat -asz TcpExtListenDrops | awk '/ListenDrops/ {print $2}' >>"$LAB_DIR/lost"
    # the two are not read at one instant: read again until no frame came in between
    for turn in $(seq 50); do
        before=$(links_took)
        sleep 0.1
        ports=$(status_json | tee "$LAB_DIR/status.json" | jq '[.ports[].rx_packets] | add')
        links=$(links_took)
        [ "$before" != "$links" ] || break
    done
    echo $((links > ports ? links - ports : 0)) >>"$LAB_DIR/lost"
    jq '(.ports[] | .missed + .rx_errors + .tx_errors + .no_frame), .law.dropped["tx-full", "handover-full", "no-frame"]' \
        "$LAB_DIR/status.json" >>"$LAB_DIR/lost"
    awk '{n += $1} END {print n + 0}' "$LAB_DIR/lost"
}

# silent_seconds -> seconds in which no request ended, from the crowd's start until now
silent_seconds() {
    awk -F. -v from="${CROWD_SINCE%.*}" -v until="${EPOCHREALTIME%.*}" '{ended[$1] = 1}
        END {for (s = from + 1; s < until - 2; s++) n += !(s in ended); print n + 0}' "$LAB_DIR/fn1/seconds.log"
}
