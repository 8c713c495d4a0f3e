#!/bin/bash
# GUE and GRE, with their checksums, and IP in IP of the other family, one after another by reloads under the same
# clients. tests/lab/decap.c takes them apart at the servers, which answer past the director.
LAB_SERVERS="tun1 tun2"
. "$(dirname "$0")/../lab.sh"

# in_tunnels KEYS...: the configuration with these keys of every service
in_tunnels() {
    local keys
    keys=$(printf '%s\\n' "$@")
    lab_config tunnel all
    sed -i "s/^forward = \"tunnel\"\$/&\\n${keys%\\n}/" "$LAB_DIR/pointsman.toml"
}

# The dests of v4 services are v6 ones, and the reverse.
crossed() {
    sed -E -i 's/^address = "10\.2\.0\.(4[12]):/address = "[2001:db8:2::\1]:/; t
        s/^address = "\[2001:db8:2::(4[12])\]:/address = "10.2.0.\1:/' "$LAB_DIR/pointsman.toml"
}

both_answer() { # WHAT
    local f
    for f in 4 6; do answers tunnel $f || fail "$1, v$f"; done
}

lab_up
in_tunnels 'tunnel = "gue"' 'tunnel_port = 6080' 'tunnel_checksum = "csum"'
director_start
both_answer gue
in_tunnels 'tunnel = "gre"' 'tunnel_checksum = "csum"'
pm reload >/dev/null || fail "the reload was refused"
both_answer gre
in_tunnels 'tunnel = "ipip"'
crossed
pm reload >/dev/null || fail "the reload was refused"
both_answer "ipip of the other family"
in_tunnels 'tunnel = "gue"' 'tunnel_port = 6080'
crossed
pm reload >/dev/null || fail "the reload was refused"
both_answer "gue of the other family"
