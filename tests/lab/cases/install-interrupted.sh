#!/bin/bash
# What the scripts change while they install packages (policy-rc.d, so that no service starts) is as before when they are
# interrupted; they wait for another apt that has the lock. A made apt-get, nothing is installed.
. "$(dirname "$0")/../lab.sh"

TRY=$(mktemp -d) || exit 1
JOB=
tidy() {
    [ -z "$JOB" ] || kill -KILL -- "-$JOB" 2>/dev/null
    rm -rf "$TRY"
}
trap tidy EXIT
trap 'exit 143' INT TERM HUP

# apt_is SHELL_TEXT: what `apt-get install` does; which packages it is asked for is written down
apt_is() {
    printf '#!/bin/sh\ncase "$*" in *install*) echo "$@" >>"%s"; %s;; esac\n' "$TRY/asked" "$1" >"$TRY/bin/apt-get"
    chmod 755 "$TRY/bin/apt-get"
    rm -f "$TRY/asked"
}

# install: as the scripts do, in a process group of its own, JOB
install() {
    set -m
    PATH=$TRY/bin:$PATH bash -c 'trap "exit 130" INT; . "$1/scripts/lib.sh"; POLICY_RC_D=$2; APT_PATIENCE=5
        install_packages "no-such-program:a-package"; echo "went on"' - "$REPO" "$TRY/policy-rc.d" >"$TRY/out" 2>&1 </dev/null &
    JOB=$!
    set +m
}

ended() { # STATUS WHAT
    local rc
    wait "$JOB"
    rc=$?
    JOB=
    same "$2: status" "$1" "$rc"
    same "$2: policy-rc.d left" "${3:-}" "$(cat "$TRY/policy-rc.d" 2>/dev/null)"
}

mkdir "$TRY/bin"
apt_is "grep 101 $TRY/policy-rc.d >/dev/null || exit 1"
install
ended 0 "packages that install"
grep -q -- '--no-install-recommends a-package' "$TRY/asked" || fail "apt-get was asked for: $(cat "$TRY/asked")"
apt_is 'echo "E: Unable to locate package" >&2; exit 100'
install
ended 1 "a package that does not install"
grep -q 'could not install: a-package' "$TRY/out" || fail "it does not say what failed: $(cat "$TRY/out")"
apt_is 'sleep 60'
install
wait_for 5 test -s "$TRY/asked" || fail "apt-get was not asked"
[ -e "$TRY/policy-rc.d" ] || fail "there is no policy-rc.d while apt-get installs"
kill -INT -- "-$JOB" # as ^C does
ended 130 "interrupted"
echo "theirs" >"$TRY/policy-rc.d"
install
wait_for 5 test -s "$TRY/asked" || fail "apt-get was not asked"
kill -INT -- "-$JOB"
ended 130 "interrupted, where there was one" theirs
rm -f "$TRY/policy-rc.d"
apt_is '[ "$(wc -l <'"$TRY"'/asked)" -gt 1 ] || { echo "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7" >&2; exit 100; }'
install
ended 0 "another apt had the lock"
same "times that apt-get was asked" 2 "$(wc -l <"$TRY/asked")"
