#!/bin/bash
# One arm: client, VIP, director and servers in one subnet, on one port. A server is a client of the VIP, too.
LAB_SERVERS="fn1 fn2 dr1"
. "$(dirname "$0")/../lab.sh"

# the VIPs of this case lie in the servers' subnet
vip() {
    local n=150
    [ "$1" = fullnat ] || n=151
    if [ "$2" = 6 ]; then echo "2001:db8:2::$n"; else echo "10.2.0.$n"; fi
}

lab_up
lab_config "fullnat dr" all
# take the wan port out
awk '/^\[\[port\]\]/ {hold = $0; next} hold {if ($0 ~ /"wan"/) {skip = 1} else print hold; hold = ""}
    /^\[\[/ {skip = 0} /^$/ {skip = 0} !skip' "$LAB_DIR/pointsman.toml" >"$LAB_DIR/one" && mv "$LAB_DIR/one" "$LAB_DIR/pointsman.toml"
same "ports in the configuration" 1 "$(grep -c '^\[\[port' "$LAB_DIR/pointsman.toml")"
director_start
for f in 4 6; do
    answers fullnat $f
    answers dr $f
    names=$(for _ in 1 2 3 4; do in_ns fn1 curl -s --noproxy '*' --max-time 2 "$(url fullnat $f)/"; done)
    same "v$f: who answers fn1, a client in the same subnet" "fn1 fn1 fn2 fn2" "$(sort <<<"$names" | xargs)"
done
