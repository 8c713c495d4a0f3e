#!/bin/bash
# A link of 1,400 bytes behind the director and no ICMP at all: what is larger is lost and nobody is told. Up and down
# pass because both ends' SYNs are clamped; without clamping they must not, or this case shows nothing.
# LAB_FULL=1: 100 MB each way, else 10 MB.
LAB_SERVERS="fn1 nat1"
LAB_CLIENT_BRIDGE=1
. "$(dirname "$0")/../lab.sh"

MB=10
[ -z "${LAB_FULL:-}" ] || MB=100

# From the director to the servers' bridge, whose port drops what is larger in silence. ICMP is dropped on all wires,
# but for v6 neighbours (RFC 4861: all of hop limit 255).
narrow_and_quiet() {
    ip -n "$LAB_P-sw" link set p-dir-d1 mtu 1400 && ip -n "$LAB_P-dir" link set d1 mtu 1400 &&
        in_ns sw nft -f - <<-END || fail "no such link"
	table bridge quiet {
	  chain forward {
	    type filter hook forward priority 0; policy accept;
	    ip protocol icmp counter drop
	    ip6 nexthdr ipv6-icmp ip6 hoplimit != 255 counter drop
	  }
	}
	END
}

silenced() { in_ns sw nft -j list chain bridge quiet forward | jq '[.. | .counter? | objects | .packets] | add'; }

moved() { # METHOD FAMILY SECONDS FILE CURL_OPTIONS... -> status and bytes both ways
    in_ns cl curl -s --noproxy '*' --max-time "$3" -o "$LAB_DIR/down" -w '%{http_code}' "${@:5}" "$(url "$1" "$2")/$4"
}

lab_up
narrow_and_quiet
LAB_LAN_MTU=1400
head -c ${MB}000000 /dev/urandom >"$LAB_DIR/load"
sum=$(sum_of <"$LAB_DIR/load")
lab_config "fullnat nat" all
capture sw p-dir-d0 "$LAB_DIR/client-side.pcap" icmp or icmp6
quiet_client=$CAPTURE_PID
capture sw p-dir-d1 "$LAB_DIR/server-side.pcap" icmp or icmp6
director_start
for m in fullnat nat; do
    s=$(servers_of $m)
    for f in 4 6; do
        same "$m v$f: status of $MB MB up" 201 "$(moved $m $f 30 "up/$f" -T "$LAB_DIR/load")"
        same "$m v$f: sum of it" "$sum" "$(sum_of <"$LAB_DIR/$s/up/$f")"
        same "$m v$f: status of $MB MB down" 200 "$(moved $m $f 30 "up/$f")"
        same "$m v$f: sum of it" "$sum" "$(sum_of <"$LAB_DIR/down")"
    done
done
spared=$(silenced)
capture_end
CAPTURE_PID=$quiet_client
capture_end
[ "$spared" = 0 ] || for side in client server; do frames "$LAB_DIR/$side-side.pcap" | tail -n 12; done
same "ICMP errors that the clamping did not spare" 0 "$spared"
director_stop

sed -i 's/^\(forward = .*\)$/\1\nmss = 8960/' "$LAB_DIR/pointsman.toml"
director_start
for f in 4 6; do
    got fullnat $f >/dev/null || fail "v$f: no small answer"
    moved fullnat $f 2 "up/large-$f" -T "$LAB_DIR/load" >/dev/null &&
        fail "v$f: it went up without clamping: this case shows nothing"
    ok "v$f: no upload without clamping"
    rm -f "$LAB_DIR/down"
    moved fullnat $f 1 "up/$f" >/dev/null && fail "v$f: it came down without clamping: this case shows nothing"
    [ ! -s "$LAB_DIR/down" ] || fail "v$f: something came down without clamping"
    ok "v$f: no download without clamping"
done
[ "$(silenced)" != 0 ] || fail "no ICMP error was dropped: this case shows nothing"
ok "$(silenced) ICMP errors dropped"
