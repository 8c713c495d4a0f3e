#!/bin/bash
# SCTP between usrsctp's own ends by the methods that change its packets, both families: what is said comes back, no
# checksum is wrong, the client knows one address of its server, and every association ends in order.
# LAB_FULL=1: each method by both families, else by one.
# May starve.
LAB_SERVERS="fn1 nat1"
. "$(dirname "$0")/../lab.sh"

USRSCTP=/usr/lib/usrsctp METHODS="fullnat nat"

services() {
    local m f
    for m in $METHODS; do for f in 4 6; do service $m $f sctp 7 7 "$(servers_of $m)"; done; done
}

families() { case ${LAB_FULL:-}$1 in fullnat) echo 4 ;; nat) echo 6 ;; *) echo 4 6 ;; esac; }

# talks METHOD FAMILY PORT: a line, and what usrsctp's client says besides
talks() {
    (sleep 0.6; echo "hello by $1"; sleep 0.4; head -c 900 /dev/zero | tr '\0' x; echo; sleep 0.4) |
        in_ns cl timeout 8 $USRSCTP/client "$(vip "$1" "$2")" 7 "$3" 0 0
}

packets() { # CAPTURE [FILTER]
    tshark -r "$1" -o "sctp.checksum:CRC 32c" -Y "${2:-sctp}" 2>/dev/null | wc -l
}

[ -x $USRSCTP/client ] || die "needs libusrsctp-examples"
lab_up
# its address on the servers' own link is one it would take to speak from, and be answered past the director
in_ns cl ip address flush dev c1
for s in $LAB_SERVERS; do start_in "$s" "$LAB_DIR/$s/sctp.log" $USRSCTP/echo_server 0 0; done
LAB_EXTRA=$(services)
lab_config "" all
director_start
start_in cl "$LAB_DIR/tcpdump.log" tcpdump -U -i any -w "$LAB_DIR/cl.pcap" sctp
start_in fn1 "$LAB_DIR/tcpdump.log" tcpdump -U -i any -w "$LAB_DIR/fn1.pcap" sctp
start_in nat1 "$LAB_DIR/tcpdump.log" tcpdump -U -i any -w "$LAB_DIR/nat1.pcap" sctp
wait_for 5 grep -q listening "$LAB_DIR/tcpdump.log"
port=5000
for m in $METHODS; do for f in $(families $m); do
    port=$((port + 1))
    said=$(talks $m $f $port)
    same "$m v$f: what came back" "hello by $m" "$(grep -a '^hello' <<<"$said")"
    same "$m v$f: characters of a long line" 900 "$(grep -ao '^x*' <<<"$said" | tr -d '\n' | wc -c)"
    same "$m v$f: the server's addresses, as the client knows them" "$(vip $m $f)." \
        "$(sed -n 's/^Peer addresses: //p' <<<"$said")"
    grep -qa 'SCTP_SHUTDOWN_COMP' <<<"$said" || fail "$m v$f: the association did not end in order"
done; done
sleep 0.5
for s in cl fn1 nat1; do
    seen=$(packets "$LAB_DIR/$s.pcap")
    between "$s: packets seen" 10 1000 "$seen"
    same "$s: packets with a right checksum" "$seen" "$(packets "$LAB_DIR/$s.pcap" 'sctp.checksum.status == "Good"')"
done
same "conns that are not in CLOSED" 0 "$(in_ns dir "$POINTSMAN" conns proto=sctp --json -s "$LAB_DIR/pointsman.sock" | grep sctp | grep -vc CLOSED)"
kernel_untouched
director_stop
