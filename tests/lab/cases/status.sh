#!/bin/bash
# `pointsman status` and `status --json`: version, uptime, ports with link, MAC, driver and counters, workers, services,
# dests, conns, the conservation law with every name.
LAB_SERVERS="fn1 fn2"
. "$(dirname "$0")/../lab.sh"

# asked WHAT WANTED JQ_FILTER
asked() { same "$1" "$2" "$(jq -r "$3" "$LAB_DIR/status.json")"; }

lab_up
lab_config fullnat all
director_start
for n in 1 2 3 4 5 6; do get fullnat 4 >/dev/null || fail "no answer to request $n"; done
client udp "$(vip fullnat 4)" 7 5 100 >/dev/null || fail "no echo"
sleep 1.2 # counters are published by the workers now and then
status_json >"$LAB_DIR/status.json" || fail "status --json failed"
asked version "$("$POINTSMAN" --version | awk '{print $NF}')" .version
asked pid "$DIRECTOR_PID" .pid
asked "uptime is seconds" true '.uptime_seconds > 1 and .uptime_seconds < 60'
asked "ports" "wan lan" '[.ports[].name] | join(" ")'
asked "drivers" "net_af_packet net_af_packet" '[.ports[].driver] | join(" ")'
asked "MACs" "$(mac_in dir d0) $(mac_in dir d1)" '[.ports[].mac] | join(" ")'
asked "links" "true true" '[.ports[].link_up | tostring] | join(" ")'
asked "counters of ports" true '[.ports[] | .rx_packets > 20, .tx_packets > 20, .rx_bytes > 1000] | all'
asked "workers' cores" "$(worker_cores 1)" '[.workers[].core] | join(", ")'
asked "busy ratio" true '[.workers[].busy | . >= 0 and . <= 1] | all'
asked "TCP conns of the web service's dests" "3 3" \
    '[.services[] | select(.address == "10.1.0.100:80").dests[].conns | tostring] | join(" ")'
asked "packets both ways" true '[.services[] | select(.address == "10.1.0.100:80").dests[] | .in_packets > 9, .out_packets > 9] | all'
asked "conns in the table" true '.conns.used >= 7 and .conns.opened >= 7'
asked "law" true '.law.holds'
asked "no reason called other" "" '.law.dropped, .law.made, .law.consumed | keys[] | select(. == "other")'
asked "received is made of its parts" true '.law.received + .law.taken_over + ([.law.made[]] | add)
    == .law.sent + .law.handed_over + .law.to_control + ([.law.consumed[]] | add) + .law.held + ([.law.dropped[]] | add)'
status >"$LAB_DIR/status.txt" || fail "status failed"
for word in "$(mac_in dir d0)" net_af_packet 10.1.0.100:80 10.2.0.11:80 '2001:db8:1::100' received sent; do
    grep -q -- "$word" "$LAB_DIR/status.txt" || fail "status does not show $word"
done
ok "status for people shows ports, services, dests and the law"
"$POINTSMAN" status -s "$LAB_DIR/none.sock" >"$LAB_DIR/said" 2>&1 && fail "status without a director succeeds"
ok "without a director: $(head -n 1 "$LAB_DIR/said")"
