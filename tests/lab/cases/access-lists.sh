#!/bin/bash
# Access lists with real curl: the longest prefix decides; a reload with a list of 1,000,000 prefixes that denies the client
# ends its download at both ends, after which it hears nothing, or is refused where the service says denied = "reject";
# a list with a bad line changes nothing. LAB_FULL=1: every method by both families, else each by one.
# May starve.
LAB_SERVERS="fn1 nat1"
. "$(dirname "$0")/../lab.sh"

CLIENTS='"10.1.0.0/24", "2001:db8:1::/64"'
ONE='"10.1.0.1", "2001:db8:1::1"'

families() { case ${LAB_FULL:-}$1 in fullnat) echo 4 ;; nat) echo 6 ;; *) echo 4 6 ;; esac; }

lists() { # LINES of [director]
    LAB_DIRECTOR=$1
    lab_config "fullnat nat" all
}

loading() { # METHOD FAMILY: one whose download is under way
    start_in cl "$LAB_DIR/load.$1.$2" bash -c 'curl -s --noproxy "*" --limit-rate 20M -o /dev/null "$1"; echo "$?"' \
        - "$(url "$1" "$2")/files/1g"
}

ended() { grep -qE '^[0-9]+$' "$1"; }
denied() { status_json | jq "[.services[].denied.$1] | add"; }

lab_up
big_file
awk 'BEGIN {for (n = 0; n < 1000000; n++) printf "%d.%d.%d.%d\n", 11 + n % 89, n / 65536, n / 256 % 256, n % 256}' \
    >"$LAB_DIR/deny.txt"
lists "deny = [$CLIENTS]"
director_start
for m in fullnat nat; do for f in $(families $m); do silent $m $f; done; done
between "packets denied" 2 100 "$(denied packets)"
lists "deny = [$CLIENTS]
allow = [$ONE]"
ways=0
pm reload >/dev/null || fail "the reload was refused"
for m in fullnat nat; do for f in $(families $m); do
    got $m $f >/dev/null || fail "$m v$f: no answer, although the longest prefix allows it"
    loading $m $f
    ways=$((ways + 1))
done; done
sleep 1
printf '%s\n' 10.1.0.1 '# the client' 2001:db8:1::/64 >>"$LAB_DIR/deny.txt"
lists 'deny_file = "deny.txt"'
pm reload >/dev/null || fail "the reload with the file was refused"
for m in fullnat nat; do for f in $(families $m); do
    wait_for 3 ended "$LAB_DIR/load.$m.$f" || fail "$m v$f: the download goes on"
    # curl's "failure in receiving network data"
    same "$m v$f: how the download ended" 56 "$(cat "$LAB_DIR/load.$m.$f")"
    silent $m $f
done; done
for s in $LAB_SERVERS; do
    same "$s: conns left" 0 "$(in_ns "$s" ss -Htn state established state close-wait | grep -cE ':80 ')"
done
# the downloads, and the conns before them, which were in TIME_WAIT
same "conns that were ended" $((2 * ways)) "$(denied conns)"
sed -i 's/^protocol = .*/&\ndenied = "reject"/' "$LAB_DIR/pointsman.toml"
pm reload >/dev/null || fail "the reload with denied was refused"
for f in 4 6; do
    same "v$f TCP, rejected" ECONNREFUSED "$(client hops "$(vip fullnat $f)" 80 64)"
    same "v$f UDP, rejected" ECONNREFUSED "$(client who "$(vip fullnat $f)" 7 20)"
done
echo "10.1.0.300" >>"$LAB_DIR/deny.txt"
pm reload >"$LAB_DIR/refused" 2>&1 && fail "a list with a bad line was taken"
grep -qE 'deny.txt:[0-9]+:1: error: ' "$LAB_DIR/refused" || fail "the bad line is not named: $(cat "$LAB_DIR/refused")"
same "v4 TCP, still rejected" ECONNREFUSED "$(client hops "$(vip fullnat 4)" 80 64)"
director_stop
