#!/bin/bash
# The control socket is for owner and group only; a second director with the same socket is refused and harms nothing.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config fullnat 4
director_start
mode=$(stat -c %a "$LAB_DIR/pointsman.sock")
[[ $mode =~ ^[67][0-7]0$ ]] || fail "the socket's mode is $mode"
ok "the socket's mode is $mode"
setpriv --reuid 65534 --regid 65534 --clear-groups "$POINTSMAN" status -s "$LAB_DIR/pointsman.sock" >"$LAB_DIR/said" 2>&1 &&
    fail "another user may ask for the status"
ok "another user is told: $(head -n 1 "$LAB_DIR/said")"
timeout 5 ip netns exec "$LAB_P-dir" $(on_all_cores) "$POINTSMAN" run -c "$LAB_DIR/pointsman.toml" >"$LAB_DIR/second" 2>&1
rc=$?
[ $rc != 0 ] && [ $rc != 124 ] || fail "a second director with the same socket was not refused (status $rc)"
ok "a second director is told: $(tail -n 1 "$LAB_DIR/second")"
answers fullnat 4
status | grep -q . || fail "the first one's socket is gone"
