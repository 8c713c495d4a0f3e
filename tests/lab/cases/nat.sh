#!/bin/bash
# NAT: the servers see the client itself; the director is their default route.
LAB_SERVERS="nat1 nat2"
. "$(dirname "$0")/../lab.sh"

through nat
