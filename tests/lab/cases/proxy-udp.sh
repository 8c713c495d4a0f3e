#!/bin/bash
# PROXY protocol v2 in every datagram: dnsdist logs the real client, v4 and v6; large datagrams, in fragments where they
# may be, arrive whole.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

lab_up
cat >"$LAB_DIR/dnsdist.conf" <<END
setLocal("10.2.0.11:53")
addLocal("[2001:db8:2::11]:53")
setACL({"0.0.0.0/0", "::/0"})
setProxyProtocolACL({"10.2.0.0/24", "2001:db8:2::/64"})
addAction(AllRule(), LogAction("$LAB_DIR/told.log", false, true, false, false))
addAction(AllRule(), SpoofAction({"192.0.2.99"}))
END
start_in fn1 "$LAB_DIR/dnsdist.log" dnsdist --supervised --disable-syslog -C "$LAB_DIR/dnsdist.conf"
wait_for 5 listens fn1 53 || fail "dnsdist does not listen: $(tail -n 3 "$LAB_DIR/dnsdist.log")"
start_in fn1 "$LAB_DIR/echo.log" /usr/bin/python3 "$LAB_HOME/proxied.py" udp 54
LAB_EXTRA=$(telling proxy-v2 53 53 udp; telling proxy-v2 54 54 udp)
lab_config fullnat all
director_start
for f in 4 6; do
    : >"$LAB_DIR/told.log"
    for n in 1 2 3; do
        same "IPv$f: answer $n" 192.0.2.99 \
            "$(in_ns cl dig +short +tries=3 +time=1 "@$(vip fullnat $f)" -b "$(client_address $f)#4400$n" n$n.example A)"
    done
    wait_for 2 grep -q n3.example "$LAB_DIR/told.log"
    same "IPv$f: the clients dnsdist logged" \
        "$(for n in 1 2 3; do endpoint "$(client_address $f)" 4400$n; done | xargs)" \
        "$(grep -oE 'from [^ ]+' "$LAB_DIR/told.log" | cut -d ' ' -f 2 | sort -u | xargs)"
    # the answer: who the server was told the client is, and how much it got
    room=$((f == 4 ? 1472 - 32 : 1452 - 56))
    for size in 3 100 $room; do
        same "IPv$f: $size bytes" "$(client_address $f) $size" "$(client who "$(vip fullnat $f)" 54 $size nodf)"
    done
    # the first one of v6 teaches the client that its fragments are too long
    [ $f = 4 ] || client who "$(vip fullnat $f)" 54 1472 nodf >/dev/null
    # af_packet has the kernel put fragments together; what comes is larger than the way out and is cut again
    same "IPv$f: 1472 bytes without DF" "$(client_address $f) 1472" "$(client who "$(vip fullnat $f)" 54 1472 nodf)"
done
director_stop
