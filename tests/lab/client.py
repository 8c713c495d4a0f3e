#!/usr/bin/python3
"""What the lab's cases need from a client and curl does not do.

usage: client.py udp ADDRESS PORT COUNT SIZE [df|nodf]   COUNT datagrams from one socket, each must come back
       client.py each ADDRESS PORT COUNT                  COUNT datagrams from COUNT sockets: who answered, one per line
       client.py who ADDRESS PORT SIZE [nodf]             one datagram: "NAME LENGTH", or the error's name
       client.py greeting ADDRESS PORT                    connects, says nothing, prints the line that comes
       client.py raw ADDRESS PORT TEXT                    sends TEXT (with \\r, \\n), prints the first line that comes
       client.py hops ADDRESS PORT TTL                    TCP connect with a TTL: prints "connected" or the error's name
       client.py hold ADDRESS PORT SECONDS PATH           keep-alive HTTP conn, one request every 0.2 s: "N answers"
       client.py wait ADDRESS PORT SECONDS                connects, reads a line, says nothing: what comes next, and when
       client.py again ADDRESS PORT LOCAL_PORT COUNT      COUNT HTTP conns from one port, each as soon as the last has ended
       client.py together ADDRESS PORT tcp|udp SOURCE...  a conn from each address, all begun before any is answered:
                                                          "SOURCE NAME" of the server that greets or answers, one per line

Exits 1 when what was asked for did not come within 2 s (a greeting: 5 s).
"""

import errno
import random
import socket
import sys
import time

IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC = {"nodf": 0, "df": 2}


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp_socket(address, port, discover=None):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    if discover:
        if family(address) == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC[discover])
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC[discover])
    sock.settimeout(2)
    sock.connect((address, port))
    return sock


def name_of(error):
    if isinstance(error, socket.timeout):
        return "timeout"
    return errno.errorcode.get(error.errno, str(error))


def udp(address, port, count, size, discover=None):
    sock = udp_socket(address, port, discover)
    size = int(size)
    for _ in range(int(count)):
        data = random.randbytes(size)
        sock.send(data)
        back = sock.recv(65535)
        if back != data:
            sys.exit(f"sent {len(data)} bytes, {len(back)} others came back")
    print(f"{count} came back")


def each(address, port, count):
    for _ in range(int(count)):
        sock = udp_socket(address, port)
        sock.send(b"who")
        print(sock.recv(100).decode().split()[0])


def who(address, port, size, discover=None):
    sock = udp_socket(address, port, discover)
    sock.send(b"who".ljust(int(size), b"."))
    print(sock.recv(100).decode())


def greeting(address, port):
    with socket.create_connection((address, port), 5) as sock:
        print(sock.recv(100).decode().strip())
        sock.sendall(b"QUIT\r\n")
        sock.recv(100)


def raw(address, port, text):
    with socket.create_connection((address, port), 2) as sock:
        sock.sendall(text.encode().decode("unicode_escape").encode())
        print(sock.recv(1000).decode().split("\r\n")[0])


def hops(address, port, ttl):
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    if family(address) == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(ttl))
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: an ICMP error ends the connect
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, int(ttl))
        sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)
    sock.settimeout(2)
    sock.connect((address, port))
    print("connected")


def hold(address, port, seconds, path):
    sock = socket.create_connection((address, port), 2)
    end = time.monotonic() + float(seconds)
    answers = 0
    while time.monotonic() < end:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if not sock.recv(65535).startswith(b"HTTP/1.1 200"):
            sys.exit(f"answer {answers + 1} was not a 200")
        answers += 1
        time.sleep(0.2)
    print(f"{answers} answers")


def wait(address, port, seconds):
    with socket.create_connection((address, port), 2) as sock:
        print(sock.recv(100).decode().strip(), flush=True)
        sock.settimeout(float(seconds))
        try:
            came = "data" if sock.recv(100) else "EOF"
        except OSError as error:
            came = name_of(error)
        print(f"{came} {time.time():.3f}")


def connect_when_free(sock, address, port):
    """The last conn may still wait for the ACK of its FIN."""
    for _ in range(100):
        try:
            return sock.connect((address, port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            time.sleep(0.01)
    sys.exit("the last conn from this port has not ended")


def again(address, port, local_port, count):
    """The server closes first, and only then the client: so the client's kernel lets its port go at once."""
    for turn in range(int(count)):
        sock = socket.socket(family(address), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", int(local_port)))
        sock.settimeout(2)
        connect_when_free(sock, address, port)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := sock.recv(65535):
            answer += piece
        sock.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"answer {turn + 1} was not a 200")
    print(f"{count} answers")


def together(address, port, proto, *sources):
    socks = []
    for source in sources:
        kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family(address), kind)
        sock.bind((source, 0))
        sock.setblocking(False)
        error = sock.connect_ex((address, port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "")
        if proto == "udp":
            sock.send(b"who")
        socks.append(sock)
    for source, sock in zip(sources, socks):
        sock.settimeout(5)
        words = sock.recv(100).decode().split()
        print(source, words[1] if proto == "tcp" else words[0])


def main():
    verb, address, port, *rest = sys.argv[1:]
    verbs = {"udp": udp, "each": each, "who": who, "greeting": greeting, "raw": raw, "hops": hops, "hold": hold,
             "wait": wait, "again": again, "together": together}
    try:
        verbs[verb](address, int(port), *rest)
    except OSError as error:
        print(name_of(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
