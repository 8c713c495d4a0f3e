#!/bin/bash
# scripts/demo fails, by name and exit status, with a binary that does nothing.
. "$(dirname "$0")/../lab.sh"
. "$(dirname "$0")/../lib/demo.sh"

demo_with /bin/true && fail "it exits 0 with a binary that does nothing"
grep -q '^FAIL .*(director full-NAT NAT DR IPIP' "$SAID" || fail "it does not say what failed: $(tail -n 3 "$SAID")"
ok "it fails with a binary that does nothing"
