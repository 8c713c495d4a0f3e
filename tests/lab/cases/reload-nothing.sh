#!/bin/bash
# 100 reloads that change nothing leave rr order and counts as they were: of the very same file, and of one that says
# the same otherwise (comments, blanks, the order of keys).
LAB_SERVERS="fn1 fn2 fn3"
. "$(dirname "$0")/../lab.sh"

# The same in other words: each table's keys the other way round, blanks, comments.
otherwise() {
    awk 'function table() {for (; n; n--) printf "  %s   # %d\n\n", line[n], n}
        /^\[/ {table(); print "# a table"; print; next}
        NF {line[++n] = $0; sub(/ = /, "=", line[n])}
        END {table()}' "$1"
}

lab_up
lab_config fullnat 4
cp "$LAB_DIR/pointsman.toml" "$LAB_DIR/one.toml"
otherwise "$LAB_DIR/one.toml" >"$LAB_DIR/other.toml"
cmp -s "$LAB_DIR/one.toml" "$LAB_DIR/other.toml" && fail "both files are the same"
director_start
got fullnat 4 >/dev/null || fail "no answer"
order=
for n in $(seq 100); do
    # every file is reloaded both ways
    if [ $((n % 4)) -lt 2 ]; then cat "$LAB_DIR/other.toml"; else cat "$LAB_DIR/one.toml"; fi >"$LAB_DIR/pointsman.toml"
    if [ $((n % 2)) = 0 ]; then pm reload >/dev/null || fail "reload $n was refused"; else kill -HUP "$DIRECTOR_PID"; fi
    order+="$(get fullnat 4 | tail -c 2) "
done
for n in 1 2 3; do order+="$(get fullnat 4 | tail -c 2) "; done
# three in a row are always three different ones
read -ra turn <<<"$order"
for n in $(seq 0 $((${#turn[@]} - 4))); do
    [ "${turn[n]}" = "${turn[n + 3]}" ] && [ "${turn[n]}" != "${turn[n + 1]}" ] || fail "rr order was disturbed at $n: $order"
done
ok "rr order over 100 reloads"
same "conns counted by the dests" 104 "$(status_json | jq '[.services[] | select(.address == "10.1.0.100:80").dests[].conns] | add')"
same "what reloads have said" "nothing changed" "$(sed -n 's/.*reload: //p' "$DIRECTOR_LOG" | sort -u)"
between "reloads counted" 51 101 "$(status_json | jq .config.reloads)"
