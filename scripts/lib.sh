# Shared by the scripts: root, packages, cargo, hugepages, colours. Sourced, never run.
# Needs bash >= 4.4 and the caller's `set -uo pipefail`.

START_DIR=${START_DIR:-$PWD} # set by scripts that cd: a relative POINTSMAN is the caller's
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET_DIR=${CARGO_TARGET_DIR:-$REPO/target}

# Command or file -> Debian package. A package is asked for only when what it brings is missing.
BUILD_NEEDS="gcc:build-essential pkg-config:pkg-config libdpdk.pc:libdpdk-dev"
LAB_NEEDS="ip:iproute2 nft:nftables ethtool:ethtool openssl:openssl curl:curl wrk:wrk nginx:nginx-light
           iperf3:iperf3 /usr/bin/python3:python3 clang:clang tcpdump:tcpdump ping:iputils-ping ps:procps jq:jq"
# what single lab cases need besides, and scripts/demo does not
CASE_NEEDS="tshark:tshark dig:bind9-dnsutils traceroute:traceroute haproxy:haproxy dnsdist:dnsdist vsftpd:vsftpd
            /usr/lib/usrsctp/client:libusrsctp-examples"

# cargo's options for a machine without libdpdk: all packages and tests but those that open ports
WITHOUT_LIBDPDK="--workspace --exclude dpdk-sys --no-default-features"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    C_OK=$'\e[32m' C_BAD=$'\e[31m' C_DIM=$'\e[2m' C_BOLD=$'\e[1m' C_OFF=$'\e[0m'
else
    C_OK='' C_BAD='' C_DIM='' C_BOLD='' C_OFF=''
fi

is_root() { [ "$(id -u)" = 0 ]; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# seconds since the epoch with three decimals, without a fork
now() { printf '%s' "$EPOCHREALTIME"; }

# since START -> seconds with one decimal
since() {
    local us=$(( ${EPOCHREALTIME/[.,]/} - ${1/[.,]/} ))
    printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

# Runs a command, in a process group of its own, so that a signal to this script is handled at once and not
# after the command; end_child ends the whole group.
interruptible() {
    local rc
    set -m
    "$@" <&0 &
    CHILD=$!
    set +m
    wait "$CHILD"
    rc=$?
    CHILD=
    return "$rc"
}

end_child() {
    [ -n "${CHILD:-}" ] || return 0
    end_group TERM "$CHILD" 60
    CHILD=
}

# end_group SIGNAL LEADER SECONDS: ends a process group that was begun with `set -m`, and waits until none of it is left:
# `wait` in a trap may return at once, for the signal whose trap it is. By KILL, where the leader has not gone after so
# many seconds, or others five seconds after it.
end_group() {
    local end=$((SECONDS + $3))
    kill "-$1" -- "-$2" 2>/dev/null
    while kill -0 -- "-$2" 2>/dev/null; do
        kill -0 "$2" 2>/dev/null || [ $end -le $((SECONDS + 5)) ] || end=$((SECONDS + 5))
        if [ $SECONDS -ge $end ]; then
            kill -KILL -- "-$2" 2>/dev/null
            break
        fi
        sleep 0.05
    done
    wait "$2" 2>/dev/null
}

# supervise SCRIPT ARGUMENTS...: runs it as a child, passes signals on until they are obeyed, exits with its status.
# Why: bash 5.2 loses a signal that arrives between two command substitutions of one command (it parses the trap as a
# part of the second); a lab that lost the signal to end would go on. This shell only waits.
supervise() {
    local signal='' rc child
    trap 'signal=130' INT
    trap 'signal=143' TERM HUP
    (cd "$START_DIR" && LAB_SUPERVISED=1 exec "$BASH" "$@") <&0 &
    child=$!
    wait "$child"
    rc=$?
    while kill -0 "$child" 2>/dev/null; do
        [ -z "$signal" ] || kill -TERM "$child" 2>/dev/null
        sleep 0.2
    done
    wait "$child" 2>/dev/null
    exit "${signal:-$rc}"
}

has() {
    case $1 in
    /*) [ -e "$1" ] ;;
    # the versioned clang of a machine that has no `clang` serves as well
    clang) command -v clang || compgen -c clang- | grep -qx 'clang-[0-9]*' ;;
    libdpdk.pc) command -v pkg-config && pkg-config --atleast-version=22.11 libdpdk ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" ;;
    esac >/dev/null 2>&1
}

# missing_packages NEEDS... -> the packages to install, one line
missing_packages() {
    local need list=
    for need in $*; do
        has "${need%%:*}" || list+=" ${need#*:}"
    done
    printf '%s' "${list# }"
}

# install_packages NEEDS...: installs what is missing, quietly; says what it does.
install_packages() {
    local list log rc
    list=$(missing_packages "$@")
    [ -n "$list" ] || return 0
    command -v apt-get >/dev/null || die "needs the packages: $list (install them by your package manager)"
    echo "installing: $list" | fold -s -w 79
    log=$(mktemp)
    # shellcheck disable=SC2086
    apt_install $list >"$log" 2>&1 </dev/null
    rc=$?
    if [ "$rc" != 0 ]; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $list (see above; is the machine online?)"
    fi
    rm -f "$log"
}

POLICY_RC_D=/usr/sbin/policy-rc.d
APT_PATIENCE=300 # seconds that another apt may take: a new machine updates itself

# Packages like nginx start a service when installed, unless policy-rc.d forbids it; ours run in the lab only.
# A shell of its own, so that its trap takes the file away whatever ends it.
apt_install() (
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ ! -e "$POLICY_RC_D" ]; then
        trap 'rm -f "$POLICY_RC_D"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$POLICY_RC_D" && chmod 755 "$POLICY_RC_D"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt_when_free update || true
    apt_when_free install -y --no-install-recommends "$@"
)

# apt-get waits for dpkg's lock where it is told to, and for that of the lists never.
apt_when_free() {
    local said end=$((SECONDS + APT_PATIENCE))
    until said=$(LC_ALL=C apt-get -qq -o DPkg::Lock::Timeout="$APT_PATIENCE" "$@" 2>&1); do
        echo "$said"
        [[ $said == *"Could not get lock"* ]] && [ $SECONDS -lt $end ] || return 1
        sleep 2
    done
    echo "$said"
}

# as_root SCRIPT -> the line that runs it as root, with the cargo of the user who types it. sudo has a PATH of its own,
# which `env` replaces; rustup looks for its toolchains in HOME, which is then root's.
as_root() {
    local rustup=${RUSTUP_HOME:-'${RUSTUP_HOME:-$HOME/.rustup}'}
    if has sudo; then
        printf 'sudo env "PATH=$PATH" "RUSTUP_HOME=%s" %s' "$rustup" "$1"
    else
        printf 'su -c "env '"'PATH=\$PATH' 'RUSTUP_HOME=%s'"' %s"' "$rustup" "$1"
    fi
}

# Is there a cargo that is new enough? One line on what to do, and exit, when not.
need_cargo() {
    local want have curl=
    has curl || curl='apt-get install -y curl ca-certificates && '
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null ||
        die "cargo is missing: ${curl}curl -sSf https://sh.rustup.rs | sh -s -- -y   (Rust >= $want)"
    have=$(cd "$REPO" && cargo --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/')
    [ -n "$have" ] || die "cargo does not run: rustup default stable   (Rust >= $want)"
    [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] ||
        die "cargo $have is too old: rustup update stable && rustup default stable   (Rust >= $want)"
}

# build_pointsman: the release binary; sets POINTSMAN unless the caller replaced it.
build_pointsman() {
    if [ -n "${POINTSMAN:-}" ]; then
        # also `POINTSMAN=true`: a name on the PATH
        local given=$POINTSMAN
        POINTSMAN=$(cd "$START_DIR" && type -P "$given" | xargs -r realpath -s)
        [ -x "$POINTSMAN" ] || die "POINTSMAN=$given: no such program"
        export POINTSMAN
        return 0
    fi
    need_cargo
    interruptible cargo build --manifest-path "$REPO/Cargo.toml" --release --quiet -p pointsman </dev/null || return 1
    POINTSMAN=$TARGET_DIR/release/pointsman
    export POINTSMAN
}

HUGE_DIR=${HUGE_DIR:-/sys/kernel/mm/hugepages/hugepages-2048kB} # given by tests
HUGE_ADDED=0
HUGE_BEFORE= # while it is not known how many the kernel gave

# hugepages_reserve MIB: sets HUGEPAGES to "auto" when that much is free now, else to "never".
# What we added is given back by hugepages_restore; what was there, or others add meanwhile, is left alone.
hugepages_reserve() {
    local want=$(($1 / 2)) free before after
    HUGEPAGES=never
    export HUGEPAGES
    [ -w "$HUGE_DIR/nr_hugepages" ] || return 0
    read -r free <"$HUGE_DIR/free_hugepages"
    if [ "$free" -lt "$want" ]; then
        read -r before <"$HUGE_DIR/nr_hugepages"
        # a signal may come while the kernel looks for them
        HUGE_BEFORE=$before HUGE_ADDED=$((want - free))
        echo $((before + want - free)) >"$HUGE_DIR/nr_hugepages" 2>/dev/null
        read -r after <"$HUGE_DIR/nr_hugepages"
        HUGE_ADDED=$((after - before)) HUGE_BEFORE=
        read -r free <"$HUGE_DIR/free_hugepages"
    fi
    if [ "$free" -ge "$want" ]; then HUGEPAGES=auto; else hugepages_restore; fi
}

hugepages_restore() {
    local now
    [ "$HUGE_ADDED" -gt 0 ] || return 0
    read -r now <"$HUGE_DIR/nr_hugepages"
    # no more than was asked for: others may have added some
    [ -z "$HUGE_BEFORE" ] || [ $((now - HUGE_BEFORE)) -ge "$HUGE_ADDED" ] || HUGE_ADDED=$((now - HUGE_BEFORE))
    HUGE_BEFORE=
    [ "$HUGE_ADDED" -gt 0 ] || return 0
    [ "$now" -lt "$HUGE_ADDED" ] || echo $((now - HUGE_ADDED)) >"$HUGE_DIR/nr_hugepages" 2>/dev/null
    HUGE_ADDED=0
}
