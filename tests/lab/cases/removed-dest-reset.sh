#!/bin/bash
# A reload that removes the dests of services with on_dead = "reset": client and server see ECONNRESET at once, on conns
# that are silent and on downloads in full flight, by every method; a client that connects again gets a dest that is left.
# May starve.
LAB_SERVERS="fn1 nat1 dr1 tun1"
. "$(dirname "$0")/../lab.sh"

config_resets() { # [without dests]
    lab_config all all
    sed -i 's/^protocol = "tcp"$/&\non_dead = "reset"/' "$LAB_DIR/pointsman.toml"
    [ -z "${1:-}" ] || sed -i '/^\[\[service.dest\]\]$/,/^weight/d' "$LAB_DIR/pointsman.toml"
}

waiting() { # METHOD FAMILY: one who says nothing and waits for what comes
    start_in cl "$LAB_DIR/wait.$1.$2" /usr/bin/python3 "$LAB_HOME/client.py" wait "$(vip "$1" "$2")" 25 10
}

loading() { # METHOD FAMILY: one whose download is under way
    start_in cl "$LAB_DIR/load.$1.$2" bash -c 'curl -s --noproxy "*" --limit-rate 20M -o /dev/null "$1"; echo "$? $EPOCHREALTIME"' \
        - "$(url "$1" "$2")/files/1g"
}

greeted() { grep -q ESMTP "$LAB_DIR/wait.$1.$2"; }
# curl's exit code has two digits at most, a greeting's three
ended() { grep -qE '^(ECONN|data|EOF|timeout|[0-9]{1,2} )' "$1"; }
resets_logged() { [ "$(grep -c '^tcp ECONNRESET$' "$LAB_DIR/$1/small.log")" = "$2" ]; }

# It ended in this way, so soon after the reload.
ended_within() { # MILLISECONDS WHAT FILE WANTED
    local limit=$1
    shift
    local how when
    wait_for 5 ended "$2" || fail "$1: nothing has happened within 5 s"
    read -r how when < <(tail -n 1 "$2")
    same "$1" "$3" "$how"
    between "$1: milliseconds after the reload" 0 "$limit" "$(awk -v a="$when" -v b="$reload" 'BEGIN {printf "%d", (a - b) * 1000}')"
}

lab_up
big_file
config_resets
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do
    got $m $f >/dev/null || fail "$m v$f: no answer"
    waiting $m $f
    loading $m $f
done; done
for m in fullnat nat dr tunnel; do for f in 4 6; do
    wait_for 3 greeted $m $f || fail "$m v$f: no greeting"
done; done
sleep 1
config_resets without
reload=$EPOCHREALTIME
pm reload >/dev/null || fail "the reload was refused"
for m in fullnat nat dr tunnel; do for f in 4 6; do
    ended_within 1000 "$m v$f: the silent client" "$LAB_DIR/wait.$m.$f" ECONNRESET
    # curl's "failure in receiving network data", once it has read what the kernel has for it
    ended_within 3000 "$m v$f: the client that loads" "$LAB_DIR/load.$m.$f" 56
done; done
for s in $LAB_SERVERS; do
    wait_for 2 resets_logged "$s" 2 || fail "$s: its two silent conns were not reset: $(cat "$LAB_DIR/$s/small.log")"
    same "$s: conns left" 0 "$(in_ns "$s" ss -Htn state established state close-wait state fin-wait-1 | grep -cE ':(25|26|80) ')"
done
# and perhaps some of the conns before, of which the director saw one end's FIN
between "resets made for these 16 conns" 32 80 "$(status_json | jq '.law.made["conn-reset"]')"
config_resets
pm reload >/dev/null || fail "the reload with the dests was refused"
for m in fullnat nat dr tunnel; do got $m 4 >/dev/null || fail "$m: no answer by the dest that came back"; done
