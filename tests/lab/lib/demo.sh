# Runs scripts/demo. Sourced by the cases demo*, after lab.sh.

need_binary
SAID=$(mktemp) DEMO=
tidy() {
    [ -z "$DEMO" ] || kill -TERM -- "-$DEMO" 2>/dev/null
    rm -f "$SAID"
}
trap tidy EXIT
trap 'exit 143' INT TERM HUP

demo_with() { # BINARY: runs the demo with it and gives its status
    set -m
    POINTSMAN=$1 "$REPO/scripts/demo" >"$SAID" 2>&1 </dev/null &
    DEMO=$!
    set +m
    wait "$DEMO"
    local rc=$?
    DEMO=
    return $rc
}
