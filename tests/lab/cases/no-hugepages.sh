#!/bin/bash
# Without hugepages: what the scripts reserve is none, and given back where it is not enough; the director they then
# configure serves all the same; "require" says what to do.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
mkdir "$LAB_DIR/few"
echo 7 >"$LAB_DIR/few/nr_hugepages"
echo 0 >"$LAB_DIR/few/free_hugepages"
HUGE_DIR=$LAB_DIR/few hugepages_reserve 300
same "hugepages = on a machine whose kernel finds none" never "$HUGEPAGES"
same "hugepages reserved there, as before" 7 "$(cat "$LAB_DIR/few/nr_hugepages")"
HUGEPAGES=
HUGE_DIR=$LAB_DIR/none hugepages_reserve 300
same "hugepages = on a machine that has none" never "$HUGEPAGES"
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
