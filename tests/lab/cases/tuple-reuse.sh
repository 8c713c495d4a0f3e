#!/bin/bash
# Sixteen clients, 13 with timestamps by clocks of their own and three without any, through one local address to one
# dest: each local port is used again while the server holds its last conn in TIME_WAIT. It must take every reuse for a new conn.
# The same with the rewriting switched off must fail, or this case shows nothing. LAB_FULL=1: 60 s at least, and until
# 400,000 conns were made, however long this machine takes (REUSE_REQUESTS sets another number).
# May starve.
. "$(dirname "$0")/../lib/crowd.sh"
. "$(dirname "$0")/../lab.sh"

if [ -n "${LAB_FULL:-}" ]; then LEAST=60 MOST=420 ENOUGH=400000; else LEAST=5 MOST=85 ENOUGH=70000; fi
ENOUGH=${REUSE_REQUESTS:-$ENOUGH}

lab_up
crowd_up
crowd_config true
# ended conns stay listed for two minutes
sed -i 's/^conns = .*/conns = 1048576/' "$LAB_DIR/pointsman.toml"
director_start
got fullnat 4 >/dev/null || fail "no answer"
lost=$(losses)
crowd_start
crowd_until $LEAST "$ENOUGH" $MOST
silent=$(silent_seconds) held=$(time_waits)
crowd_end
lost=$(($(losses) - lost))
same "failed requests of $REQUESTS in $(since "$CROWD_SINCE") s" 0 "$ERRORS"
between "requests: each port used again" "$ENOUGH" 100000000 "$REQUESTS"
same "seconds in which no request ended" 0 "$silent"
between "conns in TIME_WAIT at the server" 50000 200000 "$held"
same "segments that the server doubted" 0 "$(doubts)"
same "failed uploads of $(uploads)" 0 "$(uploads_failed)"
same "sum of an upload" "$(sum_of <"$LAB_DIR/100m")" "$(sum_of <"$LAB_DIR/fn1/up/100m")"
between "SYNs sent twice, of $lost frames counted as lost" 0 "$lost" "$(syns_again)"
director_stop

crowd_config false
director_start
UPLOAD_SECONDS=5
crowd_start
crowd_until 5 0
crowd_end
[ "$ERRORS" != 0 ] || [ "$(doubts)" != 0 ] || fail "without rewriting nothing fails: this case shows nothing"
ok "without rewriting: $ERRORS failed requests of $REQUESTS, $(doubts)doubted segments"
