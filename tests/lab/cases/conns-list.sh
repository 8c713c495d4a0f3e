#!/bin/bash
# `pointsman conns`: what nginx logs of its client, laddr:lport, leads to the client; while wrk
# runs each conn is listed once.
# May starve.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

# By its path: requests before it may be logged after it, as nginx logs what it has answered.
logged_at() { # PATH -> the server that has logged a request for it
    local s
    for s in $LAB_SERVERS; do ! grep -q " $1 " "$LAB_DIR/$s/access.log" || { echo "$s"; return; }; done
    return 1
}

lab_up
lab_config fullnat all
director_start
got fullnat 4 >/dev/null || fail "no answer"
got fullnat 6 >/dev/null || fail "no answer by v6"
ports=
for f in 4 6; do
    start_in cl "$LAB_DIR/hold.log" /usr/bin/python3 "$LAB_HOME/client.py" hold "$(vip fullnat $f)" 80 60 /held-$f
    wait_for 3 logged_at /held-$f >/dev/null || fail "v$f: no server has logged the request"
    server=$(logged_at /held-$f)
    seen=$(grep " /held-$f " "$LAB_DIR/$server/access.log" | tail -n 1 | awk '{print $1, $2}')
    read -r laddr lport <<<"$seen"
    pm conns --json "laddr=$(endpoint "$laddr" "$lport")" "dest=$(endpoint "$(server_address "$server" $f)" 80)" >"$LAB_DIR/one"
    same "v$f: conns of $server's log line" 1 "$(wc -l <"$LAB_DIR/one")"
    client=$(in_ns cl ss -Htn state established "dst $(endpoint "$(vip fullnat $f)" 80)" | awk '{print $3}')
    same "v$f: $seen is the client's" "$client" "$(jq -r .client "$LAB_DIR/one")"
    same "v$f: and the rest of it" "$(endpoint "$(vip fullnat $f)" 80) ESTABLISHED fullnat" \
        "$(jq -r '"\(.virtual) \(.state) \(.forward)"' "$LAB_DIR/one")"
    pm conns "lport=$lport" state=established >"$LAB_DIR/text" || fail "conns for people failed"
    grep -qF -- "$client" "$LAB_DIR/text" || fail "v$f: the client is not in: $(cat "$LAB_DIR/text")"
    between "v$f: widest line" 60 80 "$(wc -L <"$LAB_DIR/text")"
    ports+=" $lport"
done
# RFC 6056; both by chance among the lowest: once in a million
[[ ! $ports =~ ^(\ 10[0-9][0-9])+$ ]] || fail "local ports go out from the lowest on:$ports"
ok "local ports:$ports"
pm conns cadr=10.1.0.1 2>"$LAB_DIR/said" && fail "a mistyped filter is taken"
grep -q 'no such key; there are: caddr' "$LAB_DIR/said" || fail "a mistyped filter: $(cat "$LAB_DIR/said")"
ok "a mistyped filter: $(cut -c -70 "$LAB_DIR/said")"

# One conn per request: many in TIME_WAIT, more every moment; the ones held are there once in each list. A client's port
# may be used again while a list is made: by a conn of another local port.
bench_start fullnat 4 5 -H 'Connection: close'
sleep 2
for n in 1 2 3; do
    pm conns --json --limit 0 >"$LAB_DIR/all" || fail "the list failed under wrk"
    held=$(jq -r 'select(.state == "ESTABLISHED") | .client' "$LAB_DIR/all" | grep -cxF "$client")
    same "list $n: the held v6 conn" 1 "$held"
    same "list $n: conns listed twice" "" "$(jq -r '"\(.protocol) \(.client) \(.virtual) \(.local)"' "$LAB_DIR/all" | sort | uniq -d | head -n 3)"
    between "list $n: conns" 100 1000000 "$(wc -l <"$LAB_DIR/all")"
done
pm conns --limit 3 2>"$LAB_DIR/more" >/dev/null || fail "conns --limit failed"
grep -q '^and [0-9]* more' "$LAB_DIR/more" || fail "a limited list does not say how many more: $(cat "$LAB_DIR/more")"
ok "a limited list: $(cut -c -60 "$LAB_DIR/more")"
pm conns --limit 0 2>"$LAB_DIR/more" | head -n 1 >/dev/null
same "what a reader that leaves early hears" 0 "${PIPESTATUS[0]}$(cat "$LAB_DIR/more")"
bench_end
