#!/bin/bash
# A pool address that a reload takes out serves the conns it has to their end: a slow download goes on, its server is
# answered when it asks for the address, and when the download is over the address is nobody's.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

pool() { # ADDRESSES
    sed -i "s/^addresses = \[\"10\.2\.0\.10[0-9].*/addresses = [$1]/" "$LAB_DIR/pointsman.toml"
}

asks() { # -> the MAC that answers the server for 10.2.0.100
    ip -n "$LAB_P-fn1" neigh flush all
    in_ns fn1 ping -c 1 -W 1 -q 10.2.0.100 >/dev/null
    ip -n "$LAB_P-fn1" neigh show 10.2.0.100 | sed -n 's/.*lladdr \([^ ]*\).*/\1/p'
}

lab_up
dd if=/dev/urandom of="$LAB_DIR/body" bs=1M count=3 2>/dev/null
mkdir -p "$LAB_FILES" && cp "$LAB_DIR/body" "$LAB_FILES/removed"
LAB_EXTRA=$'[timeouts]\ntcp_time_wait = 1\ntcp_close = 1'
# what has arrived but was not read yet must be less than the file
set_in cl net.ipv4.tcp_rmem="4096 65536 131072"
lab_config fullnat 4
pool '"10.2.0.100"'
director_start
got fullnat 4 >/dev/null || fail "no answer"
start_in cl "$LAB_DIR/curl.log" curl -sf --max-time 30 --limit-rate 700K -o "$LAB_DIR/got" "$(url fullnat 4)/files/removed"
download=$STARTED
sleep 1
pool '"10.2.0.101"'
pm reload >/dev/null || fail "the reload was refused"
kept() { [ "$(asks)" = "$(mac_in dir d1)" ]; }
wait_for 3 kept || fail "nobody has the address taken out: $(ip -n "$LAB_P-fn1" neigh show | xargs)"
ok "the director has the address taken out"
between "its ports in use" 1 2 "$(status_json | jq '.locals[] | select(.address == "10.2.0.100").used')"
same "pools it is in" 0 "$(status_json | jq '.locals[] | select(.address == "10.2.0.100").pools | length')"
get fullnat 4 >/dev/null || fail "no answer by the new address"
wait "$download" || fail "the download was cut"
cmp "$LAB_DIR/body" "$LAB_DIR/got" || fail "the download is not what the server has"
ok "the download went on to its end"
gone() { [ -z "$(status_json | jq '.locals[] | select(.address == "10.2.0.100").used')" ]; }
wait_for 15 gone || fail "the address is kept although no conn uses it: $(status_json | jq -c .locals)"
same "who has it now" "" "$(asks)"
