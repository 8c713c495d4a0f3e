#!/usr/bin/python3
"""Makes the captures of tests/replay.rs with scapy and editcap (Debian: python3-scapy, wireshark-common), here:

in.pcap          what is replayed: micro-seconds, little-endian; in-be-nano.pcap and in.pcapng are the same frames
out.pcap         what must leave, frame by frame, with the addresses, ports and MACs that replay makes up
sll.pcap         a capture of link type LINUX_SLL, to be refused

All checksums, of the input and of what must leave, are scapy's. What must be known of the director: local ports are
leased from 1025 on, per dest; rr begins with the dest added last, as the kernel's.
"""

import os
import subprocess

from scapy.all import (ARP, CookedLinux, Dot1Q, Ether, ICMPv6ND_NS, IP, IPv6, Raw, RawPcapWriter, TCP, UDP, raw)

os.chdir(os.path.dirname(os.path.abspath(__file__)))
BEGIN = 1_700_000_000

# Made up by replay.
WAN, LAN = "02:00:00:00:00:00", "02:00:00:00:00:01"
GATEWAY, GATEWAY6 = "06:00:0a:01:00:01", "0a:00:00:00:00:01"
DEST1, DEST2, DEST6 = "06:00:0a:02:00:0b", "06:00:0a:02:00:0c", "0a:00:00:00:00:11"

CLIENT, VIP, LADDR = "203.0.113.5", "10.1.0.100", "10.2.0.100"
CLIENT6, VIP6, LADDR6 = "2001:db8:9::5", "2001:db8:1::100", "2001:db8:2::100"
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1111, 0)), ("NOP", None), ("WScale", 7)]

came, left = [], []


def frame(at, packet, wire_len=None):
    came.append((at, raw(packet), wire_len))


def passes(at, packet, expected):
    frame(at, packet)
    left.append((at, raw(expected)))


def l2(vlans=()):
    """The header of a foreign capture."""
    header = Ether(src="00:16:3e:00:00:01", dst="00:16:3e:00:00:02")
    for vlan in vlans:
        header /= Dot1Q(vlan=vlan)
    return header


def to_lan(mac):
    return Ether(src=LAN, dst=mac)


def to_wan(mac):
    return Ether(src=WAN, dst=mac) / Dot1Q(vlan=100)


def request(at, transport, payload=b"", vlans=(), tos=0):
    """A client's segment to the web service, and how the dest sees it."""
    ip = dict(id=7, flags="DF", tos=tos)
    seen = transport.copy()
    seen.sport, seen.dport = 1025, 8080
    passes(at, l2(vlans) / IP(src=CLIENT, dst=VIP, ttl=61, **ip) / transport / payload,
           to_lan(DEST1) / IP(src=LADDR, dst="10.2.0.11", ttl=60, **ip) / seen / payload)


def reply(at, transport, payload=b""):
    seen = transport.copy()
    seen.sport, seen.dport = 80, 40000
    passes(at, l2() / IP(src="10.2.0.11", dst=LADDR, ttl=64, id=9) / transport / payload,
           to_wan(GATEWAY) / IP(src=VIP, dst=CLIENT, ttl=63, id=9) / seen / payload)


def conversation():
    client = dict(sport=40000, dport=80)
    server = dict(sport=8080, dport=1025)
    request(0.001, TCP(flags="S", seq=1000, options=OPTIONS, **client))
    reply(0.002, TCP(flags="SA", seq=9000, ack=1001, options=OPTIONS, **server))
    request(0.003, TCP(flags="A", seq=1001, ack=9001, **client))
    request(0.004, TCP(flags="PA", seq=1001, ack=9001, **client), b"GET / HTTP/1.0\r\n\r\n!", vlans=(7, 8), tos=0x10)
    reply(0.006, TCP(flags="A", seq=9001, ack=1020, **server), bytes(range(256)) * 5 + b"odd")
    # A stamp that goes back is fed at the time of the one before.
    reply(0.005, TCP(flags="FA", seq=10284, ack=1020, **server))
    at, seen = left.pop()
    left.append((0.006, seen))
    request(0.007, TCP(flags="FA", seq=1020, ack=10285, **client))


def conversation6():
    passes(0.010, l2() / IPv6(src=CLIENT6, dst=VIP6, hlim=61, fl=5) / TCP(sport=40000, dport=80, flags="S", seq=5),
           to_lan(DEST6) / IPv6(src=LADDR6, dst="2001:db8:2::11", hlim=60, fl=5)
           / TCP(sport=1025, dport=8080, flags="S", seq=5))
    passes(0.011, l2() / IPv6(src="2001:db8:2::11", dst=LADDR6) / TCP(sport=8080, dport=1025, flags="SA", seq=6, ack=6),
           to_wan(GATEWAY6) / IPv6(src=VIP6, dst=CLIENT6, hlim=63) / TCP(sport=80, dport=40000, flags="SA", seq=6, ack=6))


def datagrams():
    """One client, asking again after 10 s (the same conn) and after another 400 s (a new one, for udp = 300)."""
    for at, mac, dest in ((0.020, DEST2, "10.2.0.12"), (10.02, DEST2, "10.2.0.12"), (410.02, DEST1, "10.2.0.11")):
        ask = Raw(b"question")
        passes(at, l2() / IP(src=CLIENT, dst=VIP) / UDP(sport=5353, dport=53) / ask,
               to_lan(mac) / IP(src=LADDR, dst=dest, ttl=63) / UDP(sport=1025, dport=53) / ask)
    # Without a checksum in, without one out (RFC 768).
    passes(410.03, l2() / IP(src="10.2.0.11", dst=LADDR) / UDP(sport=53, dport=1025, chksum=0) / b"answer",
           to_wan(GATEWAY) / IP(src=VIP, dst=CLIENT, ttl=63) / UDP(sport=53, dport=5353, chksum=0) / b"answer")


def skipped():
    frame(0.0, Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=VIP))
    frame(0.012, Ether(dst="33:33:ff:00:01:00") / IPv6(src="2001:db8:2::11", dst="ff02::1:ff00:100", hlim=255)
          / ICMPv6ND_NS(tgt=VIP6))
    frame(0.013, Ether(type=0x88cc) / b"LLDP, or so it says")
    frame(0.014, l2() / IPv6(src="2001:db8:ffff::1", dst=VIP6) / TCP(dport=80))
    frame(0.015, raw(l2() / IP(src=CLIENT, dst=VIP) / TCP(dport=80, sport=40001) / (b"x" * 400))[:96], wire_len=454)
    frame(0.016, b"\x00\x16\x3e\x00\x00\x02\x00\x16")


def write(path, frames, **how):
    with open(path, "wb") as file:
        writer = RawPcapWriter(file, linktype=how.pop("linktype", 1), **how)
        writer.write_header(None)
        for at, data, wire_len in frames:
            seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
            fraction = micros * 1000 if how.get("nano") else micros
            writer.write_packet(data, sec=BEGIN + seconds, usec=fraction, caplen=len(data),
                                wirelen=wire_len or len(data))


skipped()
conversation()
conversation6()
datagrams()
# In the order of time, but for the stamp that goes back.
came.sort(key=lambda f: 0.0061 if f[0] == 0.005 else f[0])
write("in.pcap", came)
write("in-be-nano.pcap", came, nano=True, endianness=">")
# Wireshark's writer: scapy's keeps no length of snapped frames.
subprocess.run(["editcap", "-F", "pcapng", "in.pcap", "in.pcapng"], check=True)
write("out.pcap", [(at, data, None) for at, data in left])
write("sll.pcap", [(0, raw(CookedLinux() / IP(src=CLIENT, dst=VIP) / TCP()), None)], linktype=113)
