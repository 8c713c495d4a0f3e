#!/bin/bash
# `pointsman check` needs no root, hugepages or NIC: it takes the lab's file and refuses a broken one, saying where.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all -- "$@"; }

lab_up
need_binary
lab_config all all
chmod 644 "$LAB_DIR/pointsman.toml"
install -m 755 "$POINTSMAN" "$LAB_DIR/pointsman"
as_nobody "$LAB_DIR/pointsman" check "$LAB_DIR/pointsman.toml" || fail "check refused the lab's own file"
ok "check takes the lab's file"
sed -i 's/forward = "fullnat"/forward = "fulnat"/' "$LAB_DIR/pointsman.toml"
said=$(as_nobody "$LAB_DIR/pointsman" check "$LAB_DIR/pointsman.toml" 2>&1) && fail "check took a broken file"
grep -q 'did you mean "fullnat"' <<<"$said" || fail "check does not name the nearest right word: $said"
between "errors reported in one go" 2 100 "$(grep -c 'error:' <<<"$said")"
