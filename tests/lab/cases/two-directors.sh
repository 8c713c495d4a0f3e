#!/bin/bash
# An interface is one director's: a second one on it is refused with a clear message and does not disturb the first,
# by either driver; in another network namespace the same name is another interface.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

second() { # NAMESPACE CONFIG
    timeout 10 ip netns exec "$LAB_P-$1" $(on_all_cores) "$POINTSMAN" run -c "$2" >"$LAB_DIR/second.log" 2>&1
}

lab_up
make_ns else off && leg "else" d0 "else" d1 || fail "no second namespace"
for driver in af_packet af_xdp; do
    lab_config fullnat 4 $driver
    director_start
    answers fullnat 4
    sed "s|^socket = .*|socket = \"$LAB_DIR/second.sock\"|" "$LAB_DIR/pointsman.toml" >"$LAB_DIR/second.toml"
    second dir "$LAB_DIR/second.toml"
    rc=$?
    [ $rc != 0 ] && [ $rc != 124 ] || fail "$driver: the second director was not refused (status $rc)"
    grep -q 'port "wan": another director has interface d0: stop it first' "$LAB_DIR/second.log" ||
        fail "$driver: does not say that d0 is taken: $(tail -n 2 "$LAB_DIR/second.log")"
    ok "$driver: $(tail -n 1 "$LAB_DIR/second.log")"
    answers fullnat 4
    start_in "else" "$LAB_DIR/else.log" $(on_all_cores) "$POINTSMAN" run -c "$LAB_DIR/second.toml"
    wait_for 5 grep -qw ready "$LAB_DIR/else.log" || fail "$driver: no director elsewhere: $(tail -n 2 "$LAB_DIR/else.log")"
    end_pid "$STARTED" || fail "$driver: the director elsewhere had to be killed"
    : >"$LAB_DIR/else.log"
    director_stop
done
