#!/bin/bash
# One line in the log per transition, however often the director asks meanwhile: a dest that does not answer and is
# back again, one that changes its MAC, a link that goes down and comes up.
# May starve.
# Mostly waits.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

# once WHAT WORDS: waits for the line among those since $known, and a moment longer for a second one
once() {
    wait_for 15 said "$2" || fail "$1: no line in the log: $(tail -n 3 "$DIRECTOR_LOG")"
    sleep 0.5
    same "$1: lines in the log" 1 "$(lines "$2")"
}

lines() { tail -n "+$((known + 1))" "$DIRECTOR_LOG" | grep -cE -- "$1"; }

said() { [ "$(lines "$1")" -gt 0 ]; }

asked() { frames "$LAB_DIR/cap" | grep -c "who-has $1"; }

lab_up
lab_config fullnat all
ip -n "$LAB_P-fn1" link set r0 down
capture sw p-dir-d1 "$LAB_DIR/cap" arp
director_start
known=0
for f in 4 6; do
    address=$(server_address fn1 $f)
    dead[f]="$address does not answer" back[f]="$address is at $(mac_in fn1 r0)"
    once "v$f dest unreachable" "${dead[f]}"
done
before=$(asked 10.2.0.11)

in_ns fn2 sysctl -qw net.ipv4.conf.r0.arp_notify=1
ip -n "$LAB_P-fn2" link set r0 address 02:00:00:00:77:02
once "a dest's new MAC" "$(server_address fn2 4) moved from .* to 02:00:00:00:77:02"

# a port may have had no link yet when the director began
wait_for 5 director_logged "port wan: link up"
known=$(wc -l <"$DIRECTOR_LOG")
ip -n "$LAB_P-cl" link set c0 down
once "a link that goes down" "port wan: no link"
ip -n "$LAB_P-cl" link set c0 up
once "a link that is up again" "port wan: link up"

# one that is gone is asked for again every five seconds (as the capture shows), and is not spoken of again
wait_for 12 eval '[ "$(asked 10.2.0.11)" -gt "$before" ]' || fail "the director asks no more for what is gone"
sleep 0.3
known=0
for f in 4 6; do same "v$f: lines after further questions" 1 "$(lines "${dead[f]}")"; done
ip -n "$LAB_P-fn1" link set r0 up
ip -n "$LAB_P-fn1" addr replace "$(server_address fn1 6)/64" dev r0 nodad
for f in 4 6; do once "v$f dest reachable" "${back[f]}"; done
