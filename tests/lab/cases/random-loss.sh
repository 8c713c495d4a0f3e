#!/bin/bash
# One frame in a hundred is lost on each wire, both ways. What was sent arrives all the same, no frame has a bad checksum,
# and neither end doubts a SACK block or a sequence number. LAB_FULL=1: 1 GB, else 50 MB, over four conns.
# May starve.
LAB_SERVERS="fn1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

# Captures hold whole frames, as sums cover them: of 50 MB every fourth, of 1 GB every 64th, by the low bits of its TCP
# checksum.
MB=50 BITS=3
if [ -n "${LAB_FULL:-}" ]; then MB=1000 BITS=63; fi
SOME="tcp[17] & $BITS = 2 or ip6[57] & $BITS = 2"
WIRES="p-cl-c0 p-dir-d0 p-dir-d1 p-fn1-r0"

lose() {
    local wire
    {
        echo 'table bridge loss { chain forward { type filter hook forward priority 0; policy accept;'
        for wire in $WIRES; do
            echo "iifname $wire counter"
            echo "iifname $wire numgen random mod 100 < 1 counter drop"
        done
        printf '}\n}\n'
    } | in_ns sw nft -f - || fail "no lossy wire"
}

# lost -> for each wire, frames that came and frames of them that were lost
lost() {
    in_ns sw nft -j list chain bridge loss forward | jq -r '[.nftables[].rule.expr // empty
        | .[] | .counter.packets // empty] | [range(0; length; 2) as $i | "\(.[$i]) \(.[$i + 1])"] | .[]'
}

# what an end's kernel says of numbers that are not right
# A SYN-ACK that is sent again, since the handshake's last ACK was lost, is answered by a challenge ACK: the wire's doing.
# Of several soon after each other some are not answered, and so not counted as answers.
doubts() { # NAME
    in_ns "$1" nstat -asz TcpInCsumErrors TcpExtTCPSACKDiscard TcpExtTCPChallengeACK TcpExtTCPSYNChallenge \
        TcpExtPAWSEstab TcpExtTSEcrRejected |
        awk '/^Tcp/ {n++; v[$1] = $2}
            END {
                v["TcpExtTCPChallengeACK"] -= v["TcpExtTCPSYNChallenge"]; delete v["TcpExtTCPSYNChallenge"]
                for (k in v) if (v[k] > 0) said = said k "=" v[k] " "
                print n < 4 ? "nstat knows nothing" : said ? said : 0
            }'
}

# sums FILE -> "GOOD BAD": frames by what tshark says of their checksums
sums() {
    tshark -n -r "$1" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o tcp.desegment_tcp_streams:FALSE \
        --disable-heuristic http_tcp -T fields -e ip.checksum.status -e tcp.checksum.status 2>/dev/null |
        awk -F '\t' '{if ($1 ~ /0/ || $2 ~ /0/) bad++; else if ($2 == 1) good++} END {print good + 0, bad + 0}'
}

# in quarters, at once: a conn alone waits for its timers most of the time
four_times() { # COMMAND... with "N" for the number
    local n pids=() pid
    for n in 1 2 3 4; do
        in_ns cl curl -sS --noproxy '*' --max-time 100 "${@//QUARTER/$n}" >>"$LAB_DIR/said" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "curl: $(tail -n 1 "$LAB_DIR/said")"; done
}

quarters_whole() { # WHAT PATH
    local n
    for n in 1 2 3 4; do
        [ "$sum" = "$(sum_of <"$2/$n")" ] || fail "$1: quarter $n is damaged"
    done
    ok "$1: all $MB MB, in $(since "$start") s"
}

lab_up
big_file
head -c $((MB * 250000)) "$LAB_FILES/1g" >"$LAB_DIR/quarter"
sum=$(sum_of <"$LAB_DIR/quarter")
mkdir "$LAB_DIR/down"
lab_config fullnat all
director_start
for f in 4 6; do got fullnat $f >/dev/null || fail "v$f: no answer"; done
capture cl c0 "$LAB_DIR/cl.pcap" "$SOME"
capturing=$CAPTURE_PID
capture fn1 r0 "$LAB_DIR/fn1.pcap" "$SOME"
lose
for f in 4 6; do
    start=$EPOCHREALTIME
    four_times -o /dev/null -T "$LAB_DIR/quarter" "$(url fullnat $f)/up/QUARTER"
    quarters_whole "v$f up" "$LAB_DIR/fn1/up"
    start=$EPOCHREALTIME
    four_times -o "$LAB_DIR/down/QUARTER" "$(url fullnat $f)/up/QUARTER"
    quarters_whole "v$f down" "$LAB_DIR/down"
done
capture_end
CAPTURE_PID=$capturing
capture_end
while read -r came gone; do
    between "frames lost of $came on a wire" $((came / 150)) $((came / 70)) "$gone"
done < <(lost)
for s in cl fn1; do
    same "$s: doubts" 0 "$(doubts $s)"
    read -r good bad < <(sums "$LAB_DIR/$s.pcap")
    same "$s: frames with a bad checksum" 0 "$bad"
    between "$s: frames with good ones" 5000 100000000 "$good"
done
