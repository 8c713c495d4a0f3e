#!/bin/bash
# A frame that is too big for the tunnel and may not be fragmented is answered with the MTU that fits: the client
# learns 1480 (1460 for 6in6) and uploads all the same.
LAB_SERVERS="tun1"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config tunnel all
director_start
head -c 3000000 /dev/urandom >"$LAB_DIR/upload"
for f in 4 6; do
    same "v$f: status of an upload" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -T "$LAB_DIR/upload" "$(url tunnel $f)/up/v$f")"
    cmp "$LAB_DIR/upload" "$LAB_DIR/tun1/up/v$f" || fail "v$f: the upload was damaged"
    same "v$f: MTU the client has learnt" "$((f == 4 ? 1480 : 1460))" \
        "$(ip -n "$LAB_P-cl" route get "$(vip tunnel $f)" | grep -o 'mtu [0-9]*' | cut -d ' ' -f 2)"
done

# What a router says of the tunnel's way holds for the dest, though it quotes 8 bytes of what is in the tunnel.
in_ns tun1 /usr/bin/python3 - <<'END' || fail "the error could not be sent"
import socket, struct
ends = map(socket.inet_aton, ("10.2.0.254", "10.2.0.41"))
outer = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 0, 0x4000, 63, 4, 0, *ends)
error = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + outer + b"\x45" + bytes(7)
total = sum(struct.unpack(f"!{len(error) // 2}H", error))
total = (total & 0xffff) + (total >> 16)
error = error[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + error[4:]
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).sendto(error, ("10.2.0.254", 0))
END
tunnel_mtu() { status_json | jq '[.services[].dests[] | select(.address == "10.2.0.41:80").tunnel.mtu] | first'; }
wait_for 4 eval '[ "$(tunnel_mtu)" != 1480 ]'
same "the tunnel's MTU of a way of 1,400 bytes" 1380 "$(tunnel_mtu)"
