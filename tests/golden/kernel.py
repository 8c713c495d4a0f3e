#!/usr/bin/python3
"""Writes kernel-*.txt: what Linux itself answers to frames, as golden frames for what the director must answer.

Needs root, iproute2, ethtool (checksums are to be written by the kernel, not left to a device) and python3-scapy (to build the questions only). Works in two network namespaces of its own, golden<pid>-*:
Linux holds the addresses that net.rs gives the director, the questions go in by a raw socket and what comes back within
0.3 s is written down. `host`: the VIP is local, closed ports and pings. `router`: the VIP lies behind a link with
MTU 1400, TTL and size. Format and `free` words: see make.py and tests/golden.rs."""
import json, os, socket, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
NETNS = f"golden{os.getpid()}-"  # what our namespaces' names begin with
WAN, LAN, GW, DEST = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:fe", "02:00:00:00:01:11"

def ask(frames):
    """In the client's namespace: sends each frame and collects the answers to it."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("c0", 0))
    s.settimeout(0.3)
    out = []
    for f in frames:
        s.send(bytes.fromhex(f))
        got, end = [], time.time() + 0.3
        while time.time() < end:
            try:
                data, who = s.recvfrom(65535)
            except socket.timeout:
                break
            # not our own, and no neighbour discovery of the kernel's
            if who[2] != socket.PACKET_OUTGOING and data[6:12].hex(":") == WAN and data[12:14] in (b"\x08\0", b"\x86\xdd") \
                    and not (data[12:14] == b"\x86\xdd" and data[20] == 58 and data[54] >= 130):
                got.append(data.hex())
        out.append(got)
    print(json.dumps(out))

def sh(text):
    for line in text.strip().splitlines():
        subprocess.run(line.strip().replace("NETNS-", NETNS), shell=True, check=True)

def setup(router):
    sh("""ip netns add NETNS-client
          ip netns add NETNS-kernel
          ip -n NETNS-kernel link add wan mtu 1500 address %s type veth peer name c0 netns NETNS-client address %s
          ip -n NETNS-kernel link add lan mtu 1400 address %s type veth peer name c1 netns NETNS-client address %s
          ip netns exec NETNS-client sysctl -qw net.ipv6.conf.all.disable_ipv6=1
          ip netns exec NETNS-kernel sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv6.auto_flowlabels=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.wan.accept_dad=0 net.ipv6.conf.lan.accept_dad=0
          ip netns exec NETNS-client ethtool -K c0 tx off >/dev/null
          ip netns exec NETNS-kernel ethtool -K wan tx off >/dev/null
          ip -n NETNS-client link set c0 mtu 1500 up
          ip -n NETNS-client link set c1 up
          ip -n NETNS-kernel link set lo up
          ip -n NETNS-kernel link set wan up
          ip -n NETNS-kernel link set lan up
          ip -n NETNS-kernel addr add 10.0.0.1/24 dev wan
          ip -n NETNS-kernel addr add 10.1.0.1/24 dev lan
          ip -n NETNS-kernel addr add 2001:db8::1/64 dev wan nodad
          ip -n NETNS-kernel addr add 2001:db8:1::1/64 dev lan nodad
          ip -n NETNS-kernel neigh add 10.0.0.254 lladdr %s dev wan nud permanent
          ip -n NETNS-kernel neigh add 2001:db8::fe lladdr %s dev wan nud permanent
          ip -n NETNS-kernel neigh add 10.1.0.11 lladdr %s dev lan nud permanent
          ip -n NETNS-kernel neigh add 2001:db8:1::11 lladdr %s dev lan nud permanent
          ip -n NETNS-kernel route add default via 10.0.0.254
          ip -n NETNS-kernel -6 route add default via 2001:db8::fe""" % (WAN, GW, LAN, DEST, GW, GW, DEST, DEST))
    if router:
        sh("""ip -n NETNS-kernel route add 203.0.113.10 via 10.1.0.11
              ip -n NETNS-kernel -6 route add 2001:db8:f::10 via 2001:db8:1::11""")
    else:
        sh("""ip -n NETNS-kernel addr add 203.0.113.10/32 dev lo
              ip -n NETNS-kernel addr add 2001:db8:f::10/128 dev lo""")
    time.sleep(1)

def teardown():
    for n in ("client", "kernel"):
        subprocess.run(["ip", "netns", "del", NETNS + n], stderr=subprocess.DEVNULL)

def questions(f, router):
    import logging
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    from scapy.all import Ether, IP, IPv6, TCP, UDP, ICMP, Raw, raw, ICMPv6EchoRequest
    client, vip = ("192.0.2.7", "203.0.113.10") if f == 4 else ("2001:db8:c::7", "2001:db8:f::10")
    own = "10.0.0.1" if f == 4 else "2001:db8::1"
    def ip(dst=vip, ttl=60):
        return IP(src=client, dst=dst, ttl=ttl, flags="DF", id=0x1234) if f == 4 else IPv6(src=client, dst=dst, hlim=ttl)
    t = lambda load=b"", dport=9, ttl=60, **kw: ip(ttl=ttl) / TCP(sport=40000, dport=dport, **kw) / Raw(load)
    opts = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 7)]
    if router:
        big = 1401 - (40 if f == 4 else 60)
        packets = [t(dport=80, flags="S", ttl=1), t(b"x" * 1000, dport=80, flags="S", ttl=1), t(b"y" * big, dport=80, flags="S"),
                   ip(ttl=1) / UDP(sport=40000, dport=80) / Raw(b"abc"), ip() / UDP(sport=40000, dport=80) / Raw(b"z" * 1440)]
    else:
        echo = lambda load: (ICMP(type=8, id=5, seq=6) / Raw(load)) if f == 4 else ICMPv6EchoRequest(id=5, seq=6, data=load)
        packets = [t(flags="S", seq=1000, options=opts), t(flags="A", seq=1000, ack=77), t(b"abc", flags="F", seq=0xfffffffe),
                   t(flags="SA", seq=1, ack=500), t(b"data", flags="PA", seq=10, ack=20), t(flags="R", seq=1), t(flags="RA", seq=1, ack=2),
                   ip() / UDP(sport=40000, dport=9) / Raw(b"anybody?"), ip() / UDP(sport=40000, dport=9) / Raw(b"l" * 1300),
                   ip() / echo(b""), ip() / echo(b"odd"), ip() / echo(b"e" * 1000), ip(own) / echo(b"own")]
    e = Ether(dst=WAN, src=GW, type=0x800 if f == 4 else 0x86dd)
    return [raw(e / Raw(raw(p))).hex() for p in packets]

def main():
    kernel = os.uname().release
    for router in (False, True):
        teardown()
        try:
            setup(router)
            for f in (4, 6):
                q = questions(f, router)
                run = subprocess.run(["ip", "netns", "exec", NETNS + "client", sys.executable, os.path.abspath(__file__), "ask"],
                                     input=json.dumps(q), capture_output=True, text=True, check=True, timeout=120)
                name = f"kernel-{'router' if router else 'host'}-v{f}"
                lines = [f"# What Linux {kernel} answered, captured by kernel.py; {'TTL and size on the way to the VIP' if router else 'closed ports and pings of the VIP'}."]
                if router: lines.append("mtu lan 1400")
                for frame, answers in zip(q, json.loads(run.stdout)):
                    lines.append(f"in wan {frame}")
                    for a in answers:
                        icmp = int(a[46:48], 16) == 1 if f == 4 else int(a[40:42], 16) == 58
                        if f == 4:
                            lines.append("free id df" if icmp else "free id")
                        elif icmp:
                            lines.append("free tos")
                        lines.append(f"out wan {a}")
                with open(os.path.join(HERE, name + ".txt"), "w") as out:
                    out.write("\n".join(lines) + "\n")
                print(name, [len(a) for a in json.loads(run.stdout)])
        finally:
            teardown()

if sys.argv[1:] == ["ask"]:
    ask(json.load(sys.stdin))
else:
    main()
