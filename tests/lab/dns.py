#!/usr/bin/python3
"""A name server for the lab: every question is answered by 32 TXT records of 240 letters, 8 kB in all, over UDP port 53.

usage: dns.py ADDRESS...

UDP sockets are bound to each ADDRESS by itself, as in servers.py. The letters of each record are different ones, so that
a reader sees pieces that were lost or swapped: record N has the letter of N, N + 1 and so on.
"""

import selectors
import socket
import struct
import sys

RECORDS = 32
LETTERS = 240
ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


def letters(record):
    return bytes(ALPHABET[(record + i) % len(ALPHABET)] for i in range(LETTERS))


def question_end(query):
    at = 12
    while query[at]:
        at += 1 + query[at]
    return at + 5


def answer(query):
    """RFC 1035 section 4.1: header, the question as it came, the records under its name."""
    header = query[:2] + struct.pack("!HHHHH", 0x8500, 1, RECORDS, 0, 0)
    records = b"".join(
        struct.pack("!HHHIHB", 0xC00C, 16, 1, 0, LETTERS + 1, LETTERS) + letters(n) for n in range(RECORDS)
    )
    return header + query[12 : question_end(query)] + records


def main():
    selector = selectors.DefaultSelector()
    for address in sys.argv[1:]:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 53))
        selector.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            query, peer = key.fileobj.recvfrom(65535)
            try:
                key.fileobj.sendto(answer(query), peer)
            except IndexError:
                print("not a question:", query[:64], flush=True)


if __name__ == "__main__":
    main()
