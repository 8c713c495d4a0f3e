#!/usr/bin/python3
"""The lab's small servers: UDP echo on port 7 and a TCP server that speaks first on ports 25 and 26.

usage: servers.py NAME LOG ADDRESS...

UDP sockets are bound to each ADDRESS by itself, so that an answer leaves from the address it was
asked at (a DR server answers from the VIP on its lo). A datagram that begins with "who" is answered
by "NAME LENGTH", every other one comes back as it is. Each client is logged as "PROTOCOL ADDRESS PORT", an error of a TCP conn as "tcp NAME".
"""

import errno
import selectors
import socket
import sys

UDP_PORT = 7
GREETING_PORTS = (25, 26)


def udp(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((address, UDP_PORT))
    sock.setblocking(False)
    return sock


def answer(sock, name, log):
    for _ in range(64):
        try:
            data, peer = sock.recvfrom(65535)
        except BlockingIOError:
            return
        if data.startswith(b"who"):
            data = f"{name} {len(data)}".encode()
        print("udp", peer[0], peer[1], file=log)
        sock.sendto(data, peer)


def greet(listener, name, log, selector):
    conn, peer = listener.accept()
    print("tcp", peer[0].removeprefix("::ffff:"), peer[1], file=log)
    conn.sendall(f"220 {name} ESMTP\r\n".encode())
    selector.register(conn, selectors.EVENT_READ, talk)


def talk(conn, name, log, selector):
    """As much SMTP as a client needs to greet and to take leave."""
    try:
        word = conn.recv(4096)[:4].upper()
        if word in (b"QUIT", b""):
            if word:
                conn.sendall(f"221 {name} bye\r\n".encode())
            selector.unregister(conn)
            conn.close()
        else:
            conn.sendall(f"250 {name}\r\n".encode())
    except OSError as error:
        print("tcp", errno.errorcode.get(error.errno, error), file=log)
        selector.unregister(conn)
        conn.close()


def main():
    name, path, *addresses = sys.argv[1:]
    log = open(path, "a", buffering=1, encoding="ascii")
    selector = selectors.DefaultSelector()
    for address in addresses:
        selector.register(udp(address), selectors.EVENT_READ, lambda s, n, o, _: answer(s, n, o))
    for port in GREETING_PORTS:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        selector.register(listener, selectors.EVENT_READ, greet)
    while True:
        for key, _ in selector.select():
            key.data(key.fileobj, name, log, selector)


if __name__ == "__main__":
    main()
