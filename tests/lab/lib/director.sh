# The director: its configuration, start, stop and what it says of itself. Sourced by lab.sh.

# worker_cores N -> the last N cores of this machine, as TOML wants them
worker_cores() {
    local cpus n
    cpus=$(getconf _NPROCESSORS_ONLN)
    n=$(($1 < cpus ? $1 : cpus))
    seq -s ', ' $((cpus - n)) $((cpus - 1))
}

# The lab's own processes keep off the workers' cores where any core is left.
pin_lab() {
    local cpus last
    cpus=$(getconf _NPROCESSORS_ONLN)
    last=$((cpus - $1 - 1))
    [ "$last" -lt 0 ] || taskset -a -p -c "0-$last" $$ >/dev/null
}

# Queues, ring and frame sizes are the director's to add.
device() { # DRIVER INDEX IFACE
    case $1 in af_packet | af_xdp) echo "net_$1$2,iface=$3" ;; *) die "no such driver in the lab: $1" ;; esac
}

# lab_config METHOD FAMILY [DRIVER] [WORKERS]: writes $LAB_DIR/pointsman.toml.
# METHOD: fullnat nat dr tunnel or all; FAMILY: 4 6 or all. Also read: LAB_SCHED (rr), LAB_IDLE (adaptive),
# LAB_DIRECTOR, LAB_WAN, LAB_LAN (more lines for [director] and the ports), LAB_LAN_MTU, LAB_DESTS ("fn1=3 fn2": the
# dests with weights), LAB_EXTRA (more text at the end).
lab_config() {
    local methods=$1 families=$2 driver=${3:-$LAB_DRIVER} workers=${4:-$LAB_WORKERS} m f
    [ "$methods" != all ] || methods="fullnat nat dr tunnel"
    [ "$families" != all ] || families="4 6"
    pin_lab "$workers"
    {
        config_head "$driver" "$workers"
        for m in $methods; do for f in $families; do config_method "$m" "$f"; done; done
        printf '%s\n' "${LAB_EXTRA:-}"
    } >"$LAB_DIR/pointsman.toml"
}

config_head() { # DRIVER WORKERS
    cat <<-END
	[director]
	cores = [$(worker_cores "$2")]
	idle = "${LAB_IDLE:-adaptive}"
	conns = 262144
	socket = "$LAB_DIR/pointsman.sock"
	secret = "$LAB_DIR/secret"
	hugepages = "${HUGEPAGES:-auto}"
	memory = 256
	${LAB_DIRECTOR:-}
	[[port]]
	name = "wan"
	device = "$(device "$1" 0 d0)"
	addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]
	mtu = $LAB_MTU
	${LAB_WAN:-}
	[[port]]
	name = "lan"
	device = "$(device "$1" 1 d1)"
	addresses = ["10.2.0.254/24", "2001:db8:2::fe/64"]
	mtu = ${LAB_LAN_MTU:-$LAB_MTU}
	${LAB_LAN:-}
	[[pool]]
	name = "lan"
	addresses = ["10.2.0.100-10.2.0.103", "2001:db8:2::100-2001:db8:2::103"]

	END
}

# The services every method has: web, mail (the server speaks first), UDP echo, iperf3 (one dest, as it needs
# its two conns at one server) and, where the method can, a dest port that is not the service's.
config_method() { # METHOD FAMILY
    local all one
    all=${LAB_DESTS-$(servers_of "$1")}
    one=${all%%[$' \n']*}
    [ -n "$all" ] || return 0
    service "$1" "$2" tcp 80 80 $all
    service "$1" "$2" udp 7 7 $all
    service "$1" "$2" tcp 5201 5201 "$one"
    service "$1" "$2" udp 5201 5201 "$one"
    case $1 in
    fullnat | nat)
        service "$1" "$2" tcp 25 26 $all
        service "$1" "$2" tcp 8080 80 $all
        ;;
    *)
        service "$1" "$2" tcp 25 25 $all
        service "$1" "$2" tcp 8080 8080 $all
        ;;
    esac
}

endpoint() { case $1 in *:*) echo "[$1]:$2" ;; *) echo "$1:$2" ;; esac }

# service METHOD FAMILY PROTOCOL PORT DEST_PORT SERVER[=WEIGHT]...
service() {
    local method=$1 family=$2 protocol=$3 port=$4 dport=$5 s
    shift 5
    printf '[[service]]\nname = "%s"\naddress = "%s"\nprotocol = "%s"\nscheduler = "%s"\nforward = "%s"\n' \
        "$method v$family $protocol $port" "$(endpoint "$(vip "$method" "$family")" "$port")" \
        "$protocol" "${LAB_SCHED:-rr}" "$method"
    [ "$method" != fullnat ] || echo 'pool = "lan"'
    for s in "$@"; do
        printf '[[service.dest]]\naddress = "%s"\nweight = %s\n' \
            "$(endpoint "$(server_address "${s%=*}" "$family")" "$dport")" "$(weight_of "$s")"
    done
    echo
}

weight_of() { case $1 in *=*) echo "${1#*=}" ;; *) echo 1 ;; esac }

# The lab is pinned to some cores, the director is not: a prefix for its command.
on_all_cores() { echo "taskset -c 0-$(($(getconf _NPROCESSORS_ONLN) - 1))"; }

# director_try [SECONDS]: starts it and waits until it says that it is ready; 1 when it does not.
director_try() {
    DIRECTOR_LOG=$LAB_DIR/director.log
    local n=$((${1:-10} * 20)) from
    touch "$DIRECTOR_LOG"
    from=$(($(wc -c <"$DIRECTOR_LOG") + 1))
    start_in dir "$DIRECTOR_LOG" $(on_all_cores) "$POINTSMAN" run -c "$LAB_DIR/pointsman.toml"
    DIRECTOR_PID=$STARTED
    until tail -c "+$from" "$DIRECTOR_LOG" | grep -qw ready; do
        if [ $((n -= 1)) -le 0 ]; then
            DIRECTOR_SAID="it did not say within ${1:-10} s that it is ready"
            return 1
        elif ! director_alive; then
            wait "$DIRECTOR_PID" 2>/dev/null
            DIRECTOR_SAID="it ended at once, with status $?"
            return 1
        fi
        sleep 0.05
    done
}

director_alive() { ! is_over "$DIRECTOR_PID"; }

# director_start: the same, for cases: its failure is the case's
director_start() {
    need_binary
    director_try "$@" || fail "the director did not start: $DIRECTOR_SAID"
}

need_binary() {
    [ -n "${POINTSMAN:-}" ] || POINTSMAN=$TARGET_DIR/release/pointsman
    [ -x "$POINTSMAN" ] || fail "no binary at $POINTSMAN: cargo build --release -p pointsman"
}

# law_holds: the conservation law of the running director
law_holds() {
    local law in out
    law=$(status_json | jq -r '.law | "\(.holds) \(.inputs) \(.outputs)"')
    [[ $law == "true "* ]] && read -r _ in out <<<"$law" && [ "$in" = "$out" ] && return 0
    printf '   FAIL: the conservation law does not hold (holds, in, out): %s\n' "${law:-no status}" >&2
    return 1
}

# director_stop: SIGTERM, and it must obey within 5 s with status 0
director_stop() {
    local rc n=250
    law_holds || exit 1
    kill -TERM "$DIRECTOR_PID" 2>/dev/null || fail "the director was gone before it was stopped"
    while director_alive; do
        if [ $((n -= 1)) -le 0 ]; then
            kill -KILL "$DIRECTOR_PID" 2>/dev/null
            fail "the director did not end within 5 s of SIGTERM"
        fi
        sleep 0.02
    done
    wait "$DIRECTOR_PID"
    rc=$?
    [ "$rc" = 0 ] || fail "the director ended with status $rc after SIGTERM"
}

# pm ARGUMENTS...: asks the running director
pm() { "$POINTSMAN" "$@" -s "$LAB_DIR/pointsman.sock"; }

status() { pm status; }
status_json() { pm status --json; }

# director_logged WORDS: has it said so?
director_logged() { grep -qE -- "$1" "$DIRECTOR_LOG"; }
