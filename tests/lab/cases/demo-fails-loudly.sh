#!/bin/bash
# scripts/demo fails, by name and exit status, with a binary that does nothing; on a machine without hugepages it goes on
# without.
. "$(dirname "$0")/../lab.sh"
. "$(dirname "$0")/../lib/demo.sh"

export HUGE_DIR=/none
demo_with /bin/true && fail "it exits 0 with a binary that does nothing"
grep -q '^FAIL .*(director full-NAT NAT DR IPIP' "$SAID" || fail "it does not say what failed: $(tail -n 3 "$SAID")"
ok "it fails with a binary that does nothing"
grep -q '^lab .* no hugepages' "$SAID" || fail "it does not say that it has no hugepages: $(grep '^lab' "$SAID")"
ok "it goes on without hugepages"
