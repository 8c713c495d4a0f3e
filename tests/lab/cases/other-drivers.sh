#!/bin/bash
# Ports are any DPDK ethdev: besides af_packet and af_xdp also net_pcap on an interface and net_tap serve; net_null and
# net_ring start and stop.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

with_devices() { # WAN LAN
    lab_config fullnat all
    sed -i "s|^device = \"net_af_packet0,.*|device = \"$1\"|; s|^device = \"net_af_packet1,.*|device = \"$2\"|" "$LAB_DIR/pointsman.toml"
    director_start
}

lab_up
with_devices net_pcap0,iface=d0 net_pcap1,iface=d1
same "driver" net_pcap "$(status_json | jq -r '.ports[0].driver')"
for f in 4 6; do answers fullnat $f; done
director_stop

# the kernel's end of the tap is bridged to the client's wire; it needs a MAC of its own, as it is made with the port's
with_devices net_tap0,iface=dt0 net_af_packet1,iface=d1
ip -n "$LAB_P-dir" -batch - <<-END || fail "dt0 could not be joined to the wire"
	link add br0 type bridge forward_delay 0 mcast_snooping 0
	link set br0 up
	link set dt0 address 02:00:00:00:99:01
	link set d0 master br0
	link set dt0 master br0
END
wait_for 3 get fullnat 4 >/dev/null || fail "no answer through net_tap"
for f in 4 6; do answers fullnat $f; done
ok "net_tap serves"
director_stop

for pair in "net_null0 net_null1" "net_ring0 net_ring1"; do
    with_devices ${pair% *} ${pair#* }
    same "driver" "${pair%0 *}" "$(status_json | jq -r '.ports[0].driver')"
    director_stop
done
