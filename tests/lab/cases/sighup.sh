#!/bin/bash
# SIGHUP takes the changed file; established conns do not notice a change that keeps their dest.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

only_fn2() { [ "$(get fullnat 4; get fullnat 4; get fullnat 4)" = fn2$'\n'fn2$'\n'fn2 ]; }

lab_up
LAB_DESTS="fn1"
lab_config fullnat 4
director_start
got fullnat 4 >/dev/null || fail "no answer"
start_in cl "$LAB_DIR/hold.out" /usr/bin/python3 "$LAB_HOME/client.py" hold "$(vip fullnat 4)" 80 4 /
held=$STARTED
sleep 0.5
LAB_DESTS="fn1=0 fn2"
lab_config fullnat 4
kill -HUP "$DIRECTOR_PID"
wait_for 2 only_fn2 || fail "SIGHUP did not quiesce fn1"
ok "new conns go to fn2 only, fn1 is quiesced"
wait "$held" || fail "the conn to the quiesced fn1 broke: $(cat "$LAB_DIR/hold.out")"
between "answers on the old conn" 10 30 "$(cut -d ' ' -f 1 "$LAB_DIR/hold.out")"
