# What the cases v6-before-v4 and v4-before-v6 ask, which differ in their families only. Sourced by them.

# crossed_service PROTOCOL PORT DEST_PORT SERVER...: a full-NAT service of $CLIENTS's family before servers of $DESTS's
crossed_service() {
    local protocol=$1 port=$2 dport=$3 s
    shift 3
    printf '[[service]]\nname = "crossed %s %s"\naddress = "%s"\nprotocol = "%s"\nforward = "fullnat"\npool = "lan"\n' \
        "$protocol" "$port" "$(endpoint "$(vip fullnat "$CLIENTS")" "$port")" "$protocol"
    for s in "$@"; do
        printf '[[service.dest]]\naddress = "%s"\n' "$(endpoint "$(server_address "$s" "$DESTS")" "$dport")"
    done
    echo
}

crossed_config() { # DRIVER [a line more for the web service]
    LAB_DESTS='' LAB_EXTRA=$(
        crossed_service tcp 80 80 fn1 fn2 | sed "s/^forward = .*/&\n${2:-}/"
        crossed_service tcp 25 26 fn1
        crossed_service udp 7 7 fn1
        crossed_service udp 9 9 fn1
        crossed_service udp 5201 5201 fn1
        crossed_service tcp 5201 5201 fn1
    ) lab_config fullnat "$CLIENTS" "$1"
}

counter() { in_ns "$1" nstat -asz "$2" | awk -v name="$2" '$1 == name {print $2}'; }

# crossed_sums_right: no host has met a wrong checksum
crossed_sums_right() {
    local n name total=0
    for n in cl fn1 fn2; do
        for name in TcpInCsumErrors UdpInCsumErrors Udp6InCsumErrors IcmpInCsumErrors Icmp6InCsumErrors; do
            total=$((total + $(counter "$n" "$name")))
        done
    done
    same "wrong checksums met by the hosts" 0 "$total"
}

crossed() {
    local vip up size seen s
    vip=$(vip fullnat "$CLIENTS")
    lab_up
    LAB_LAN_MTU=1400
    for s in fn1 fn2; do ip -n "$LAB_P-$s" link set r0 mtu 1400; done
    head -c 3000000 /dev/urandom >"$LAB_DIR/upload"
    crossed_config af_packet
    director_start
    mark_logs
    answers fullnat "$CLIENTS"
    sees fullnat "$CLIENTS" "$(pattern_seen fullnat "$DESTS")"
    same "a server that speaks first" "220 fn1 ESMTP" "$(client greeting "$vip" 25)"
    for size in 0 1 3 1200 1300; do
        client udp "$vip" 7 2 $size >/dev/null || fail "a datagram of $size bytes did not come back"
    done
    ok "datagrams of 0 to 1300 bytes came back"
    same "UDP to a port the server has closed" ECONNREFUSED "$(client who "$vip" 9 20)"
    same "a hop limit of 1" EHOSTUNREACH "$(client hops "$vip" 80 1)"
    up=$(in_ns cl curl -sS --max-time 8 -o /dev/null -w '%{http_code}' -T "$LAB_DIR/upload" "$(url fullnat "$CLIENTS")/up/clamped")
    same "status of an upload, clamped" 201 "$up"
    same "MTU the client had to learn" "" "$(ip -n "$LAB_P-cl" route get "$vip" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)"
    director_stop
    # Without the clamp the client must be told the MTU, in its family. By af_xdp, for the kernel puts v4 fragments
    # together before af_packet sees them.
    crossed_config af_xdp 'mss = 8960'
    director_start
    for size in 1300 4000 9000; do
        client udp "$vip" 7 2 $size nodf >/dev/null || fail "a datagram of $size bytes in fragments did not come back"
    done
    ok "datagrams in fragments came back"
    # servers that promise more than the link carries
    for s in fn1 fn2; do ip -n "$LAB_P-$s" link set r0 mtu 1500; done
    up=$(in_ns cl curl -sS --max-time 8 -o /dev/null -w '%{http_code}' -T "$LAB_DIR/upload" "$(url fullnat "$CLIENTS")/up/told")
    same "status of an upload, not clamped" 201 "$up"
    seen=$(ip -n "$LAB_P-cl" route get "$vip" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)
    same "MTU the client has learnt" "$MTU_TOLD" "$seen"
    cmp "$LAB_DIR/upload" "$LAB_DIR/fn1/up/told" 2>/dev/null || cmp "$LAB_DIR/upload" "$LAB_DIR/fn2/up/told" || fail "the upload was damaged"
    crossed_sums_right
    director_stop
}
