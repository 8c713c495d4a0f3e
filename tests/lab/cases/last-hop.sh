#!/bin/bash
# last_hop = true: replies leave by the router the client's packets come from, and follow it when the client's side
# fails over in the middle of a download. LAB_FULL=1: by both methods and families, else each by one.
LAB_SERVERS="fn1 nat1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/uplinks.sh"

# still UPLINK FAMILY -> packets it has carried, once those of conns that are ending have passed
still() {
    local before=-1 now
    now=$(carried "$@")
    until [ "$before" = "$now" ]; do sleep 0.4 && before=$now now=$(carried "$@"); done
    echo "$now"
}

has_begun() { [ "$(stat -c %s "$LAB_DIR/got")" -gt 200000 ]; }

families() { case ${LAB_FULL:-}$1 in fullnat) echo 6 ;; nat) echo 4 ;; *) echo 4 6 ;; esac; }

lab_up
uplinks_up || fail "no uplinks"
mkdir -p "$LAB_FILES"
head -c 3000000 /dev/urandom >"$LAB_FILES/3m-$LAB_P"
# what has arrived but was not read yet must be less than the file
set_in cl net.ipv4.tcp_rmem="4096 65536 131072"
# the routes know only the first
LAB_WAN='gateway = ["10.1.0.21", "2001:db8:1::21"]'
lab_config "fullnat nat" all
director_start
for m in fullnat nat; do for f in $(families $m); do
    client_by up2 $m $f
    before=$(carried up1 $f)
    got $m $f >/dev/null || fail "$m v$f: no answer"
    [ "$(carried up1 $f)" -gt "$before" ] || fail "$m v$f: without last_hop the route decides"
done; done
sed -i 's/^\(forward = .*\)$/\1\nlast_hop = true/' "$LAB_DIR/pointsman.toml"
pm reload >/dev/null || fail "last_hop needs no restart"
for m in fullnat nat; do for f in $(families $m); do
    one=$(still up1 $f) two=$(still up2 $f)
    : >"$LAB_DIR/got"
    in_ns cl curl -s --noproxy '*' --max-time 20 --limit-rate 2M "$(url $m $f)/files/3m-$LAB_P" >"$LAB_DIR/got" &
    pid=$!
    wait_for 5 has_begun || fail "$m v$f: the download does not begin"
    same "$m v$f: packets by the router of the routes" "$one" "$(carried up1 $f)"
    [ "$(carried up2 $f)" -gt "$two" ] || fail "$m v$f: nothing came by the router the client uses"
    client_by up1 $m $f
    wait $pid || fail "$m v$f: the download broke off"
    cmp "$LAB_FILES/3m-$LAB_P" "$LAB_DIR/got" || fail "$m v$f: the download was damaged"
    [ "$(carried up1 $f)" -gt $((one + 10)) ] || fail "$m v$f: replies did not follow the client to the other router"
    ok "$m v$f: replies leave where the client comes from, and follow it"
    client_by up2 $m $f
done; done
