# Servers that want to be told of their clients, and services that tell them. Sourced by the proxy cases.

# telling KIND PORT DEST_PORT [PROTOCOL [SERVER]]: a full-NAT service of each family with client_address = KIND
telling() {
    local f
    for f in 4 6; do
        service fullnat $f "${4:-tcp}" "$2" "$3" "${5:-fn1}" | sed "s/^pool = .*/&\nclient_address = \"$1\"/"
    done
}

# proxy_nginx: stock nginx in fn1 that takes only conns with a PROXY header, on port 81, and logs
# "client_address client_port peer_address status" to $LAB_DIR/told.log
proxy_nginx() {
    local dir=$LAB_DIR/told
    mkdir -p "$dir/up" "$dir/tmp"
    cat >"$dir/nginx.conf" <<-END
	user root;
	daemon off;
	worker_processes 1;
	pid tmp/nginx.pid;
	events { worker_connections 1024; }
	http {
	  log_format told '\$proxy_protocol_addr \$proxy_protocol_port \$remote_addr \$status';
	  access_log $LAB_DIR/told.log told;
	  client_body_temp_path tmp;
	  proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	  default_type text/plain;
	  client_max_body_size 2g;
	  server {
	    listen 81 proxy_protocol; listen [::]:81 proxy_protocol ipv6only=on;
	    location / { return 200 "told\n"; }
	    location /up/ { root .; dav_methods PUT; }
	  }
	}
	END
    : >"$LAB_DIR/told.log"
    start_in fn1 "$dir/error.log" nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf"
    wait_for 5 listens fn1 81 || fail "nginx does not listen: $(tail -n 1 "$dir/error.log")"
}

# listens NAME PORT: something does, on TCP
listens() { in_ns "$1" ss -Hltn | awk '{print $4}' | grep -q ":$2\$"; }

# ask FAMILY PORT [CURL_OPTIONS...] -> "ANSWER LOCAL_PORT" of one request to the full-NAT VIP
ask() {
    local f=$1 port=$2
    shift 2
    in_ns cl curl -sS --noproxy '*' --max-time 5 -w ' %{local_port}' "$@" "$(url fullnat "$f" "$port")/" | tr -d '\n'
}

# told_last [FIELDS]: the last line of the log, once there is one
told_last() {
    wait_for 2 test -s "$LAB_DIR/told.log"
    tail -n 1 "$LAB_DIR/told.log" | cut -d ' ' -f "${1:-1,2}"
}
