#!/bin/bash
# Persistence under two workers: the clients of one /24 (v6: /64) arrive together, by both workers, and never get two
# dests; other networks get theirs by turns; a second visit goes where the first one went.
LAB_WORKERS=2 LAB_SERVERS="fn1 fn2 nat1 nat2"
. "$(dirname "$0")/../lab.sh"

NETWORKS=$(seq 1 12) HOSTS=$(seq 1 8)

source_of() { # FAMILY NETWORK HOST
    if [ "$1" = 6 ]; then echo "2001:db8:9:$2::$3"; else echo "10.9.$2.$3"; fi
}

sources() { # FAMILY: host by host, so that a network's clients come among all others'
    local n h
    for h in $HOSTS; do for n in $NETWORKS; do source_of "$1" "$n" "$h"; done; done
}

# By network: the servers that its clients got.
dests() { # FAMILY PROTOCOL METHOD PORT
    local said
    # shellcheck disable=SC2046
    said=$(client together "$(vip "$3" "$1")" "$4" "$2" $(sources "$1")) || fail "$3 v$1 $2: $said"
    sed -E 's/[0-9a-f]+ / /' <<<"$said" | sort -u
}

lab_up
set_in cl net.ipv4.conf.all.arp_announce=2
for f in 4 6; do
    for a in $(sources $f); do echo "addr add $a/$([ $f = 6 ] && echo 128 nodad || echo 32) dev lo"; done
done | sed 's/ nodad dev lo/ dev lo nodad/' | ip -n "$LAB_P-cl" -batch - || fail "no addresses for the clients"
LAB_WAN='gateway = ["10.1.0.1", "2001:db8:1::1"]'
lab_config "fullnat nat" all
sed -i -e '/^name = ".* v4 /a persistent = 300\npersistence_prefix = 24' \
    -e '/^name = ".* v6 /a persistent = 300\npersistence_prefix = 64' "$LAB_DIR/pointsman.toml"
director_start
for m in fullnat nat; do for f in 4 6; do
    got $m $f >/dev/null || fail "$m v$f: no answer"
    for what in "tcp 25" "udp 7"; do
        read -r proto port <<<"$what"
        first=$(dests $f "$proto" $m "$port") || exit 1
        same "$m v$f $proto: networks, and dests that they got" "12 12" \
            "$(cut -d ' ' -f 1 <<<"$first" | sort -u | wc -l) $(wc -l <<<"$first")"
        same "$m v$f $proto: dests of all" "$(servers_of $m | xargs)" "$(cut -d ' ' -f 2 <<<"$first" | sort -u | xargs)"
        same "$m v$f $proto: the second visit, where it differs" "" "$(diff <(echo "$first") <(dests $f "$proto" $m "$port"))"
    done
done; done
sleep 1.2
status_json >"$LAB_DIR/status.json" || fail "status --json failed"
for m in fullnat nat; do for f in 4 6; do for what in "tcp 25" "udp 7"; do
    same "$m v$f $what: templates" 12 \
        "$(jq --arg name "$m v$f $what" '[.services[] | select(.name == $name).dests[].persistent] | add' "$LAB_DIR/status.json")"
done; done; done
same "both workers hold conns" true "$(jq '[.workers[].conns > 0] | all' "$LAB_DIR/status.json")"
same "templates listed, with those of the first requests" 100 "$(pm conns --json --limit 0 | jq -s '[.[] | select(.client | endswith(":0"))] | length')"
director_stop
