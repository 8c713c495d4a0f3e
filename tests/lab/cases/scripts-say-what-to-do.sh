#!/bin/bash
# The scripts say in one line what to do when cargo is missing, broken or too old; without root they say what to
# install and what would have run.
. "$(dirname "$0")/../lab.sh"

TRY=$(mktemp -d) || exit 1
trap 'rm -rf "$TRY"' EXIT
trap 'exit 143' INT TERM HUP

# run_as USER SCRIPT...: with our own PATH, in a copy that everybody can read; its output in $TRY/out and $TRY/err
run_as() {
    local user=$1
    shift
    (cd "$TRY/repo" && timeout 60 setpriv --reuid "$user" --regid "$user" --clear-groups env -i "PATH=$TRY/bin" \
        HOME=/nonexistent "TMPDIR=$TRY/tmp" "$@") >"$TRY/out" 2>"$TRY/err" </dev/null
}

# cargo_is SHELL_TEXT: the only cargo there is; none without a text
cargo_is() {
    rm -f "$TRY/bin/cargo"
    [ -z "$1" ] || { printf '#!/bin/sh\n%s\n' "$1" >"$TRY/bin/cargo" && chmod 755 "$TRY/bin/cargo"; }
}

# refused SCRIPT WORDS: ends at once with an error of one line that has these words
refused() {
    run_as 0 "$1" && fail "$1 went on without a cargo that serves"
    same "$1: lines of its error" 1 "$(wc -l <"$TRY/err")"
    grep -qE -- "$2" "$TRY/err" || fail "$1: does not say /$2/: $(cat "$TRY/err")"
    ok "$(cat "$TRY/err")"
}

says() { grep -qE -- "$1" "$TRY/out" "$TRY/err" || fail "does not say /$1/: $(cat "$TRY/out" "$TRY/err")"; }

chmod 755 "$TRY"
mkdir -m 777 "$TRY/tmp"
mkdir -p "$TRY/bin" "$TRY/repo/tests" && cp -r "$REPO/scripts" "$REPO/Cargo.toml" "$TRY/repo/" &&
    cp -r "$REPO/tests/lab" "$TRY/repo/tests/" && chmod -R a+rX "$TRY/repo" || fail "no copy of the scripts"
# all programs of this machine but cargo and one that the lab needs
ln -s /usr/local/sbin/* /usr/local/bin/* /usr/sbin/* /usr/bin/* "$TRY/bin/" 2>/dev/null
rm -f "$TRY/bin"/{cargo,rustc,rustup}

cargo_is ''
# nothing is installed before cargo was looked for
mv "$TRY/bin/jq" "$TRY/jq"
rm -f "$TRY/bin/apt-get"
printf '#!/bin/sh\necho "$@" >>"%s"\n' "$TRY/apt" >"$TRY/bin/apt-get" && chmod 755 "$TRY/bin/apt-get"
for script in scripts/demo scripts/test scripts/ci scripts/fuzz; do
    refused $script 'cargo is missing: curl .*https://sh.rustup.rs .*Rust >= 1\.[0-9]+'
done
mv "$TRY/bin/curl" "$TRY/curl"
refused scripts/test 'cargo is missing: apt-get install -y curl ca-certificates && curl .*https://sh.rustup.rs'
mv "$TRY/curl" "$TRY/bin/curl"
same "what was asked of apt meanwhile" "" "$(cat "$TRY/apt" 2>/dev/null)"
mv "$TRY/jq" "$TRY/bin/jq"
cargo_is 'echo "cargo 1.63.0 (fd9c4297c 2022-07-01)"'
refused scripts/test 'cargo 1\.63\.0 is too old: rustup update stable'
cargo_is 'echo "error: no default toolchain" >&2; exit 1'
refused scripts/test 'cargo does not run: rustup default stable'

# becomes NAME SHELL_TEXT: how a user becomes root here, by a program that leaves of its environment what sudo and su do
becomes() {
    rm -f "$TRY/bin/sudo" "$TRY/bin/su"
    printf '#!/bin/sh\n%s\n' "$2" >"$TRY/bin/$1" && chmod 755 "$TRY/bin/$1"
    run_as 65534 scripts/demo && fail "scripts/demo did not fail without root"
    line=$(sed -n 's/^Run: //p' "$TRY/err")
    [[ $line == "$1 "* ]] || fail "with $1 it says: $line"
    # a cargo that only the user's PATH has, and that asks for the user's toolchains
    run_as 0 bash -c "$line" && fail "\"$line\" went on"
    grep -q 'cargo 1.2.3 is too old' "$TRY/err" || fail "\"$line\": $(cat "$TRY/err")"
    ok "$line"
}
cargo_is '[ "$RUSTUP_HOME" = /nonexistent/.rustup ] && echo "cargo 1.2.3 (0 2022-01-01)"'
becomes su "HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin exec sh -c \"\$2\""
becomes sudo "exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \"\$@\""

rm -f "$TRY/bin/jq"
run_as 65534 scripts/demo && fail "scripts/demo did not fail without root"
says 'install +jq'
says 'build +cargo build --release -p pointsman'
says 'sudo .*scripts/demo'
ok "without root scripts/demo says: $(grep -E 'needs root' "$TRY/err")"
cargo_is 'case $1 in --version) echo "cargo 9.9.9";; test) echo "$@" >>"$TMPDIR/asked"; echo "test result: ok. 7 passed; 0 failed; 0 ignored";; esac'
run_as 65534 scripts/test || fail "scripts/test failed without root: $(tail -n 3 "$TRY/out" "$TRY/err")"
says "Not run without root: $(ls "$LAB_HOME"/cases | wc -l) lab cases"
says 'apt-get install .*jq; sudo .*scripts/test'
same "its last line" "7 passed, 0 failed" "$(tail -n 1 "$TRY/out")"
rm -f "$TRY/bin/pkg-config"
run_as 65534 scripts/test || fail "scripts/test failed without libdpdk: $(tail -n 3 "$TRY/out" "$TRY/err")"
says 'apt-get install .*libdpdk-dev'
same "what it tests without libdpdk" "--workspace --exclude dpdk-sys --no-default-features" \
    "$(tail -n 1 "$TRY/tmp/asked" | grep -o -- '--workspace.*')"
