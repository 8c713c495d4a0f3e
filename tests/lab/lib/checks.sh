# What cases say and ask. Sourced by lab.sh.

ok() { printf '     ok: %s\n' "$*"; }

fail() {
    printf '   FAIL: %s\n' "$*" >&2
    exit 1
}

# not_tried WHAT: what this machine does not allow; tests/lab/run shows it
not_tried() { printf '     NOT TRIED: %s\n' "$*"; }

# Called by lab_down when the shell ends with an error: what one wants to read then.
case_failed() {
    [ -s "${DIRECTOR_LOG:-}" ] || return 0
    if [ -S "$LAB_DIR/pointsman.sock" ] && director_alive; then
        echo "--- status: dests with conns, the law"
        timeout 3 "$POINTSMAN" status --json -s "$LAB_DIR/pointsman.sock" 2>&1 | jq -c '(.services[] as $s | $s.dests[]
            | select(.conns > 0) | [$s.name, .address, .hop, .active, .inactive, .in_packets, .out_packets]),
            (.law | del(..|select(. == 0)))' | tail -n 15
    fi
    echo "--- the director's last words"
    tail -n 12 "$DIRECTOR_LOG"
}

# same WHAT WANTED GOT
same() {
    [ "$2" = "$3" ] || fail "$1: wanted \"$2\", got \"$3\""
    ok "$1: $3"
}

# between WHAT LOW HIGH GOT: integers
between() {
    [[ $4 =~ ^[0-9]+$ ]] && [ "$4" -ge "$2" ] && [ "$4" -le "$3" ] || fail "$1: wanted $2 to $3, got \"$4\""
    ok "$1: $4"
}

url() { # METHOD FAMILY [PORT]
    echo "http://$(endpoint "$(vip "$1" "$2")" "${3:-80}")"
}

# get METHOD FAMILY [PORT] -> the server's name, or nothing and status 1
get() {
    in_ns cl curl -s --noproxy '*' --connect-timeout 1 --max-time 2 "$(url "$@")/"
}

# got METHOD FAMILY [PORT]: the same with a second of patience (neighbours are being asked for)
got() { get "$@" || { sleep 0.2 && get "$@"; }; }

# answers METHOD FAMILY [PORT]: 4 requests, or as many as rr, exact per worker, needs to come to all; every server of the
# method answers some of them
answers() {
    local n names= all
    all=$((($(servers_of "$1" | wc -l) - 1) * ${LAB_WORKERS:-1} + 1))
    for n in $(seq $((all > 4 ? all : 4))); do
        names+="$(get "$@" || { sleep 0.3; get "$@"; } || fail "$1 v$2: no answer to request $n")"$'\n' || exit 1
    done
    same "$1 v$2${3:+ port $3}: servers that answered" "$(servers_of "$1" | xargs)" \
        "$(sort -u <<<"$names" | xargs)"
}

# sees METHOD FAMILY ADDRESS_PATTERN: the servers of the method saw such client addresses, and only such
sees() {
    local s seen
    for s in $(servers_of "$1"); do
        seen=$(seen_by "$s")
        [[ -n $seen && $seen =~ ^($3)( ($3))*$ ]] || fail "$1 v$2: $s saw its client as \"$seen\", wanted $3"
        ok "$1 v$2: $s saw its client as $seen"
    done
}

# Under full-NAT a server sees a pool address, by the other methods the client itself.
pattern_seen() { # METHOD FAMILY
    case $1$2 in
    fullnat4) echo '10\.2\.0\.10[0-3]' ;;
    fullnat6) echo '2001:db8:2::10[0-3]' ;;
    ?*4) echo '10\.1\.0\.1' ;;
    *) echo '2001:db8:1::1' ;;
    esac
}

# silent METHOD FAMILY: nobody answers there
silent() {
    local name
    name=$(get "$1" "$2") && fail "$1 v$2: $name answered, although nobody should"
    ok "$1 v$2: no answer"
}

# silent_both METHOD: the same by both families at once
silent_both() {
    local pid
    silent "$1" 4 &
    pid=$!
    silent "$1" 6
    wait $pid || exit 1
}

# through METHOD: a case's whole way: nothing before, every server by both families, nothing after
through() {
    local f
    lab_up
    lab_config "$1" all
    silent_both "$1"
    director_start
    for f in 4 6; do
        mark_logs
        answers "$1" "$f"
        sees "$1" "$f" "$(pattern_seen "$1" "$f")"
    done
    kernel_untouched
    director_stop
    silent_both "$1"
}

client() { in_ns cl /usr/bin/python3 "$LAB_HOME/client.py" "$@"; }

# wrk_for METHOD FAMILY SECONDS [WRK_OPTIONS...]: the command. It ends with the last answer (see wrk.lua), for which it
# waits BENCH_PATIENCE seconds (10): SYNs may be lost three times in a row on a busy machine.
wrk_for() {
    WRK=(wrk -t1 -c64 -d "$(($3 + ${BENCH_PATIENCE:-10}))s" --timeout 5s -s "$LAB_HOME/wrk.lua" "${@:4}" "$(url "$1" "$2")/bench" -- "$3" 64)
}

# bench METHOD FAMILY SECONDS [WRK_OPTIONS...]: wrk; sets BENCH_REQUESTS, BENCH_ERRORS (socket errors, non-2xx and
# what was never answered), BENCH_RATE (requests per second)
bench() {
    local out="$LAB_DIR/wrk.out"
    wrk_for "$@"
    in_ns cl "${WRK[@]}" >"$out" 2>&1 && grep -q '^Never answered:' "$out" ||
        { tail -n 3 "$out" >&2; BENCH_REQUESTS=0 BENCH_ERRORS=1 BENCH_RATE=0; return 1; }
    bench_read "$out"
}

bench_read() {
    BENCH_REQUESTS=$(awk '/requests in/ {print $1}' "$1")
    BENCH_RATE=$(awk '/^Requests\/sec:/ {printf "%d", $2}' "$1")
    BENCH_ERRORS=$(awk '/Socket errors:/ {gsub(",", ""); n += $4 + $6 + $8 + $10} /Non-2xx/ {n += $NF}
        /^Never answered:/ {n += $NF} END {print n + 0}' "$1")
    BENCH_REQUESTS=${BENCH_REQUESTS:-0} BENCH_RATE=${BENCH_RATE:-0}
}

# bench_clean METHOD FAMILY SECONDS [WRK_OPTIONS...]: and no request may fail
bench_clean() {
    bench "$@" || fail "$1 v$2: wrk failed"
    [ "$BENCH_ERRORS" = 0 ] || { grep -E 'Socket|Non-2xx|Never' "$LAB_DIR/wrk.out" >&2; fail "$1 v$2: $BENCH_ERRORS requests failed under wrk"; }
    [ "$BENCH_REQUESTS" -gt 0 ] || fail "$1 v$2: wrk got no answer"
    ok "$1 v$2: $BENCH_REQUESTS requests, $BENCH_RATE per second, none failed"
}

# In the background: bench_start ...; do things; bench_end
bench_start() { # METHOD FAMILY SECONDS [WRK_OPTIONS...]
    wrk_for "$@"
    : >"$LAB_DIR/wrk.out"
    start_in cl "$LAB_DIR/wrk.out" "${WRK[@]}"
    BENCH_PID=$STARTED
}

bench_end() { # [LEAST]: so many requests at least
    wait "$BENCH_PID" && grep -q '^Never answered:' "$LAB_DIR/wrk.out" || fail "wrk failed: $(tail -n 1 "$LAB_DIR/wrk.out")"
    bench_read "$LAB_DIR/wrk.out"
    [ "$BENCH_ERRORS" = 0 ] || fail "$BENCH_ERRORS of $BENCH_REQUESTS requests failed: $(grep -E 'Socket|Non-2xx|Never' "$LAB_DIR/wrk.out" | xargs)"
    [ "$BENCH_REQUESTS" -gt "${1:-1000}" ] || fail "only $BENCH_REQUESTS requests under wrk"
    ok "$BENCH_REQUESTS requests meanwhile, $BENCH_RATE per second, none failed"
}

# capture NAME IFACE FILE FILTER...: tcpdump in the background, ready when this returns; ended by capture_end
capture() {
    local name=$1 iface=$2 file=$3
    shift 3
    rm -f "$file" "$file.log"
    start_in "$name" "$file.log" tcpdump -Z root --immediate-mode -U -n -i "$iface" -w "$file" "$@"
    CAPTURE_PID=$STARTED
    wait_for 3 grep -q listening "$file.log" || fail "tcpdump did not start: $(tail -n 1 "$file.log")"
}

# capture_end: waits a moment for frames on their way, then ends it
capture_end() { sleep 0.3; kill -INT "$CAPTURE_PID" 2>/dev/null; wait "$CAPTURE_PID" 2>/dev/null; }

frames() { tcpdump -n -e -v -r "$1" "${@:2}" 2>/dev/null; }

# mac_in NAME IFACE
mac_in() { ip -n "$LAB_P-$1" -json link show "$2" | jq -r '.[0].address'; }

# kernel_untouched: the director's kernel takes no part
kernel_untouched() {
    local what
    what=$(ip -n "$LAB_P-dir" -br address show | grep -v '^lo ' | awk 'NF > 2')
    same "addresses on the director's kernel interfaces" "" "$what"
    same "ip_forward" 0 "$(in_ns dir sysctl -n net.ipv4.ip_forward)"
    same "nft ruleset" "" "$(in_ns dir nft list ruleset)"
    same "kernel conntrack entries" 0 "$(in_ns dir sysctl -n net.netfilter.nf_conntrack_count 2>/dev/null || echo 0)"
}
