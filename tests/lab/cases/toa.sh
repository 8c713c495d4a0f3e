#!/bin/bash
# TCP option 254: the client's port and address in its first segments, as tcpdump at the server reads them; then no more.
LAB_SERVERS=fn1
. "$(dirname "$0")/../lab.sh"
. "$LAB_HOME/lib/proxy.sh"

lab_up
LAB_EXTRA=$(telling toa 81 80)
lab_config fullnat all
head -c 2000000 /dev/urandom >"$LAB_DIR/upload"
director_start
count() { tcpdump -n -r "$LAB_DIR/cap" "$@" 2>/dev/null | wc -l; }
for f in 4 6; do
    capture fn1 r0 "$LAB_DIR/cap" dst port 80
    read -r answer port <<<"$(ask $f 81)"
    same "IPv$f: answer" fn1 "$answer"
    capture_end
    case $f in
    4) option="tcp[20:2] = 0xfe08 and tcp[22:2] = $port and tcp[24:4] = 0x0a010001" ;;
    6) option="ip6[60:2] = 0xfe14 and ip6[62:2] = $port and ip6[64:4] = 0x20010db8 and ip6[68:4] = 0x00010000 and
               ip6[72:4] = 0 and ip6[76:4] = 1" ;;
    esac
    between "IPv$f: segments with port and address in option 254" 2 4 "$(count "$option")"
    [ "$(count)" -gt 5 ] || fail "IPv$f: only $(count) segments in all"
    same "IPv$f: an upload of full segments" 201 "$(in_ns cl curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -T "$LAB_DIR/upload" "$(url fullnat $f 81)/up/v$f")"
    cmp "$LAB_DIR/upload" "$LAB_DIR/fn1/up/v$f" || fail "IPv$f: the upload was damaged"
done
director_stop
