#!/usr/bin/python3
"""Writes the golden frames of this folder, all *.txt but kernel-*.txt (those are kernel.py's).

Needs scapy (Debian: python3-scapy). Every expected packet is built from scratch out of the field values that the
issue and the RFCs ask for; scapy computes lengths and checksums. Nothing here has seen the director's output.

A file is a story in lines: `mtu PORT N`, `vlan PORT ID` and `crossed` (full-NAT's dests are of the other family) before it begins, then `in PORT HEX`, each followed by the
frames that must come out, `out PORT HEX`, in order. `free WORD...` names fields of the next `out` that may be anything;
tests/golden.rs lists the words."""
import logging, os
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (Ether, IP, IPv6, TCP, UDP, ICMP, Raw, raw, Dot1Q, ICMPv6DestUnreach, ICMPv6PacketTooBig,
    ICMPv6TimeExceeded, ICMPv6ParamProblem, IPv6ExtHdrFragment, ICMPv6EchoRequest, ICMPv6EchoReply, IPOption, IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, PadN)

WAN, LAN, GW, DEST = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:fe", "02:00:00:00:01:11"
A = {4: dict(client="192.0.2.7", vip="203.0.113.10", laddr="10.1.0.100", dest="10.1.0.11", wan="10.0.0.1",
             lan="10.1.0.1", hop="10.1.0.77", far="198.51.100.9"),
     6: dict(client="2001:db8:c::7", vip="2001:db8:f::10", laddr="2001:db8:1::100", dest="2001:db8:1::11",
             wan="2001:db8::1", lan="2001:db8:1::1", hop="2001:db8:1::77", far="2001:db8:77::9")}
CPORT, LPORT = 40000, 1025          # 1025 is the first local port ever leased
VPORT = dict(nat=80, fullnat=81, dr=82, tunnel=83)
DPORT = dict(nat=8080, fullnat=8081, dr=82, tunnel=83)
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 7)]

def ip(f, src, dst, ttl=60, df=True, id=0x1234, tos=0, **kw):
    a = A[f]
    src, dst = a.get(src, src), a.get(dst, dst)
    if f == 4:
        return IP(src=src, dst=dst, ttl=ttl, flags="DF" if df else 0, id=id, tos=tos, **kw)
    return IPv6(src=src, dst=dst, hlim=ttl, tc=tos, **kw)

class Story:
    def __init__(self, name, about):
        self.name, self.lines = name, ["# " + about]
    def set(self, *words):
        self.lines.append(" ".join(map(str, words)))
    def frame(self, word, port, packet, tag=None):
        if word == "in":
            e = Ether(dst=WAN, src=GW) if port == "wan" else Ether(dst=LAN, src=DEST)
        else:
            e = Ether(dst=GW, src=WAN) if port == "wan" else Ether(dst=DEST, src=LAN)
        v6 = raw(packet)[0] >> 4 == 6
        if tag:
            e = e / Dot1Q(vlan=tag, type=0x86dd if v6 else 0x800)
        else:
            e.type = 0x86dd if v6 else 0x800
        self.lines.append(f"{word} {port} {raw(e / Raw(raw(packet))).hex()}")
    def put(self, port, packet, tag=None): self.frame("in", port, packet, tag)
    def out(self, port, packet, free="", tag=None):
        if free: self.set("free", free)
        self.frame("out", port, packet, tag)
    def end(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), self.name + ".txt"), "w") as f:
            f.write("\n".join(self.lines) + "\n")

def local(method):
    """What the dest sees as its client: address and port."""
    return ("laddr", LPORT) if method == "fullnat" else ("client", CPORT)

def tcp_story(f, method):
    s = Story(f"{method}-v{f}-tcp", f"TCP through {method}: handshake with options, data, FIN, both ways where replies pass.")
    vp, dp, (la, lp) = VPORT[method], DPORT[method], local(method)
    req = [dict(flags="S", seq=1000, options=OPTIONS), dict(flags="A", seq=1001, ack=9001),
           dict(flags="PA", seq=1001, ack=9001), dict(flags="FA", seq=1009, ack=9006)]
    ans = [dict(flags="SA", seq=9000, ack=1001, options=OPTIONS), dict(flags="A", seq=9001, ack=1009),
           dict(flags="PA", seq=9001, ack=1009), dict(flags="FA", seq=9006, ack=1010)]
    for i, (q, a) in enumerate(zip(req, ans)):
        load = Raw(b"GET / \r\n") if i == 2 else b""
        orig = lambda ttl: ip(f, "client", "vip", ttl=ttl, tos=0x10, id=100 + i) / TCP(sport=CPORT, dport=vp, window=64240, **q) / load
        s.put("wan", orig(60))
        if method in ("nat", "fullnat"):
            s.out("lan", ip(f, la, "dest", ttl=59, tos=0x10, id=100 + i) / TCP(sport=lp, dport=dp, window=64240, **q) / load)
            load = Raw(b"hello") if i == 2 else b""
            s.put("lan", ip(f, "dest", la, ttl=64, id=7 + i) / TCP(sport=dp, dport=lp, window=65160, **a) / load)
            s.out("wan", ip(f, "vip", "client", ttl=63, id=7 + i) / TCP(sport=vp, dport=CPORT, window=65160, **a) / load)
        elif method == "dr":
            s.out("lan", orig(59))
        else:
            outer = ip(f, "lan", "dest", ttl=59, tos=0x10, id=0)
            s.out("lan", outer / orig(59))
    s.end()

def udp_story(f, method):
    s = Story(f"{method}-v{f}-udp", f"UDP through {method}; v4 without a checksum too (0 stays 0), and an odd length.")
    vp, dp, (la, lp) = VPORT[method], DPORT[method], local(method)
    for i, load in enumerate([b"ping", b"odd", b""]):
        none = f == 4 and i == 1
        u = lambda sp, dpt: UDP(sport=sp, dport=dpt, **({"chksum": 0} if none else {})) / Raw(load)
        orig = lambda ttl: ip(f, "client", "vip", ttl=ttl, id=i) / u(CPORT, vp)
        s.put("wan", orig(2))
        if method in ("nat", "fullnat"):
            s.out("lan", ip(f, la, "dest", ttl=1, id=i) / u(lp, dp))
            s.put("lan", ip(f, "dest", la, ttl=255, id=i) / u(dp, lp))
            s.out("wan", ip(f, "vip", "client", ttl=254, id=i) / u(vp, CPORT))
        elif method == "dr":
            s.out("lan", orig(1))
        else:
            s.out("lan", ip(f, "lan", "dest", ttl=1, id=0) / orig(1))
    s.end()

def tunnel_fields(f):
    s = Story(f"tunnel-v{f}-fields", "DSCP copied, CE becomes ECT(0) outside (RFC 3168), DF copied, outer id free without DF.")
    for tos, outside in [(0xb8, 0xb8), (0x03, 0x02), (0xbb, 0xba), (0x01, 0x01)]:
        for df in [True, False]:
            q = lambda ttl: ip(f, "client", "vip", ttl=ttl, df=df, tos=tos) / UDP(sport=CPORT, dport=83) / Raw(b"x" * 10)
            s.put("wan", q(17))
            s.out("lan", ip(f, "lan", "dest", ttl=16, df=df, tos=outside, id=0) / q(16), "" if df or f == 6 else "id")
    s.end()

def unreach(f, kind, quote):
    """An ICMP error around the bytes it quotes."""
    if f == 4:
        h = dict(port=ICMP(type=3, code=3), big=ICMP(type=3, code=4, nexthopmtu=1400), ttl=ICMP(type=11, code=0), host=ICMP(type=3, code=1))
    else:
        h = dict(port=ICMPv6DestUnreach(code=4), big=ICMPv6PacketTooBig(mtu=1400), ttl=ICMPv6TimeExceeded(code=0), host=ICMPv6DestUnreach(code=3))
    return h[kind] / Raw(quote)

def icmp_story(f, method):
    s = Story(f"{method}-v{f}-icmp", f"ICMP errors through {method}, from the dest's side and from the client's, quoting TCP and UDP, whole and cut.")
    vp, dp, (la, lp) = VPORT[method], DPORT[method], local(method)
    least = 28 if f == 4 else 48
    for L4, load, kw in [(TCP, b"d" * 30, dict(flags="S", seq=5, window=500)), (UDP, b"u" * 30, {})]:
        orig = lambda ttl: ip(f, "client", "vip", ttl=ttl) / L4(sport=CPORT, dport=vp, **kw) / Raw(load)
        seen = lambda ttl: ip(f, la, "dest", ttl=ttl) / L4(sport=lp, dport=dp, **kw) / Raw(load)
        s.put("wan", orig(60)); s.out("lan", seen(59))
        answer = lambda ttl: ip(f, "dest", la, ttl=ttl, id=9) / L4(sport=dp, dport=lp, **kw) / Raw(load)
        shown = lambda ttl: ip(f, "vip", "client", ttl=ttl, id=9) / L4(sport=vp, dport=CPORT, **kw) / Raw(load)
        s.put("lan", answer(64)); s.out("wan", shown(63))
        for kind in ["port", "big", "ttl", "host"]:
            for cut in [None, least]:
                # the dest, then a router behind the director; both show as the VIP
                for who in ["dest", "hop"]:
                    s.put("lan", ip(f, who, la, ttl=64, id=3, tos=0xc0) / unreach(f, kind, raw(seen(59))[:cut]))
                    s.out("wan", ip(f, "vip", "client", ttl=63, id=3, tos=0xc0) / unreach(f, kind, raw(orig(59))[:cut]))
                # the client, then a router before it; under full-NAT the dest must not see either
                for who in ["client", "far"]:
                    s.put("wan", ip(f, who, "vip", ttl=50, id=4) / unreach(f, kind, raw(shown(63))[:cut]))
                    src = "laddr" if method == "fullnat" else who
                    s.out("lan", ip(f, src, "dest", ttl=49, id=4) / unreach(f, kind, raw(answer(63))[:cut]))
    s.end()

def limits(f):
    made4 = dict(ttl=64, tos=0xc0, id=0)
    free = "id" if f == 4 else "tos"
    most = 576 - 28 if f == 4 else 1280 - 48
    err = lambda src, to: ip(f, src, to, **(made4 if f == 4 else dict(ttl=64)))
    s = Story(f"ttl-v{f}", "TTL used up on the way in (WAN says so) and on the way back (LAN says so); the quote is cut at 576 or 1280 bytes.")
    q = ip(f, "client", "vip", ttl=60) / TCP(sport=CPORT, dport=80, flags="S", seq=1)
    s.put("wan", q); s.out("lan", ip(f, "client", "dest", ttl=59) / TCP(sport=CPORT, dport=8080, flags="S", seq=1))
    for load in [b"short", b"l" * 1300]:
        q = ip(f, "client", "vip", ttl=1) / TCP(sport=CPORT, dport=80, flags="A", seq=2) / Raw(load)
        s.put("wan", q); s.out("wan", err("wan", "client") / unreach(f, "ttl", raw(q)[:most]), free)
        q = ip(f, "dest", "client", ttl=1) / TCP(sport=8080, dport=CPORT, flags="A", seq=2) / Raw(load)
        s.put("lan", q); s.out("lan", err("lan", "dest") / unreach(f, "ttl", raw(q)[:most]), free)
    s.end()
    s = Story(f"too-big-v{f}", "Larger than the way out and not to be cut: fragmentation needed / packet too big with its MTU.")
    s.set("mtu lan 1400")
    for method, mtu in [("nat", 1400), ("fullnat", 1400), ("dr", 1400), ("tunnel", 1380 if f == 4 else 1360)]:
        header = 40 if f == 4 else 60
        q = ip(f, "client", "vip") / TCP(sport=CPORT, dport=VPORT[method], flags="S") / Raw(b"x" * (mtu + 1 - header))
        s.put("wan", q)
        e = ICMP(type=3, code=4, nexthopmtu=mtu) if f == 4 else ICMPv6PacketTooBig(mtu=mtu)
        s.out("wan", err("wan", "client") / e / Raw(raw(q)[:most]), free)
    s.end()
    s = Story(f"refused-v{f}", "What a host says on closed ports: resets (RFC 9293 3.10.7.1) and port unreachable.")
    rst = lambda **kw: ip(f, "vip", "client", ttl=64, id=0) / TCP(sport=9, dport=CPORT, window=0, **kw)
    to = lambda **kw: ip(f, "client", "vip") / TCP(sport=CPORT, dport=9, **kw)
    free4 = "id" if f == 4 else ""
    s.put("wan", to(flags="S", seq=1000, options=OPTIONS)); s.out("wan", rst(flags="RA", seq=0, ack=1001), free4)
    s.put("wan", to(flags="A", seq=1000, ack=77)); s.out("wan", rst(flags="R", seq=77, ack=0), free4)
    s.put("wan", to(flags="F", seq=0xfffffffe) / Raw(b"abc")); s.out("wan", rst(flags="RA", seq=0, ack=2), free4)
    s.put("wan", to(flags="SA", seq=1, ack=500)); s.out("wan", rst(flags="R", seq=500, ack=0), free4)
    s.put("wan", to(flags="R", seq=1, ack=500))
    u = ip(f, "client", "vip") / UDP(sport=CPORT, dport=9) / Raw(b"anybody?")
    s.put("wan", u); s.out("wan", err("vip", "client") / unreach(f, "port", raw(u)), free)
    # on a service's port: TCP that is no SYN
    s.put("wan", ip(f, "client", "vip") / TCP(sport=CPORT, dport=80, flags="A", seq=1, ack=2))
    s.out("wan", ip(f, "vip", "client", ttl=64, id=0) / TCP(sport=80, dport=CPORT, flags="R", seq=2, ack=0, window=0), free4)
    s.end()
    s = Story(f"echo-v{f}", "Echo requests to the VIP and to a port's own address.")
    for dst in ["vip", "wan"]:
        for load in [b"", b"odd", b"e" * 1000]:
            if f == 4:
                q, a = ICMP(type=8, id=5, seq=6) / Raw(load), ICMP(type=0, id=5, seq=6) / Raw(load)
            else:
                q, a = ICMPv6EchoRequest(id=5, seq=6, data=load), ICMPv6EchoReply(id=5, seq=6, data=load)
            s.put("wan", ip(f, "client", dst, tos=0x10) / q)
            s.out("wan", ip(f, dst, "client", ttl=64, tos=0x10, id=0) / a, "id" if f == 4 else "")
    s.end()

def fragments():
    pieces = lambda whole: raw(whole)[20 if not whole.options else raw(whole)[0] % 16 * 4:]
    s = Story("fragments-v4", "Without DF, larger than the way out: cut (RFC 791); options with the copied bit go along, others become NOPs.")
    s.set("mtu lan 576")
    load = bytes(i * 7 & 255 for i in range(1400))
    def cut(whole, header, mtu=576, **kw):
        body, step, at = pieces(whole), (mtu - header) // 8 * 8, 0
        while at < len(body):
            part = body[at:at + step]
            more = at + step < len(body)
            base = dict(src=whole.src, dst=whole.dst, ttl=whole.ttl, id=whole.id, tos=whole.tos, proto=whole.proto)
            yield IP(**base, flags="MF" if more else 0, frag=at // 8, **{k: v(at) for k, v in kw.items()}) / Raw(part)
            at += step
    q = lambda src, dst, sp, dp, ttl: ip(4, src, dst, ttl=ttl, df=False) / UDP(sport=sp, dport=dp) / Raw(load)
    s.put("wan", q("client", "vip", CPORT, 80, 60))
    whole = IP(raw(q("client", "dest", CPORT, 8080, 59)))
    for p in cut(whole, 20): s.out("lan", p)
    # record route (7, not copied) and security (130, copied), then end of options
    rr, sec = bytes([7, 7, 4, 0, 0, 0, 0]), bytes([130, 11]) + bytes(9)
    first, later = [IPOption(rr), IPOption(sec), IPOption(b"\0\0")], [IPOption(b"\1" * 7), IPOption(sec), IPOption(b"\0\0")]
    q = lambda src, dst, sp, dp, ttl: ip(4, src, dst, ttl=ttl, df=False, options=first) / UDP(sport=sp, dport=dp) / Raw(load)
    s.put("wan", q("client", "vip", CPORT, 80, 60))
    whole = IP(raw(q("client", "dest", CPORT, 8080, 59)))
    for p in cut(whole, 40, options=lambda at: later if at else first): s.out("lan", p)
    s.end()
    s = Story("fragments-reply-v4", "The same on the way back, under full-NAT.")
    s.set("mtu wan 576")
    s.put("wan", ip(4, "client", "vip") / UDP(sport=CPORT, dport=81) / Raw(b"q"))
    s.out("lan", ip(4, "laddr", "dest", ttl=59) / UDP(sport=LPORT, dport=8081) / Raw(b"q"))
    s.put("lan", ip(4, "dest", "laddr", df=False) / UDP(sport=8081, dport=LPORT) / Raw(load))
    whole = IP(raw(ip(4, "vip", "client", ttl=59, df=False) / UDP(sport=81, dport=CPORT) / Raw(load)))
    for p in cut(whole, 20): s.out("wan", p)
    s.end()

def vlan_and_headers():
    for f in (4, 6):
        s = Story(f"vlan-v{f}", "Tag 5 on WAN, tag 6 on LAN, then none on LAN.")
        s.set("vlan wan 5"); s.set("vlan lan 6")
        s.put("wan", ip(f, "client", "vip") / UDP(sport=CPORT, dport=81) / Raw(b"q"), 5)
        s.out("lan", ip(f, "laddr", "dest", ttl=59) / UDP(sport=LPORT, dport=8081) / Raw(b"q"), tag=6)
        s.put("lan", ip(f, "dest", "laddr") / UDP(sport=8081, dport=LPORT) / Raw(b"a"), 6)
        s.out("wan", ip(f, "vip", "client", ttl=59) / UDP(sport=81, dport=CPORT) / Raw(b"a"), tag=5)
        s.end()
        s = Story(f"vlan-one-side-v{f}", "Tag 5 on WAN only: frames grow on their way back.")
        s.set("vlan wan 5")
        s.put("wan", ip(f, "client", "vip") / UDP(sport=CPORT, dport=81) / Raw(b"q"), 5)
        s.out("lan", ip(f, "laddr", "dest", ttl=59) / UDP(sport=LPORT, dport=8081) / Raw(b"q"))
        s.put("lan", ip(f, "dest", "laddr") / UDP(sport=8081, dport=LPORT) / Raw(b"a"))
        s.out("wan", ip(f, "vip", "client", ttl=59) / UDP(sport=81, dport=CPORT) / Raw(b"a"), tag=5)
        s.end()
    opts = [IPOption(bytes([68, 12, 5, 0]) + bytes(8))]   # timestamp
    s = Story("options-v4", "IPv4 options are walked and kept, by every method.")
    for m in VPORT:
        q = lambda ttl: ip(4, "client", "vip", ttl=ttl, options=opts) / UDP(sport=CPORT, dport=VPORT[m]) / Raw(b"q")
        s.put("wan", q(60))
        la, lp = local(m)
        s.out("lan", q(59) if m == "dr" else ip(4, "lan", "dest", ttl=59, id=0) / q(59) if m == "tunnel" else
              ip(4, la, "dest", ttl=59, options=opts) / UDP(sport=lp, dport=DPORT[m]) / Raw(b"q"))
    s.end()
    s = Story("extensions-v6", "IPv6 hop-by-hop and destination options are walked and kept, by every method.")
    ext = lambda: IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])
    for m in VPORT:
        q = lambda ttl: ip(6, "client", "vip", ttl=ttl) / ext() / UDP(sport=CPORT, dport=VPORT[m]) / Raw(b"q")
        s.put("wan", q(60))
        la, lp = local(m)
        s.out("lan", q(59) if m == "dr" else ip(6, "lan", "dest", ttl=59) / q(59) if m == "tunnel" else
              ip(6, la, "dest", ttl=59) / ext() / UDP(sport=lp, dport=DPORT[m]) / Raw(b"q"))
    s.end()

def other(f): return 10 - f
def made(f, src, dst, **kw):
    """A packet that a translator made (RFC 7915 5.1): DF only above 1260 bytes, identification its own."""
    return ip(f, src, dst, **{**dict(df=False, id=0), **kw})
def free(f): return "id" if f == 4 else ""

def crossed_flows(f):
    """A VIP of family f before dests of the other one."""
    g = other(f)
    s = Story(f"crossed-v{f}-tcp", f"TCP from v{f} to v{g}: handshake with options, data, FIN, both ways.")
    s.set("crossed")
    req = [dict(flags="S", seq=1000, options=OPTIONS), dict(flags="A", seq=1001, ack=9001),
           dict(flags="PA", seq=1001, ack=9001), dict(flags="FA", seq=1009, ack=9006)]
    ans = [dict(flags="SA", seq=9000, ack=1001, options=OPTIONS), dict(flags="A", seq=9001, ack=1009),
           dict(flags="PA", seq=9001, ack=1009), dict(flags="FA", seq=9006, ack=1010)]
    for i, (q, a) in enumerate(zip(req, ans)):
        load = Raw(b"GET / \r\n") if i == 2 else b""
        s.put("wan", ip(f, "client", "vip", tos=0x10, id=100 + i) / TCP(sport=CPORT, dport=81, window=64240, **q) / load)
        s.out("lan", made(g, "laddr", "dest", ttl=59, tos=0x10) / TCP(sport=LPORT, dport=8081, window=64240, **q) / load, free(g))
        load = Raw(b"hello") if i == 2 else b""
        s.put("lan", ip(g, "dest", "laddr", ttl=64, tos=0xb9, id=7 + i) / TCP(sport=8081, dport=LPORT, window=65160, **a) / load)
        s.out("wan", made(f, "vip", "client", ttl=63, tos=0xb9) / TCP(sport=81, dport=CPORT, window=65160, **a) / load, free(f))
    # the largest v6 packet whose v4 one may be cut, and the next one, which has DF
    for size in [1220, 1221]:
        load, df = Raw(b"s" * size), size > 1220
        q, a = dict(flags="A", seq=1010, ack=9007), dict(flags="A", seq=9007, ack=1010)
        s.put("wan", ip(f, "client", "vip") / TCP(sport=CPORT, dport=81, **q) / load)
        s.out("lan", made(g, "laddr", "dest", ttl=59, df=df) / TCP(sport=LPORT, dport=8081, **q) / load, free(g))
        s.put("lan", ip(g, "dest", "laddr") / TCP(sport=8081, dport=LPORT, **a) / load)
        s.out("wan", made(f, "vip", "client", ttl=59, df=df) / TCP(sport=81, dport=CPORT, **a) / load, free(f))
    s.end()
    s = Story(f"crossed-v{f}-udp", f"UDP from v{f} to v{g}: v4 without a checksum gets one; options and extension headers stay behind.")
    s.set("crossed")
    opts = dict(options=[IPOption(bytes([68, 12, 5, 0]) + bytes(8))])
    ext = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])
    def sent(h, src, dst, udp, none, extra):
        if none and h == 4: udp = UDP(sport=udp.sport, dport=udp.dport, chksum=0) / udp.payload
        return ip(h, src, dst, **(opts if extra and h == 4 else {})) / (ext / udp if extra and h == 6 else udp)
    for load in [b"ping", b"odd", b"", b"\0" * 7]:
        for none, extra in [(False, False), (True, False), (True, True)]:
            s.put("wan", sent(f, "client", "vip", UDP(sport=CPORT, dport=81) / Raw(load), none, extra))
            s.out("lan", made(g, "laddr", "dest", ttl=59) / UDP(sport=LPORT, dport=8081) / Raw(load), free(g))
            s.put("lan", sent(g, "dest", "laddr", UDP(sport=8081, dport=LPORT) / Raw(load), none, extra))
            s.out("wan", made(f, "vip", "client", ttl=59) / UDP(sport=81, dport=CPORT) / Raw(load), free(f))
    s.end()

def crossed_icmp(f):
    g = other(f)
    s = Story(f"crossed-v{f}-icmp", f"ICMP errors about conns from v{f} to v{g}, from both sides, quoting TCP and UDP, whole and cut.")
    s.set("crossed")
    def error(h, kind, quote, translated=False):
        """An error of family h; translated: made of one of the other family."""
        if h == 4:
            e = dict(port=ICMP(type=3, code=3), big=ICMP(type=3, code=4, nexthopmtu=1380 if translated else 1400), ttl=ICMP(type=11),
                     host=ICMP(type=3, code=1), admin=ICMP(type=3, code=10), proto=ICMP(type=3, code=2), field=ICMP(type=12, ptr=9))
        else:
            e = dict(port=ICMPv6DestUnreach(code=4), big=ICMPv6PacketTooBig(mtu=1420 if translated else 1400), ttl=ICMPv6TimeExceeded(),
                     host=ICMPv6DestUnreach(code=0), admin=ICMPv6DestUnreach(code=1), proto=ICMPv6ParamProblem(code=1, ptr=6),
                     field=ICMPv6ParamProblem(code=0, ptr=6))
        return e[kind] / Raw(quote)
    for L4, load, kw in [(TCP, b"d" * 31, dict(flags="S", seq=5, window=500)), (UDP, b"u" * 31, {})]:
        q, a = L4(sport=CPORT, dport=81, **kw) / Raw(load), L4(sport=81, dport=CPORT, **kw) / Raw(load)
        at_q, at_a = L4(sport=LPORT, dport=8081, **kw) / Raw(load), L4(sport=8081, dport=LPORT, **kw) / Raw(load)
        s.put("wan", ip(f, "client", "vip") / q); s.out("lan", made(g, "laddr", "dest", ttl=59) / at_q, free(g))
        s.put("lan", ip(g, "dest", "laddr", ttl=64) / at_a); s.out("wan", made(f, "vip", "client", ttl=63) / a, free(f))
        for kind in ["port", "big", "ttl", "host", "admin", "proto", "field"]:
            for cut in [None, 8]:
                def whole_or_cut(h, packet): return raw(packet)[:cut and cut + (20 if h == 4 else 40)]
                # about what the dest was sent: from the dest, then from a router before it
                for who in ["dest", "hop"]:
                    s.put("lan", ip(g, who, "laddr", ttl=64, id=3, tos=0xc0) / error(g, kind, whole_or_cut(g, made(g, "laddr", "dest", ttl=59, id=77) / at_q)))
                    s.out("wan", made(f, "vip", "client", ttl=63, tos=0xc0) / error(f, kind, whole_or_cut(f, made(f, "client", "vip", ttl=59) / q), True), free(f))
                # about what the client was sent
                for who in ["client", "far"]:
                    s.put("wan", ip(f, who, "vip", ttl=50, id=4) / error(f, kind, whole_or_cut(f, made(f, "vip", "client", ttl=63, id=78) / a)))
                    s.out("lan", made(g, "laddr", "dest", ttl=49) / error(g, kind, whole_or_cut(g, made(g, "dest", "laddr", ttl=63) / at_a), True), free(g))
    s.end()

def crossed_sizes(f):
    g = other(f)
    err = lambda h, src, to: ip(h, src, to, ttl=64, **(dict(tos=0xc0, id=0) if h == 4 else {}))
    s = Story(f"crossed-v{f}-too-big", f"Larger than the way out in v{g}: the sender is told the MTU in v{f}.")
    s.set("crossed"); s.set("mtu lan 1400")
    header = 20 if f == 4 else 40
    mtu = 1380 if f == 4 else 1420
    q = lambda n: ip(f, "client", "vip") / UDP(sport=CPORT, dport=81) / Raw(b"x" * (n - header - 8))
    s.put("wan", q(mtu))
    s.out("lan", made(g, "laddr", "dest", ttl=59, df=True) / UDP(sport=LPORT, dport=8081) / Raw(b"x" * (mtu - header - 8)), free(g))
    s.put("wan", q(mtu + 1))
    e = ICMP(type=3, code=4, nexthopmtu=mtu) if f == 4 else ICMPv6PacketTooBig(mtu=mtu)
    s.out("wan", err(f, "wan", "client") / e / Raw(raw(q(mtu + 1))[:548 if f == 4 else 1232]), "id" if f == 4 else "tos")
    s.end()
    s = Story(f"crossed-v{f}-fragments", f"Fragments from v{f} to v{g} and back; v4 without DF is cut to 1280 bytes of v6, what v6 sends below 1280 where v4 needs it.")
    s.set("crossed"); s.set(f"mtu {'lan' if g == 4 else 'wan'} 1300")
    load = bytes(i * 7 & 255 for i in range(3000))
    def piece(h, src, dst, ttl, part, at, more, id=0):
        if h == 4: return IP(src=A[4][src], dst=A[4][dst], ttl=ttl, id=id, proto=17, flags="MF" if more else 0, frag=at // 8) / Raw(part)
        return IPv6(src=A[6][src], dst=A[6][dst], hlim=ttl) / IPv6ExtHdrFragment(nh=17, offset=at // 8, m=int(more), id=id) / Raw(part)
    def told(side, h, src, dst, sp, dp, oside, osrc, odst, osp, odp, id):
        """A datagram in three pieces of h, and each of them in the other family, cut where that is needed."""
        o = other(h)
        body = raw(ip(h, src, dst) / UDP(sport=sp, dport=dp) / Raw(load))[20 if h == 4 else 40:]
        out = raw(ip(o, osrc, odst) / UDP(sport=osp, dport=odp) / Raw(load))[20 if o == 4 else 40:]
        for at, to in [(0, 1208), (1208, 2448), (2448, len(body))]:
            s.put(side, piece(h, src, dst, 60, body[at:to], at, to < len(body), id))
            most, x = (1232 if o == 6 else 1280), at
            while x < to:
                y = min(to, x + most)
                s.out(oside, piece(o, osrc, odst, 59, out[x:y], x, y < len(out)), "id")
                x = y
    told("wan", f, "client", "vip", CPORT, 81, "lan", "laddr", "dest", LPORT, 8081, 0x51)
    told("lan", g, "dest", "laddr", 8081, LPORT, "wan", "vip", "client", 81, CPORT, 0x52)
    # whole, and larger than 1280 bytes of v6
    big = bytes(i * 5 & 255 for i in range(1252))
    q, a = UDP(sport=LPORT, dport=8081), UDP(sport=81, dport=CPORT)
    side = ("wan", "client", "vip", CPORT, 81, "lan", "laddr", "dest", LPORT, 8081) if f == 4 else \
        ("lan", "dest", "laddr", 8081, LPORT, "wan", "vip", "client", 81, CPORT)
    for load in [big[:1232], big]:
        s.put(side[0], ip(4, side[1], side[2], df=False, id=9) / UDP(sport=side[3], dport=side[4]) / Raw(load))
        whole = ip(6, side[6], side[7], ttl=59) / UDP(sport=side[8], dport=side[9]) / Raw(load)
        if len(load) <= 1232:
            s.out(side[5], whole)
        else:
            body = raw(whole)[40:]
            for at in range(0, len(body), 1232):
                s.out(side[5], piece(6, side[6], side[7], 59, body[at:at + 1232], at, at + 1232 < len(body)), "id")
    s.end()

for f in (4, 6):
    crossed_flows(f)
    crossed_icmp(f)
    crossed_sizes(f)
for f in (4, 6):
    for m in VPORT:
        tcp_story(f, m)
        udp_story(f, m)
    tunnel_fields(f)
    icmp_story(f, "nat")
    icmp_story(f, "fullnat")
    limits(f)
fragments()
vlan_and_headers()
