#!/bin/bash
# scripts/compare: says what is wrong with its arguments; measures every cell in turns and says beside each ratio how many
# frames there were and whether its floor holds; says what this machine has no memory for; and, interrupted, leaves no
# process, file or hugepage behind. testpmd, the benches and the hugepages are made up, so that figures are known.
# May starve.
. "$(dirname "$0")/../lab.sh"

TRY=$(mktemp -d) || exit 1
COMPARE=
tidy() {
    [ -z "$COMPARE" ] || kill -TERM -- "-$COMPARE" 2>/dev/null
    pgrep -f "$TRY/(bin|tmp)" | xargs -r kill -KILL 2>/dev/null
    rm -rf "$TRY"
}
trap tidy EXIT
trap 'exit 143' INT TERM HUP
mkdir -p "$TRY"/{bin,tmp,huge,out}

made_up() { # NAME SHELL_TEXT
    printf '#!/bin/bash\n%s\n' "$2" >"$TRY/bin/$1" && chmod 755 "$TRY/bin/$1"
}

# every page there is, is free
pages() { echo "$1" >"$TRY/huge/nr_hugepages" && ln -sf nr_hugepages "$TRY/huge/free_hugepages"; }

compare() { HUGE_DIR=$TRY/huge TMPDIR=$TRY/tmp PATH=$TRY/bin:$PATH "$REPO/scripts/compare" --out "$TRY/out" "$@"; }

refused() { # WORDS ARGUMENTS...
    compare "${@:2}" >"$TRY/said" 2>&1 </dev/null && fail "it takes ${*:2}"
    same "lines of its error" 1 "$(wc -l <"$TRY/said")"
    grep -qF -- "$1" "$TRY/said" || fail "${*:2}: does not say \"$1\": $(cat "$TRY/said")"
    ok "$(cut -c -100 "$TRY/said")"
}

says() { grep -qE -- "$1" "$TRY/said" || fail "does not say /$1/: $(cat "$TRY/said")"; }

made_up cargo 'case $1 in
--version) echo "cargo 1.95.0 (0 2026-01-01)" ;;
*) for b in loop line pipeline conns table swap; do
    echo "{\"executable\": \"'"$TRY"'/bin/$b\", \"target\": {\"name\": \"$b\", \"kind\": [\"bench\"]}}"
done ;;
esac'
# half of what testpmd is said to do, and a capture on the other port for rewriting
made_up loop 'while [ $# -gt 0 ]; do case $1 in
--captures) dir=$2 ;; --method) method=$2 ;; --write) write=yes ;;
esac; shift; done
[ -n "${write:-}" ] || { echo "{\"mpps\": 10.500, \"turns\": [9000, 2.5, 7.25, 80], \"idle\": [9000, 2.5, 3.5, 70], \"parts\": [95.2, 30.5, 90.1]}"; exit; }
touch "$dir/wan.pcap"
rm -f "$dir/lan.pcap"
[ "$method" = dr ] || touch "$dir/lan.pcap"'
made_up dpdk-testpmd 'trap exit INT TERM
echo "$*" >>"'"$TRY"'/asked"
for device in "$@"; do [[ $device =~ role=server,socket=([^,]*) ]] && touch_socket "${BASH_REMATCH[1]}"; done
for second in 0 1000000 12000000 12000000 12000000 12000000 12000000 12000000; do for port in 0 1; do
    printf "  Rx-pps: %12s          Rx-bps: 0\n  Tx-pps: %12s          Tx-bps: 0\n" $second $second
done; done
while :; do sleep 0.1; done'
made_up touch_socket '/usr/bin/python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$1"'
# after twenty questions the cores are far from each other once, when the first run has ended
made_up line 'echo >>"'"$TRY"'/far"
[ "$(wc -l <"'"$TRY"'/far")" = 22 ] && echo 600 || echo 110'
made_up pipeline 'echo "method        conns      min   median      max  ns/packet"
while [ $# -gt 0 ]; do case $1 in --conns) conns=$2 ;; --methods) m=$2 ;; esac; shift; done
for n in ${conns//,/ }; do echo "$m $n 17.0 30.5 40.0"; done
echo "allocations: 0"'
made_up conns 'while [ $# -gt 0 ]; do case $1 in --methods) m=$2 ;; esac; shift; done
echo "method     standing  ns/conn: min   median      max  million/s  turn us: 99.9 %      max  (storm)"
echo "$m 1000000 240 250 260 4.00 20.0 30.0"
echo "idle spin, longest gap in each of 1000 ms: 99.9 % 40.5 us, max 50.5 us"
echo "allocations: 0"'
made_up table 'echo " 1000000              10.0       50.0    5.0           10.0     13.0   1.30   87, full-NAT 119"'
made_up swap 'echo "services     dests of each  us, median      max  others  gap"
echo "   10000                 1        50.5     80.5    90.5                20.5"
echo "allocations: 0"'

pages 2000
refused "unknown option --wrong" --wrong 1
refused "--rounds wants a value" --rounds
refused "--rounds 0: want a whole number" --rounds 0
refused "--seconds x: want a whole number" --seconds x
refused "--conns 1e6: want numbers" --conns 1e6
refused "--conns 1,,2: want numbers" --conns 1,,2
refused "--conns 5,5: a value stands there twice" --conns 5,5
refused "--sizes 63: want 64 to 1518, or imix" --sizes imix,63
refused "--sizes jumbo: want lengths" --sizes jumbo
refused "--kinds old: want established, new" --kinds old
refused "--methods dr,snat: want of dr,tunnel," --methods dr,snat
refused "--modes flowgen: want of io" --modes flowgen
refused "--parts dpdk: want of pcap," --parts dpdk
refused "--parts pcap,pcap: a value stands there twice" --parts pcap,pcap
same "files in its TMPDIR" "" "$(ls -A "$TRY/tmp")"
same "lines of --help of more than 80 columns" "" "$(compare --help | grep -E '.{81}')"

compare --parts pcap,memory --methods dr,rewriting --conns 1,100000,1000000,10000000 --sizes 64 \
    --kinds established,new --modes io,macswap --rounds 2 --seconds 2 >"$TRY/said" 2>&1 </dev/null ||
    fail "it fails: $(tail -n 5 "$TRY/said")"
# 3 numbers of conns, of which 2 are many enough to be new, methods, programs, rounds
says '^it takes about 13 min$'
same "runs by pcap" $((5 * 2 * 3 * 2)) "$(jq '.dpdk | length' "$TRY/out/compare.json")"
same "programs in turns" "testpmd io,testpmd macswap,pointsman,testpmd io,testpmd macswap,pointsman" \
    "$(jq -r '.dpdk[:6] | map(.program) | join(",")' "$TRY/out/compare.json")"
same "its figure" 24 "$(jq '.dpdk[0].mpps' "$TRY/out/compare.json")"
says '^### pcap: 100,000 conns, established, 64 B, beside testpmd macswap$'
says '^### pcap: one conn, established, 64 B, beside testpmd io$'
says '^### pcap: 1,000,000 conns, new, 64 B, beside testpmd macswap$'
says '^\| method +\| it, Mpps +\| ours, Mpps +\| ratio, frames \|'
says '^\| dr +\| 24.0 24.0-24.0 \| 10.5 10.5-10.5 \| 0.44, 100000 +\| 0.45 not held \|'
says '^\| rewriting +\| 24.0 24.0-24.0 \| 10.5 10.5-10.5 \| 0.44, 100000 +\| 0.40 held +\|'
says '^\| dr +\| 24.0 24.0-24.0 \| 10.5 10.5-10.5 \| 0.44, 1000000 +\|$'
says '^### pcap: 100,000 conns, new, 64 B, our turns in us$'
says '^\| method +\| median +\| 99.9 % +\| worst +\| idle, median +\| 99.9 % +\| worst +\|$'
says '^### pcap: 100,000 conns, new, 64 B, our ns a packet$'
says '^\| method +\| in all +\| in the pipeline +\| in all, waiting +\|$'
says '^\| rewriting +\| 95.2 95.2-95.2 \| 30.5 30.5-30.5 +\| 90.1 90.1-90.1 +\|$'
says '^\| rewriting +\| 2.50 +\| 7.25 +\| 80.0 +\| 2.50 +\| 3.50 +\| 70.0 +\|$'
same "ratios that have a floor" 2 "$(grep -cE '^\| (dr|rewriting) +\| 24.0 .* held +\|$' "$TRY/out/compare.md")"
# 23 ns where macswap takes 23: it took 41.7
says '^\| dr +\| 100,000 +\| 30.5 30.5-30.5 \| 41.7 held +\|'
says '^\| dr +\| 1,000,000 +\| 30.5 30.5-30.5 \| 56.2 held +\|'
says '^\| dr +\| 1,000,000 +\| 4.00 4.00-4.00 \| 3.5 held +\| 20.0 '
says '^\| idle spin .*\| 40.5 +\| 50.5 +\|$'
says '^\| 9/10 full to 1/10 .*\| 1.2 not held \|$'
says '^\| bytes, full-NAT +\| 119 +\| 128 held +\|$'
says '^\| 10,000 +\| 1 +\| 50.5 +\| 80.5 +\| 90.5 +\| 20.5 +\|$'
says '^Allocations in all that was timed: 0 \(floor 0 held\)'
says '^- pcap: 10000000 conns are only measured in memory'
says '^- pcap: 1 conns are too few to be always new'
same "lines of more than 80 columns" "" "$(grep -E '.{81}' "$TRY/said")"
for plot in compare compare-memory; do
    same "$plot.svg is a picture" svg "$(/usr/bin/python3 -c \
        'import sys, xml.dom.minidom as x; print(x.parse(sys.argv[1]).documentElement.tagName)' "$TRY/out/$plot.svg")"
done
# of dr's and rewriting's nanoseconds, and of dr's new conns; the legend has one more
same "floors in the plot" 3 "$(($(grep -c 'stroke-dasharray' "$TRY/out/compare-memory.svg") - 1))"
same "frames of the largest capture have room" 1048576 \
    "$(grep -oE 'total-num-mbufs=[0-9]+' "$TRY/asked" | cut -d = -f 2 | sort -n | tail -n 1)"
same "hugepages reserved, as before" 2000 "$(cat "$TRY/huge/nr_hugepages")"

: >"$TRY/asked"
compare --parts memif --methods rewriting --sizes imix --modes macswap --rounds 1 --seconds 1 >"$TRY/said" 2>&1 </dev/null ||
    fail "it fails: $(tail -n 5 "$TRY/said")"
compare --parts pcap --methods dr --modes macswap --rounds 1 --seconds 1 --add >"$TRY/said" 2>&1 </dev/null || fail "it fails: $(tail -n 5 "$TRY/said")"
compare --parts pcap --methods dr --modes macswap --rounds 1 --seconds 1 --add >"$TRY/said" 2>&1 </dev/null || fail "it fails: $(tail -n 5 "$TRY/said")"
same "cells with --add" "memif,memif,pcap,pcap" "$(jq -r '.dpdk | map(.via) | join(",")' "$TRY/out/compare.json")"
same "programs by memif" "testpmd macswap,pointsman,testpmd macswap,pointsman" "$(jq -r '.dpdk | map(.program) | join(",")' "$TRY/out/compare.json")"
same "the generator's frames" "net_pcap0 net_pcap1" \
    "$(grep -m 1 role=server "$TRY/asked" | grep -oE 'net_pcap[01]' | xargs)"
says '^### memif: 100,000 conns, established, IMIX, beside testpmd macswap$'
says '^\| rewriting \| 24.0 24.0-24.0 \| 10.5 10.5-10.5 \| 0.44, 100000 +\| 110-110 +\|$'
same "runs by memif, one of them for the second time as the cores were far" 3 "$(grep -c role=server "$TRY/asked")"

# hugepages that cannot be had
rm "$TRY/huge/free_hugepages"
echo 300 | tee "$TRY/huge/free_hugepages" >"$TRY/huge/nr_hugepages"
compare --parts pcap --methods dr --modes macswap --conns 100000,1000000 --rounds 1 --seconds 1 >"$TRY/said" 2>&1 </dev/null || fail "it fails: $(tail -n 5 "$TRY/said")"
says '^pcap: 1000000 conns need 2816 MB of hugepages'
same "conns that were measured" 100000 "$(jq '[.dpdk[].conns] | unique[]' "$TRY/out/compare.json")"
same "hugepages reserved, as before" 300 "$(cat "$TRY/huge/nr_hugepages")"
compare --parts pcap --methods dr --conns 1000000 >"$TRY/said" 2>&1 </dev/null && fail "it measures what has no room"
says '^compare: nothing could be measured \(see above\)$'

# interrupted, as ^C does it, while both of DPDK's processes run; who reads what is said ends by it, too
nobody_uses_it() { ! pgrep -f "$TRY/(bin|tmp)" >/dev/null; }
for part in pcap memif; do
    pages 7
    : >"$TRY/asked"
    set -m
    compare --parts $part --seconds 100 > >(exec cat >"$TRY/said") 2>&1 </dev/null &
    COMPARE=$!
    set +m
    wait_for 20 grep -q 'forward-mode=io' "$TRY/asked" || fail "it got to no testpmd: $(tail -n 3 "$TRY/said")"
    [ "$(cat "$TRY/huge/nr_hugepages")" -gt 7 ] || fail "it has reserved no hugepages"
    kill -INT -- "-$COMPARE"
    wait "$COMPARE"
    same "status when interrupted ($part)" 130 $?
    COMPARE=
    wait_for 3 nobody_uses_it
    same "processes left" "" "$(pgrep -f "$TRY/(bin|tmp)" -l | xargs)"
    same "files in its TMPDIR" "" "$(ls -A "$TRY/tmp")"
    same "hugepages reserved, as before" 7 "$(cat "$TRY/huge/nr_hugepages")"
done

# interrupted in its second round: the first one is kept
pages 2000
set -m
compare --parts pcap --methods dr --modes macswap --rounds 999 --seconds 1 >"$TRY/said" 2>&1 </dev/null &
COMPARE=$!
set +m
wait_for 20 grep -q '^ 2 ' "$TRY/said" || fail "it got to no second round: $(tail -n 3 "$TRY/said")"
kill -INT -- "-$COMPARE"
wait "$COMPARE"
COMPARE=
says '^it takes about [2-9] h '
says '^.*/out: what was measured so far'
same "runs of a round that was not whole" "" \
    "$(jq -r '.dpdk | group_by(.round)[] | select(length != 2) | .[0].round' "$TRY/out/compare.json")"
grep -q '^| dr .* | 0.44, 100000 ' "$TRY/out/compare.md" || fail "no table of what was measured: $(cat "$TRY/out/compare.md")"
