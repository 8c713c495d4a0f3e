#!/bin/bash
# Answers and questions of 8 kB over UDP come in fragments, both ways and through all that translate or send on. v4 by
# net_af_xdp only: for net_af_packet the kernel puts v4 fragments together before a port sees them.
LAB_SERVERS="fn1 nat1 dr1"
. "$(dirname "$0")/../lab.sh"

METHODS="fullnat nat dr"

names_up() {
    local s vips=
    for s in $LAB_SERVERS; do
        [ "$s" != dr1 ] || vips="$(vip dr 4) $(vip dr 6)"
        # shellcheck disable=SC2086
        start_in "$s" "$LAB_DIR/$s/dns.log" /usr/bin/python3 "$LAB_HOME/dns.py" "$(server_address "$s" 4)" "$(server_address "$s" 6)" $vips
    done
}

services() {
    local m f
    # where the director sees them, a conn ends after one answer, which is all its fragments
    for m in $METHODS; do for f in 4 6; do
        service $m $f udp 53 53 "$(servers_of $m)" | sed "/^forward = \".*nat\"/a replies = 1"
    done; done
}

# digs METHOD FAMILY: an answer that came whole, as dig understands it
digs() {
    local said
    said=$(in_ns cl dig +notcp +ignore +bufsize=8192 +tries=3 +time=2 +norecurse "@$(vip "$1" "$2")" big.example TXT)
    same "$1 v$2: status" NOERROR "$(sed -n 's/.*status: \([A-Z]*\).*/\1/p' <<<"$said")"
    between "$1 v$2: bytes of the answer" 8000 8192 "$(sed -n 's/^;; MSG SIZE *rcvd: //p' <<<"$said")"
    same "$1 v$2: whole records" "$(expected)" "$(grep -o '"[a-z]\{240\}"' <<<"$said" | sort | sum_of)"
}

expected() {
    /usr/bin/python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import dns
for n in range(dns.RECORDS): print(f"\"{dns.letters(n).decode()}\"")' "$LAB_HOME" | sort | sum_of
}

put_together() { # NAME FAMILY: datagrams that its kernel put together
    local counter=IpReasmOKs
    [ "$2" = 4 ] || counter=Ip6ReasmOKs
    in_ns "$1" nstat -asz $counter | awk '/Reasm/ {print $2}'
}

serves() { # DRIVER FAMILIES
    local m f s client server
    LAB_EXTRA=$(services)
    lab_config "$METHODS" "$2" "$1"
    director_start
    for m in $METHODS; do for f in $2; do
        s=$(servers_of $m) client=$(put_together cl $f)
        digs $m $f
        # the first may be lost while the director asks for the neighbour
        server=$(put_together "$s" $f)
        same "$m v$f: ten datagrams of 8,000 bytes" "10 came back" "$(client udp "$(vip $m $f)" 7 10 8000)"
        between "$m v$f: questions that the server put together" 10 20 $(($(put_together "$s" $f) - server))
        between "$m v$f: answers that the client put together" 11 40 $(($(put_together cl $f) - client))
    done; done
    director_stop
}

lab_up
names_up
serves af_xdp "4 6"
serves af_packet 6
