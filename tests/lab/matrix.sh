#!/bin/bash
# One cell of the matrix methods x families x drivers x workers, with the loads of a day.
#   matrix.sh METHOD FAMILY DRIVER WORKERS      e.g. matrix.sh fullnat 4 af_packet 1
#   matrix.sh [--full] --list                   the cells: all 32, or a dozen in which every pair of values meets
# May starve.
set -uo pipefail

cells() {
    local w d f m
    for w in 1 2; do for d in af_packet af_xdp; do for f in 4 6; do for m in fullnat nat dr tunnel; do
        echo "$w $d $f $m"
    done; done; done; done
}

# Every method three times; any two of workers, driver and family meet with each other and with each method.
dozen() {
    cat <<-END
	1 af_packet 4 fullnat
	2 af_xdp 6 fullnat
	2 af_packet 6 fullnat
	1 af_xdp 6 nat
	2 af_packet 4 nat
	2 af_xdp 4 nat
	1 af_packet 6 dr
	2 af_xdp 4 dr
	1 af_xdp 6 dr
	1 af_xdp 4 tunnel
	2 af_packet 6 tunnel
	1 af_packet 4 tunnel
	END
}

case ${1:-} in
--list) dozen; exit ;;
--full) cells; exit ;;
esac

method=$1 family=$2 driver=$3
export LAB_WORKERS=$4
. "$(dirname "$0")/lab.sh"

# At least so many, one conn each; in full runs however long a busy machine takes
many_requests() {
    local total=0 turn rate=0 wanted=$((${LAB_FULL:-0} ? 100000 : 10000))
    for turn in $(seq $((${LAB_FULL:-0} * 60 + 20))); do
        bench_clean "$method" "$family" $((${LAB_FULL:-0} * 2 + 2)) -H 'Connection: close' || exit 1
        total=$((total + BENCH_REQUESTS))
        rate=$BENCH_RATE
        [ "$total" -lt "$wanted" ] || { ok "$total requests in $turn turns, $rate per second"; return; }
    done
    fail "only $total requests in $turn turns"
}

# 1 GB in full runs, else a tenth of it: its name and its sum
load_file() {
    big_file
    load=1g load_sum=$BIG_SUM
    [ -z "${LAB_FULL:-}" ] || return 0
    load=100m
    local file=$LAB_FILES/$load
    [ -e "$file.sum" ] || { head -c 100000000 "$LAB_FILES/1g" >"$file" && sum_of <"$file" >"$file.sum"; }
    read -r load_sum <"$file.sum"
}

load_down() {
    local sum start=$EPOCHREALTIME
    sum=$(in_ns cl curl -sS --noproxy '*' --max-time 60 "$(url "$method" "$family")/files/$load" | sum_of) ||
        fail "$load down: it has not all come"
    same "sum of $load down, $(since "$start") s" "$load_sum" "$sum"
}

load_up() {
    local status s found= start=$EPOCHREALTIME
    status=$(in_ns cl curl -sS --noproxy '*' --max-time 60 -o /dev/null -w '%{http_code}' -T "$LAB_FILES/$load" \
        "$(url "$method" "$family")/up/$load")
    same "status of the upload, $(since "$start") s" 201 "$status"
    for s in $(servers_of "$method"); do
        [ ! -e "$LAB_DIR/$s/up/$load" ] || found=$LAB_DIR/$s/up/$load
    done
    same "sum of $load up" "$load_sum" "$(sum_of <"$found")"
    rm -f "$found"
}

iperf() { # [iperf3's options]
    local rate lost turn
    # It greets by a single datagram, which a busy machine may lose as any other: no more than twice.
    for turn in 1 2 3; do
        # its exit status is 0 for some failures
        in_ns cl iperf3 --client "$(vip "$method" "$family")" --time $((${LAB_FULL:-0} + 1)) --json "$@" >"$LAB_DIR/iperf.json" 2>&1
        grep -q 'unable to read from stream socket' "$LAB_DIR/iperf.json" || break
    done
    rate=$(jq -r '.error // ((.end.sum_received // .end.sum).bits_per_second / 1e6 | floor)' "$LAB_DIR/iperf.json")
    [[ $rate =~ ^[1-9][0-9]*$ ]] || fail "iperf3 $*: ${rate:-no result}"
    # of datagrams a busy machine may lose some; TCP's have no such figure
    lost=$(jq -r '.end.sum.lost_percent // 0 | ceil' "$LAB_DIR/iperf.json")
    [ "$lost" -le 20 ] || fail "iperf3 $*: $lost in 100 were lost"
    ok "iperf3 $*: $rate Mbit/s"
}

lab_up
lab_config "$method" "$family" "$driver"
director_start
answers "$method" "$family"
sees "$method" "$family" "$(pattern_seen "$method" "$family")"
many_requests
bench_clean "$method" "$family" $((${LAB_FULL:-0} + 1))
load_file
load_down
load_up
client udp "$(vip "$method" "$family")" 7 2000 700 >/dev/null || fail "UDP echo"
ok "2000 datagrams of 700 bytes came back"
same "UDP: servers that answered" "$(servers_of "$method" | xargs)" \
    "$(client each "$(vip "$method" "$family")" 7 8 | sort -u | xargs)"
iperf
# the other way has been loaded by the download
[ -z "${LAB_FULL:-}" ] || iperf --reverse
iperf --udp --bitrate 50M --length 1200
kernel_untouched
director_stop
silent "$method" "$family"
