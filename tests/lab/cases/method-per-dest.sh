#!/bin/bash
# One service, four dests, four methods: real curl reaches each, and each server's log has the client that its method
# shows it. Then one of them gets another method by a reload, and the other three notice nothing.
LAB_SERVERS="fn1 nat1 dr1 tun1"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

# mixed METHOD_OF_NAT1
mixed() {
    local f s
    pin_lab "$LAB_WORKERS"
    {
        config_head af_packet "$LAB_WORKERS"
        for f in 4 6; do
            service dr "$f" tcp 80 80 | sed '/^$/d'
            echo 'pool = "lan"'
            for s in dr1: "nat1:$1" fn1:fullnat tun1:tunnel; do
                printf '[[service.dest]]\naddress = "%s"\n' "$(endpoint "$(server_address "${s%:*}" "$f")" 80)"
                [ -z "${s#*:}" ] || printf 'forward = "%s"\n' "${s#*:}"
            done
        done
    } >"$LAB_DIR/pointsman.toml"
}

# each_answers FAMILY METHOD_OF_NAT1: rr, exact per worker, comes to all; each sees what its method shows
each_answers() {
    local n names='' s m
    mark_logs
    for n in $(seq 7); do
        names+="$(get dr "$1" || { sleep 0.3; get dr "$1"; } || fail "v$1: no answer to request $n")"$'\n' || exit 1
    done
    same "v$1: servers that answered" "dr1 fn1 nat1 tun1" "$(sort -u <<<"$names" | xargs)"
    for s in dr1:dr "nat1:$2" fn1:fullnat tun1:tunnel; do
        m=${s#*:} s=${s%:*}
        [[ $(seen_by "$s") =~ ^($(pattern_seen "$m" "$1"))( ($(pattern_seen "$m" "$1")))*$ ]] ||
            fail "v$1: $s saw its client as \"$(seen_by "$s")\", which is not $m"
        ok "v$1: $s, by $m, saw its client as $(seen_by "$s")"
    done
}

# The methods that status shows, by address.
shown() { pm status --json | jq -r '[.services[0].dests | sort_by(.address)[].forward] | join(" ")'; }

lab_up
hold_vip tun1 dr || fail "tun1 cannot hold the VIP"
mixed nat
director_start
for f in 4 6; do each_answers $f nat; done
same "methods in status" "fullnat nat dr tunnel" "$(shown)"
mixed fullnat
pm reload >/dev/null || fail "the reload was refused"
for f in 4 6; do each_answers $f fullnat; done
same "methods in status" "fullnat fullnat dr tunnel" "$(shown)"
director_stop
