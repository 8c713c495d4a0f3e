#!/bin/bash
# PROXY protocol v1 and v2 to stock nginx, which logs the real client, v4 and v6; a client that sends a header itself
# cannot spoof, unless it is an upstream proxy (proxy_in), whose header is taken over.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

lab_up
proxy_nginx
LAB_EXTRA=$(telling proxy-v1 81 81; telling proxy-v2 82 81
    telling proxy-v2 83 81 | sed 's|^client_address.*|&\nproxy_in = ["10.1.0.0/24", "2001:db8:1::/64"]|')
lab_config fullnat all
director_start
for v in 1 2; do for f in 4 6; do
    : >"$LAB_DIR/told.log"
    read -r answer port <<<"$(ask $f 8$v)"
    same "v$v over IPv$f: answer" told "$answer"
    same "v$v over IPv$f: the client nginx logged" "$(client_address $f) $port" "$(told_last)"
    # a header of the client's comes after ours: to nginx it is no request
    : >"$LAB_DIR/told.log"
    client raw "$(vip fullnat $f)" 8$v 'PROXY TCP4 9.9.9.9 9.9.9.8 99 98\r\nGET / HTTP/1.0\r\n\r\n' >/dev/null
    same "v$v over IPv$f: the client of a forged header, and what it got" "$(client_address $f) 400" "$(told_last 1,4)"
done; done
for f in 4 6; do
    : >"$LAB_DIR/told.log"
    client raw "$(vip fullnat $f)" 83 'PROXY TCP4 9.9.9.9 9.9.9.8 99 98\r\nGET / HTTP/1.0\r\n\r\n' >/dev/null
    same "IPv$f: the client that an upstream proxy named" "9.9.9.9 99" "$(told_last)"
done
same "header segments made" yes "$(status_json | jq -r 'if .law.made["proxy-header"] >= 8 then "yes" else .law.made end')"
director_stop
