#!/bin/bash
# The load of tuple-reuse with a restart of the director in the middle: it forgets what the server saw last on each port,
# but neither its secret nor the time. Only the conns that were cut fail; the server takes every reuse for a new conn.
# LAB_FULL=1: 30 s before and 30 s after, and until 200,000 conns were made on each side.
# May starve.
. "$(dirname "$0")/../lib/crowd.sh"
. "$(dirname "$0")/../lab.sh"

if [ -n "${LAB_FULL:-}" ]; then LEAST=30 MOST=210 ENOUGH=200000; else LEAST=3 MOST=30 ENOUGH=10000; fi

lab_up
crowd_up
crowd_config true
sed -i 's/^conns = .*/conns = 1048576/' "$LAB_DIR/pointsman.toml"
director_start
got fullnat 4 >/dev/null || fail "no answer"
crowd_start
crowd_until $LEAST $ENOUGH $MOST
director_stop
before=$(server_conns) held=$(time_waits) start=$EPOCHREALTIME
director_start
ok "restarted after $before conns, $held of them in TIME_WAIT, in $(since "$start") s"
# a conn that was cut while its client waited for the answer is silent for ever, and wrk asks no more on it
sleep 1
shorts_end
shorts_start
crowd_until $LEAST $((before + ENOUGH)) $MOST
after=$(($(server_conns) - before))
crowd_end
between "conns before" $ENOUGH 100000000 "$before"
between "conns after, on ports that the server holds" $ENOUGH 100000000 "$after"
# four of each client, and the upload
between "failed requests of $REQUESTS: the conns that were cut" 0 60 "$ERRORS"
between "failed uploads of $(uploads)" 0 1 "$(uploads_failed)"
same "segments that the server doubted" 0 "$(doubts)"
director_stop
