#!/bin/bash
# Tunnel: IPIP, 4in4 and 6in6, taken apart by XDP at the servers, which answer the client past the director.
LAB_SERVERS="tun1 tun2"
. "$(dirname "$0")/../lab.sh"

through tunnel
