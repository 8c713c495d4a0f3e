#!/usr/bin/python3
"""Servers that want the PROXY protocol, written from haproxy's proxy-protocol.txt, for the lab.

usage: proxied.py smtp PORT    TCP: greets with "220 CLIENT ESMTP" after the header, v1 or v2, and not before
       proxied.py udp PORT     UDP: answers each datagram by "CLIENT LENGTH" of what follows the header, v2
"""

import socket
import struct
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def client_v2(head):
    """(client's address, header's length) of a whole version 2 header."""
    version, family, length = struct.unpack("!BBH", head[12:16])
    if head[:12] != SIGNATURE or version != 0x21 or len(head) < 16 + length:
        raise ValueError(head)
    if family >> 4 == 1:
        return socket.inet_ntop(socket.AF_INET, head[16:20]), 16 + length
    return socket.inet_ntop(socket.AF_INET6, head[16:32]), 16 + length


def exactly(conn, n):
    data = b""
    while len(data) < n:
        more = conn.recv(n - len(data))
        if not more:
            raise ValueError("ended within the header")
        data += more
    return data


def client_of(conn):
    head = exactly(conn, 16)
    if head[:12] == SIGNATURE:
        return client_v2(head + exactly(conn, struct.unpack("!H", head[14:16])[0]))[0]
    while not head.endswith(b"\r\n"):
        head += exactly(conn, 1)
    word, family, client = head.decode().split(" ")[:3]
    if word != "PROXY" or family not in ("TCP4", "TCP6"):
        raise ValueError(head)
    return client


def smtp(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        conn, _ = listener.accept()
        try:
            conn.sendall(f"220 {client_of(conn)} ESMTP\r\n".encode())
            conn.recv(100)
        except (OSError, ValueError) as error:
            print("smtp:", error, flush=True)
        conn.close()


def udp(port):
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    while True:
        data, peer = sock.recvfrom(65535)
        try:
            client, length = client_v2(data)
            sock.sendto(f"{client} {len(data) - length}".encode(), peer)
        except (ValueError, struct.error) as error:
            print("udp:", error, flush=True)


{"smtp": smtp, "udp": udp}[sys.argv[1]](int(sys.argv[2]))
