#!/bin/bash
# Large bodies up and down one keep-alive conn with a PROXY header are not off by a byte: 48 MB, or with --full 1 GB.
# May starve.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

LAB_FULL=${LAB_FULL:-0}
size=$((LAB_FULL ? 1 << 30 : 48 << 20))
requests() { [ "$(wc -l <"$LAB_DIR/told.log")" -ge "$1" ]; }
lab_up
proxy_nginx
head -c $size /dev/urandom >"$LAB_DIR/body"
LAB_EXTRA=$(telling proxy-v1 81 81; telling proxy-v2 82 81)
quiet=(-sS --noproxy '*' --max-time 100 -w '%{http_code} %{num_connects}\n')
lab_config fullnat all
director_start
sum=$(md5sum <"$LAB_DIR/body")
for v in 1 2; do for f in 4 6; do
    [ "$LAB_FULL" = 0 ] || [ $v$f = 14 ] || [ $v$f = 26 ] || continue
    : >"$LAB_DIR/told.log"
    target=$(url fullnat $f 8$v)
    # five requests: small, upload, download, upload anew, small
    in_ns cl curl "${quiet[@]}" -o /dev/null "$target/" \
        --next "${quiet[@]}" -o /dev/null -T "$LAB_DIR/body" "$target/up/a" \
        --next "${quiet[@]}" -o "$LAB_DIR/down" "$target/up/a" \
        --next "${quiet[@]}" -o /dev/null -T "$LAB_DIR/body" "$target/up/b" \
        --next "${quiet[@]}" -o "$LAB_DIR/last" "$target/" >"$LAB_DIR/codes" || fail "v$v over IPv$f: curl failed"
    same "v$v over IPv$f: status, and conns opened, by request" "200 1 201 0 200 0 201 0 200 0" "$(xargs <"$LAB_DIR/codes")"
    same "v$v over IPv$f: the body that was downloaded" "$sum" "$(md5sum <"$LAB_DIR/down")"
    same "v$v over IPv$f: the one that was uploaded after it" "$sum" "$(md5sum <"$LAB_DIR/told/up/b")"
    same "v$v over IPv$f: the request after all" told "$(cat "$LAB_DIR/last")"
    wait_for 2 requests 5
    same "v$v over IPv$f: clients and ports of five requests" "1 $(client_address $f)" \
        "$(cut -d ' ' -f 1,2 "$LAB_DIR/told.log" | sort -u | awk '{n++; a = $1} END {print n, a}')"
    rm -f "$LAB_DIR/told/up/"*
done; done
same "bad checksums at the server" 0 "$(in_ns fn1 nstat -asz TcpInCsumErrors | awk '/Csum/ {print $2}')"
same "discarded SACKs at the client" 0 "$(in_ns cl nstat -asz TcpExtTCPSACKDiscard | awk '/SACK/ {print $2}')"
director_stop
