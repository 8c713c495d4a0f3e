# nginx, the small servers and iperf3 in every server's namespace. Sourced by lab.sh.

# One directory per server: nginx.conf, access.log ("client port: request status"), small.log, up/ (uploads).
servers_up() {
    local s
    for s in $LAB_SERVERS; do
        server_start "$s" || return 1
    done
    for s in $LAB_SERVERS; do
        wait_for 5 server_ready "$s" || { tail -n 5 "$LAB_DIR/$s"/*.log >&2; return 1; }
    done
}

server_start() {
    local s=$1 dir=$LAB_DIR/$1 addresses vip4='' vip6=''
    mkdir -p "$dir/up" "$dir/tmp"
    nginx_conf "$s" >"$dir/nginx.conf"
    : >"$dir/small.log"
    start_in "$s" "$dir/error.log" nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf"
    case $s in
    dr1) vip4=$(vip dr 4) vip6=$(vip dr 6) ;;
    tun?) vip4=$(vip tunnel 4) vip6=$(vip tunnel 6) ;;
    esac
    addresses="$(server_address "$s" 4) $(server_address "$s" 6) $vip4 $vip6"
    # shellcheck disable=SC2086
    start_in "$s" "$dir/servers.log" /usr/bin/python3 "$LAB_HOME/servers.py" "$s" "$dir/small.log" $addresses
    # left to itself, iperf3 answers UDP from the address the route suggests, not from the VIP it was asked at
    if [ -n "$vip4" ]; then
        start_in "$s" "$dir/iperf3.log" iperf3 --server --bind "$vip4"
        start_in "$s" "$dir/iperf3.log" iperf3 --server --bind "$vip6"
    else
        start_in "$s" "$dir/iperf3.log" iperf3 --server
    fi
}

server_ready() {
    in_ns "$1" ss -Hltn | awk '{print $4}' | grep -E -c ':(80|8080|25|26|5201)$' | grep -Eqx '[7-9]'
}

# Stock nginx, one worker. The body of /: the server's name. /1g: a file; PUT /up/NAME: an upload, kept.
nginx_conf() {
    cat <<-END
	user root;
	daemon off;
	worker_processes 1;
	pid tmp/nginx.pid;
	events { worker_connections 8192; }
	http {
	  log_format client '\$remote_addr \$remote_port "\$request" \$status \$server_port';
	  log_format second '\$msec';
	  access_log access.log client;
	  client_body_temp_path tmp;
	  proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	  default_type text/plain;
	  client_max_body_size 2g;
	  sendfile on;
	  tcp_nopush on;
	  keepalive_requests 1000000;
	  server {
	    listen 80 backlog=4096; listen [::]:80 backlog=4096 ipv6only=on;
	    listen 8080; listen [::]:8080 ipv6only=on;
	    location / { return 200 "$1\n"; }
	    location /bench { access_log ${LAB_BENCH_LOG:-off}; return 200 "$1\n"; }
	    location /files/ { alias $LAB_FILES/; }
	    location /up/ { root .; dav_methods PUT; }
	  }
	}
	END
}

# big_file: 1 GB that is no pattern (so that lost, doubled or swapped pieces change its sum), made once in
# LAB_FILES; its sum is BIG_SUM
big_file() {
    local file=$LAB_FILES/1g
    mkdir -p "$LAB_FILES"
    if [ ! -e "$file.sum" ]; then
        openssl enc -aes-128-ctr -nosalt -pass pass:pointsman -md sha256 -in /dev/zero 2>/dev/null |
            head -c 1000000000 >"$file"
        sum_of <"$file" >"$file.sum"
    fi
    read -r BIG_SUM <"$file.sum"
}

sum_of() { b2sum -l 128 | cut -d ' ' -f 1; }

# mark_logs: forgets what the servers have logged so far
mark_logs() {
    local s
    for s in $LAB_SERVERS; do : >"$LAB_DIR/$s/access.log"; : >"$LAB_DIR/$s/small.log"; done
}

# seen_by SERVER -> the client addresses in its access log, one line, each once
seen_by() { cut -d ' ' -f 1 "$LAB_DIR/$1/access.log" 2>/dev/null | sort -u | tr '\n' ' ' | sed 's/ $//'; }

# served SERVER -> how many requests it has logged
served() { wc -l <"$LAB_DIR/$1/access.log" 2>/dev/null || echo 0; }
