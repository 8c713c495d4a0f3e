#!/bin/bash
# A server that speaks first, and only after the PROXY header (as SMTP's do with proxy_protocol): it greets a client that
# says nothing, although the server's kernel drops the header's segment twice.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

lab_up
start_in fn1 "$LAB_DIR/told.log" /usr/bin/python3 "$LAB_HOME/proxied.py" smtp 81
wait_for 5 listens fn1 81 || fail "the server does not listen: $(tail -n 1 "$LAB_DIR/told.log")"
LAB_EXTRA=$(telling proxy-v1 81 81; telling proxy-v2 82 81)
lab_config fullnat all
director_start
# next hops are known then, and what follows takes the time the headers take
for f in 4 6; do got fullnat $f >/dev/null || fail "IPv$f: no answer"; done
for v in 1 2; do for f in 4 6; do
    # whatever carries data to port 81 is the header: the client says nothing before it is greeted
    in_ns fn1 nft -f - <<-END || fail "nft"
	table inet lose { }
	delete table inet lose
	table inet lose {
	  counter lost { }
	  chain in {
	    type filter hook input priority 0; policy accept;
	    tcp dport 81 tcp flags & psh == psh numgen inc mod 1000 < 2 counter name lost drop
	  }
	}
	END
    begun=$EPOCHREALTIME
    line=$(client greeting "$(vip fullnat $f)" 8$v) || fail "v$v over IPv$f: no greeting: $line"
    took=$(since "$begun")
    same "v$v over IPv$f: greeted as" "220 $(client_address $f) ESMTP" "$line"
    same "v$v over IPv$f: headers lost" 2 "$(in_ns fn1 nft -j list counters | jq '[.nftables[].counter? | select(. != null).packets] | add')"
    ok "after $took s"
done; done
director_stop
