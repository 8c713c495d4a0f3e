#!/bin/bash
# FTP: curl against vsftpd, passive (EPSV, PASV) and active (EPRT, PORT), up and down, by nat and full-NAT, v4 and v6, with
# two workers. The full-NAT servers have no route to the client, and the client goes where the server says.
LAB_SERVERS="fn1 fn2 nat1 nat2"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

# with_ftp METHOD: its services of FTP
with_ftp() {
    local f
    for f in 4 6; do
        service "$1" $f tcp 21 21 $(servers_of "$1") | sed 's/^forward = .*/&\nhelper = "ftp"/'
    done
}

# All servers have the same files.
vsftpds() {
    local s
    mkdir -p "$LAB_DIR/ftp/up" "$LAB_DIR/empty"
    chown ftp "$LAB_DIR/ftp/up" || fail "no user ftp, which vsftpd's package brings"
    cat >"$LAB_DIR/vsftpd.conf" <<-END
	listen_ipv6=YES
	background=NO
	anonymous_enable=YES
	no_anon_password=YES
	local_enable=NO
	anon_root=$LAB_DIR/ftp
	write_enable=YES
	anon_upload_enable=YES
	anon_umask=022
	connect_from_port_20=YES
	secure_chroot_dir=$LAB_DIR/empty
	seccomp_sandbox=NO
	xferlog_enable=NO
	END
    for s in $LAB_SERVERS; do start_in "$s" "$LAB_DIR/vsftpd.log" vsftpd "$LAB_DIR/vsftpd.conf"; done
    for s in $LAB_SERVERS; do wait_for 5 listens "$s" 21 || fail "$s: no vsftpd: $(tail -n 1 "$LAB_DIR/vsftpd.log")"; done
}

listens() { in_ns "$1" ss -Hltn | awk '{print $4}' | grep -q ":$2\$"; }

# moves METHOD FAMILY NAME CURL_OPTIONS...: a file goes up and comes down, the same it was
moves() {
    local method=$1 family=$2 name=$1-v$2-$3 host
    host=ftp://$(endpoint "$(vip "$1" "$2")" 21)/up/$name
    shift 3
    in_ns cl curl -sS --noproxy '*' --max-time 8 --no-ftp-skip-pasv-ip "$@" -T "$LAB_DIR/file" "$host" ||
        fail "$name: not sent"
    cmp -s "$LAB_DIR/file" "$LAB_DIR/ftp/up/$name" || fail "$name: another file came up"
    in_ns cl curl -sS --noproxy '*' --max-time 8 --no-ftp-skip-pasv-ip "$@" -o "$LAB_DIR/back" "$host" ||
        fail "$name: not fetched"
    cmp -s "$LAB_DIR/file" "$LAB_DIR/back" || fail "$name: another file came down"
    rm -f "$LAB_DIR/ftp/up/$name" "$LAB_DIR/back"
    moved=$((moved + 1))
}

lab_up
vsftpds
head -c 3000000 /dev/urandom >"$LAB_DIR/file"
LAB_EXTRA=$(with_ftp fullnat; with_ftp nat)
lab_config "fullnat nat" all
director_start
for m in fullnat nat; do
    moved=0
    for f in 4 6; do
        got $m $f >/dev/null || fail "$m v$f: no answer"
        moves $m $f epsv
        moves $m $f eprt -P -
    done
    moves $m 4 pasv --disable-epsv
    moves $m 4 port -P - --disable-eprt
    same "$m: files there and back" 6 "$moved"
done
sleep 1.2
# a control conn and a data conn each
same "conns of FTP's dests" 48 "$(status_json | jq '[.services[] | select(.name | endswith("tcp 21")) | .dests[].conns] | add')"
same "drops but those of a conn's end" '{}' "$(status_json | jq -c '.law.dropped
    | with_entries(select(.value > 0 and (.key | IN("not-syn", "closed-port", "neighbour-message", "multicast") | not)))')"
director_stop
