#!/bin/bash
# Without hugepages: "never" and "auto" serve all the same, "require" says what to do.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
HUGEPAGES=never
lab_config fullnat 4
director_start
answers fullnat 4
director_stop
# as much as no lab has reserved
HUGEPAGES=require
lab_config fullnat 4
sed -i 's/^memory = .*/memory = 65536/' "$LAB_DIR/pointsman.toml"
director_try 10 && fail "started without the hugepages it requires"
tail -n 3 "$DIRECTOR_LOG" | grep -qi hugepages || fail "does not say that hugepages are missing: $(tail -n 3 "$DIRECTOR_LOG")"
ok "says: $(tail -n 1 "$DIRECTOR_LOG")"
