//! `forward` of dests: what is refused of one is refused at its own line.

use super::PORTS;
use super::accepts;
use super::refuses;

accepts! {
    accepts_a_method_of_each_dest, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
pool = "lan"
oversize = "fragment"
tunnel = "gue"
tunnel_port = 6080
client_address = "proxy-v1"
[[service.dest]]
address = "10.2.0.2:8080"
[[service.dest]]
address = "10.2.0.3"
forward = "dr"
[[service.dest]]
address = "10.2.0.4:8080"
forward = "fullnat"
[[service.dest]]
address = "10.9.0.5"
forward = "tunnel"
[[service.dest]]
address = "10.9.0.6"
forward = "tunnel"
tunnel = "gre"
[[pool]]
name = "lan"
addresses = ["10.2.0.100"]"##,
""
}

refuses! {
    refuses_an_unknown_method_of_a_dest, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
forward = "droute""##,
r##"
pm.toml:6:11: error: unknown forwarding method "droute"
    6 | forward = "droute"
      |           ^^^^^^^^ expected one of nat, fullnat, dr, tunnel"##
}

refuses! {
    refuses_what_a_dests_own_method_cannot_do, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2:8080"
forward = "dr"
[[service.dest]]
address = "10.9.0.3"
forward = "dr"
[[service.dest]]
address = "[2001:db8:2::4]:80"
forward = "dr"
[[service.dest]]
address = "10.2.0.5"
forward = "fullnat"
[[service.dest]]
address = "10.2.0.6"
tunnel = "gre"
[[service.dest]]
address = "10.2.0.7"
forward = "tunnel"
tunnel = "gue"
[[service.dest]]
address = "10.2.0.8:8080"
forward = "tunnel""##,
r##"
pm.toml:5:11: error: dest port 8080 is not the service's
    5 | address = "10.2.0.2:8080"
      |           ^^^^^^^^^^^^^^^ dr leaves the port as it is: expected 80, or none
pm.toml:8:11: error: dest 10.9.0.3 is behind router 10.2.0.1
    8 | address = "10.9.0.3"
      |           ^^^^^^^^^^ dr needs it on a port's link (10.1.0.0/24 on wan, 10.2.0.0/24 on lan); "tunnel" crosses routers
pm.toml:11:11: error: dest 2001:db8:2::4 is IPv6, its VIP is IPv4
   11 | address = "[2001:db8:2::4]:80"
      |           ^^^^^^^^^^^^^^^^^^^^ expected one of the VIP's family; "fullnat" and "tunnel" go from one to the other
pm.toml:15:11: error: fullnat needs a pool
   15 | forward = "fullnat"
      |           ^^^^^^^^^ add pool = "..." to the [[service]], a [[pool]] of addresses that such dests see as their clients
pm.toml:18:10: error: nat makes no tunnel
   18 | tunnel = "gre"
      |          ^^^^^ leave it out: it is for forward = "tunnel"
pm.toml:22:10: error: tunnel gue without tunnel_port
   22 | tunnel = "gue"
      |          ^^^^^ add tunnel_port = 6080, the UDP port where the dest takes GUE
pm.toml:24:11: error: dest port 8080 is not the service's
   24 | address = "10.2.0.8:8080"
      |           ^^^^^^^^^^^^^^^ tunnel leaves the port as it is: expected 80, or none"##
}

refuses! {
    refuses_keys_of_a_service_that_none_of_its_dests_is_for, PORTS,
r##"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "nat"
pool = "lan"
oversize = "fragment"
client_address = "proxy-v2"
tunnel = "gre"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
forward = "dr"
[[pool]]
name = "lan"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:5:8: error: no dest is by fullnat
    5 | pool = "lan"
      |        ^^^^^ leave it out, or say forward = "fullnat"
pm.toml:6:12: error: no dest is by tunnel
    6 | oversize = "fragment"
      |            ^^^^^^^^^^ leave it out: it is for forward = "tunnel"
pm.toml:7:18: error: no dest is by fullnat
    7 | client_address = "proxy-v2"
      |                  ^^^^^^^^^^ leave it out, or say forward = "fullnat"
pm.toml:8:10: error: nat makes no tunnel
    8 | tunnel = "gre"
      |          ^^^^^ leave it out: it is for forward = "tunnel""##
}

refuses! {
    refuses_dests_that_do_not_go_with_a_key_of_their_service, PORTS,
r##"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "dr"
one_packet = true
pool = "lan"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
forward = "fullnat"
[[service]]
address = "10.1.0.101:21"
forward = "nat"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
forward = "dr"
[[service]]
address = "10.1.0.254:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
forward = "tunnel"
[[service]]
mark = 1
forward = "nat"
[[service.dest]]
address = "10.2.0.2:80"
[[service.dest]]
address = "10.2.0.3:80"
forward = "dr"
[[match]]
mark = 1
destination = ["10.1.0.103"]
[[pool]]
name = "lan"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:11:11: error: one_packet by "fullnat"
   11 | forward = "fullnat"
      |           ^^^^^^^^^ no answer would find its client: take "dr" or "tunnel", or replies = 1
pm.toml:20:11: error: helper by "dr" or "tunnel"
   20 | forward = "dr"
      |           ^^^^ what servers say does not pass the director: leave helper out, and for passive data conns say persistent with port 21
pm.toml:22:11: error: VIP 10.1.0.254 is port "wan"'s own address
   22 | address = "10.1.0.254:80"
      |           ^^^^^^^^^^^^^^^ tunnel needs a VIP of its own: the dests hold it too
pm.toml:35:11: error: a dest with port 80
   35 | address = "10.2.0.3:80"
      |           ^^^^^^^^^^^^^ a packet keeps the port it was for: leave it out"##
}
