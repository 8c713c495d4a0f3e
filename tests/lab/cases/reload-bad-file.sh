#!/bin/bash
# A bad file leaves the old configuration running and says why, by `pointsman reload` and by SIGHUP.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config fullnat 4
director_start
answers fullnat 4
sed -i 's/scheduler = "rr"/scheduler = "wlcc"/' "$LAB_DIR/pointsman.toml"
said=$(pm reload 2>&1) && fail "a bad file was taken: $said"
line=$(grep -n wlcc "$LAB_DIR/pointsman.toml" | head -n 1 | cut -d : -f 1)
grep -q "pointsman.toml:$line:13" <<<"$said" || fail "reload does not say where (line $line, column 13): $said"
grep -q 'wlc' <<<"$said" || fail "reload does not name the nearest right word: $said"
ok "reload says: $(grep error <<<"$said" | head -n 1 | tail -c 60)"
answers fullnat 4
kill -HUP "$DIRECTOR_PID"
wait_for 3 director_logged wlcc || fail "the log does not say why SIGHUP changed nothing"
answers fullnat 4
lab_config fullnat 4
pm reload >/dev/null || fail "the mended file was refused"
answers fullnat 4
