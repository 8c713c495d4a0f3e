#!/usr/bin/env python3
"""untunnel.py DEVICE: makes a TUN device and gives it what is in packets of IP in IP (RFC 2003, RFC 2473) that the
kernel hands to nobody else: those that came in fragments, which decap.c lets pass and the kernel puts together.
Says "ready" when it listens; counts packets to standard output when it is ended."""

import fcntl
import os
import select
import signal
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SO_RCVBUFFORCE = 33
IPIP, IPV6 = 4, 41

tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(), IFF_TUN | IFF_NO_PI))
sockets = {}
for family, protocol in ((socket.AF_INET, IPIP), (socket.AF_INET6, IPV6)):
    s = socket.socket(family, socket.SOCK_RAW, protocol)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    s.setblocking(False)
    sockets[s.fileno()] = s

taken = {fd: 0 for fd in sockets}


def end(*_):
    print(*taken.values(), flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
buffer = memoryview(bytearray(65536))
poll = select.poll()
for fd in sockets:
    poll.register(fd, select.POLLIN)
while True:
    for fd, _ in poll.poll():
        s = sockets[fd]
        for _ in range(256):
            try:
                got = s.recv_into(buffer)
            except BlockingIOError:
                break
            # A v4 raw socket gives the outer header, too, a v6 one does not.
            outer = (buffer[0] & 15) * 4 if s.family == socket.AF_INET else 0
            try:
                os.write(tun, buffer[outer:got])
                taken[fd] += 1
            except OSError:
                pass  # no packet, or the device is not up yet
