# The lab: a client, a director and real servers in network namespaces. Sourced by cases and by scripts/demo.
# Needs root and the packages of LAB_NEEDS (scripts/lib.sh). Every namespace, process and file carries this
# run's prefix and goes away with the shell that sourced this, whatever ends it.
#
#    cl:c0 10.1.0.1 ------------ d0:dir:d1 ---- sw (bridge) -+- fn1 .11  fn2 .12    full-NAT: no default route
#    cl:c1 10.2.0.1 ------------------------------+          +- nat1 .21 nat2 .22   NAT: default route = director
#    2001:db8:1::/64 client side, 2001:db8:2::/64 servers    +- dr1 .31  dr2 .32    DR: VIP on lo; nft redirect
#    director .254 (::fe), VIPs .100 to .103 (::100 ...)     +- tun1 .41 tun2 .42   tunnel: XDP decap, VIP on lo
#
# DR and tunnel servers answer the client by its second leg c1. Settings, read when lab_up runs:
# LAB_WORKERS=1|2 (queues of the director's ports), LAB_MTU=1500, LAB_CLIENT_BRIDGE=1 (a bridge between c0 and d0
# too), LAB_SNOOPING=1 (bridges snoop multicast and query), LAB_SERVERS="fn1 ..." (only these servers),
# LAB_FILES=DIR (where the 1 GB file and decap.o are, to share them between runs), LAB_KEEP=1 (leave the directory behind).

[ -n "${BASH_VERSION:-}" ] || { echo "lab.sh needs bash" >&2; exit 1; }
set -uo pipefail

LAB_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$LAB_HOME/../../scripts/lib.sh"
# a script that sources this runs as the child of a shell that watches over it
if [ -z "${LAB_SUPERVISED:-}" ] && [ "${BASH_SOURCE[-1]}" = "$0" ]; then supervise "$0" "$@"; fi
unset LAB_SUPERVISED
. "$LAB_HOME/lib/topology.sh"
. "$LAB_HOME/lib/servers.sh"
. "$LAB_HOME/lib/director.sh"
. "$LAB_HOME/lib/checks.sh"

LAB_P=pm$$           # prefix of our namespaces
LAB_DIR=             # made by lab_up
LAB_PIDS=()          # what we started and must end
LAB_NAMESPACES=()    # what we made and must delete
CHILD=               # the foreground command of interruptible()

LAB_SERVERS=${LAB_SERVERS:-fn1 fn2 nat1 nat2 dr1 dr2 tun1 tun2}
LAB_WORKERS=${LAB_WORKERS:-1}
LAB_DRIVER=${LAB_DRIVER:-af_packet}
LAB_MTU=${LAB_MTU:-1500}
LAB_TIME=$EPOCHREALTIME

# in_ns NAME COMMAND...: runs it in the namespace of cl, dir, sw or a server
in_ns() {
    local name=$1
    shift
    ip netns exec "$LAB_P-$name" "$@"
}

# start_in NAME LOG COMMAND...: the same in the background; ended by lab_down. Its pid is in STARTED.
start_in() {
    local name=$1 log=$2
    shift 2
    ip netns exec "$LAB_P-$name" "$@" >>"$log" 2>&1 </dev/null &
    STARTED=$!
    LAB_PIDS+=("$STARTED")
}

# is_over PID: has it ended? Our own children only.
is_over() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# end_pid PID [SECONDS]: TERM, wait, KILL; 1 when KILL was needed. Our own children only.
end_pid() {
    local pid=$1 n=$((${2:-3} * 50))
    kill -TERM "$pid" 2>/dev/null || { wait "$pid" 2>/dev/null; return 0; }
    until is_over "$pid"; do
        if [ $((n -= 1)) -le 0 ]; then
            kill -KILL "$pid" 2>/dev/null
            wait "$pid" 2>/dev/null
            return 1
        fi
        sleep 0.02
    done
    wait "$pid" 2>/dev/null
    return 0
}

lab_traps() {
    trap 'lab_down' EXIT
    # not by way of EXIT: a second signal would end that, before it could be ignored
    trap 'lab_down 130' INT
    trap 'lab_down 143' TERM HUP
}

lab_up() {
    is_root || die "the lab needs root"
    lab_traps
    # named before it is made: a signal that comes in between leaves nothing
    LAB_DIR=$(mktemp -u "${TMPDIR:-/tmp}/$LAB_P.XXXXXX")
    mkdir -m 755 "$LAB_DIR" || { LAB_DIR=; die "cannot make a directory under ${TMPDIR:-/tmp}"; }
    LAB_FILES=${LAB_FILES:-$LAB_DIR/files}
    lab_sweep
    mkdir -p "$LAB_FILES"
    # under its name only when it is whole: another case may look for it
    [ "$LAB_FILES/decap.o" -nt "$LAB_HOME/decap.c" ] ||
        { clang_bpf "$LAB_HOME/decap.c" "$LAB_DIR/decap.o" && mv "$LAB_DIR/decap.o" "$LAB_FILES/"; } ||
        die "clang could not compile decap.c (see above)"
    topology_up || die "the lab's network could not be made (see above)"
    servers_up || die "a lab server did not start (see above)"
}

lab_down() { # [STATUS]
    local rc=${1:-$?} pid ns
    # a reader of ours may have ended by the same signal: no word into its pipe may end this
    trap '' INT TERM HUP PIPE
    trap - EXIT
    end_child
    # in every case, also in those that leave the director running
    if [ "$rc" = 0 ] && [ -n "${DIRECTOR_PID:-}" ] && director_alive; then law_holds || rc=1; fi
    if [ "$rc" != 0 ] && declare -F case_failed >/dev/null; then case_failed; fi
    for pid in "${LAB_PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    for pid in "${LAB_PIDS[@]}"; do end_pid "$pid"; done
    for ns in "${LAB_NAMESPACES[@]}"; do
        # workers of a killed master and the like: all of them are ours, the namespace is
        for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns del "$ns" 2>/dev/null
    done
    hugepages_restore
    if [ -n "$LAB_DIR" ]; then
        if [ -n "${LAB_KEEP:-}" ]; then echo "kept: $LAB_DIR"; else rm -rf "$LAB_DIR"; fi
    fi
    exit "$rc"
}

# Namespaces left by a lab that was killed outright: ours by name, and the shell they were named after is gone.
lab_sweep() {
    local ns owner pid
    for ns in $(ip netns list | sed -n 's/^\(pm[0-9][0-9]*-[a-z0-9]*\).*/\1/p'); do
        owner=${ns#pm}
        owner=${owner%%-*}
        [ -e "/proc/$owner" ] && continue
        for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns del "$ns" 2>/dev/null
        rm -rf "${TMPDIR:-/tmp}/pm$owner".??????
    done
}

clang_bpf() { # SOURCE OBJECT [OPTIONS...]
    local clang source=$1 object=$2
    shift 2
    clang=$(command -v clang || command -v "$(compgen -c clang- | grep -x 'clang-[0-9]*' | sort -V | tail -n 1)")
    "$clang" -O2 -Wall -Wextra -Werror -target bpf "$@" -c "$source" -o "$object"
}

# wait_for SECONDS COMMAND...: asks until it holds
wait_for() {
    local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt $end ] || return 1
        sleep 0.05
    done
}
