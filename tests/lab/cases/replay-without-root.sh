#!/bin/bash
# `pointsman replay` needs no root, hugepages or NIC: one config, one capture in, one capture out, the law printed.
# The capture is what a real client sent to a real director; replayed, its SYNs go to the dests again.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config fullnat 4
capture cl c0 "$LAB_DIR/in.pcap" -Q out
director_start
for n in 1 2 3 4; do get fullnat 4 >/dev/null || fail "no answer to request $n"; done
capture_end
director_stop
install -m 755 "$POINTSMAN" "$LAB_DIR/pointsman"
chmod 644 "$LAB_DIR/pointsman.toml" "$LAB_DIR/in.pcap"
mkdir -m 777 "$LAB_DIR/nobody"
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$LAB_DIR/pointsman" replay --config "$LAB_DIR/pointsman.toml" \
    --in "$LAB_DIR/in.pcap" --out "$LAB_DIR/nobody/out.pcap" >"$LAB_DIR/said" 2>&1 ||
    fail "replay failed: $(tail -n 3 "$LAB_DIR/said")"
grep -qi received "$LAB_DIR/said" || fail "replay does not print the law: $(cat "$LAB_DIR/said")"
sent=$(tcpdump -n -r "$LAB_DIR/in.pcap" 'tcp[13] = 2' 2>/dev/null | wc -l)
same "SYNs to the dests" "$sent" "$(tcpdump -n -r "$LAB_DIR/nobody/out.pcap" \
    'tcp[13] = 2 and src net 10.2.0.100/30 and (dst host 10.2.0.11 or dst host 10.2.0.12)' 2>/dev/null | wc -l)"
bad=$(tcpdump -n -vv -r "$LAB_DIR/nobody/out.pcap" 2>/dev/null | grep -c 'incorrect\|bad cksum')
same "bad checksums in what came out" 0 "$bad"
