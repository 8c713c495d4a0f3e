#!/bin/bash
# PROXY protocol v1 and v2 to HAProxy (accept-proxy), which logs the real client and tells it to it, v4 and v6.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

lab_up
cat >"$LAB_DIR/haproxy.cfg" <<END
global
  log stdout format raw local0
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend told
  bind 10.2.0.11:81 accept-proxy
  bind 2001:db8:2::11:81 accept-proxy
  log global
  log-format "%ci %cp"
  http-request return status 200 content-type text/plain lf-string "%ci"
END
start_in fn1 "$LAB_DIR/told.log" haproxy -db -f "$LAB_DIR/haproxy.cfg"
wait_for 5 listens fn1 81 || fail "haproxy does not listen: $(tail -n 3 "$LAB_DIR/told.log")"
LAB_EXTRA=$(telling proxy-v1 81 81; telling proxy-v2 82 81)
lab_config fullnat all
director_start
for v in 1 2; do for f in 4 6; do
    read -r answer port <<<"$(ask $f 8$v)"
    same "v$v over IPv$f: the client's address in the answer" "$(client_address $f)" "$answer"
    same "v$v over IPv$f: the client HAProxy logged" "$(client_address $f) $port" "$(told_last)"
done; done
director_stop
