//! `[[snat]]` and `[[snat.dest]]`, and pools called "automap".

use super::PORTS;
use super::PORTS_WITHOUT_GATEWAY;
use super::accepts;
use super::refuses;

refuses! {
    refuses_a_rule_without_source_or_what_to_leave_with, PORTS,
r##"
[[snat]]
pool = "automap"
[[snat]]
source = ["10.2.0.0/24"]
[[snat]]
source = []
pool = "automap"
"##,
r##"
pm.toml:1:1: error: [[snat]] has no source
    1 | [[snat]]
      | ^^^^^^^^ add source = ["10.2.0.0/24"]
pm.toml:3:1: error: [[snat]] does not say what conns leave with
    3 | [[snat]]
      | ^^^^^^^^ add pool = "..." (a [[pool]], or "automap" for the address of the port they leave by) or address = "..." (a VIP)
pm.toml:6:10: error: source is empty
    6 | source = []
      |          ^^ write source = ["10.2.0.0/24"]"##
}

refuses! {
    refuses_both_pool_and_address, PORTS,
r##"
[[snat]]
source = "10.2.0.0/24"
pool = "automap"
address = "10.1.0.254"
"##,
r##"
pm.toml:3:8: error: both pool and address are given
    3 | pool = "automap"
      |        ^^^^^^^^^ leave one out"##
}

refuses! {
    refuses_unknown_pools_keys_and_words, PORTS,
r##"
[[pool]]
name = "lan"
addresses = ["10.2.0.100"]
[[snat]]
source = "10.2.0.0/24"
pool = "len"
[[snat]]
sources = "10.2.0.0/24"
[[snat]]
source = "10.2.0.0/24"
pool = "automap"
protocol = ["tcp", "ping", "tcp"]
scheduler = "rr"
"##,
r##"
pm.toml:6:8: error: unknown pool "len"
    6 | pool = "len"
      |        ^^^^^ did you mean "lan"?
pm.toml:7:1: error: [[snat]] has no source
    7 | [[snat]]
      | ^^^^^^^^ add source = ["10.2.0.0/24"]
pm.toml:8:1: error: unknown key "sources" in [[snat]]
    8 | sources = "10.2.0.0/24"
      | ^^^^^^^ did you mean "source"?
pm.toml:12:20: error: unknown protocol "ping"
   12 | protocol = ["tcp", "ping", "tcp"]
      |                    ^^^^^^ expected one of tcp, udp, sctp, icmp; did you mean "icmp"?
pm.toml:12:28: error: protocol tcp is given twice
   12 | protocol = ["tcp", "ping", "tcp"]
      |                            ^^^^^ leave one out"##
}

refuses! {
    refuses_values_that_are_malformed, PORTS,
r##"
[[snat]]
source = "10.2.0.7/24"
destination = "192.0.2.0"
ports = [0, "80-79", "http", 70000, 1.5]
pool = "automap"
"##,
r##"
pm.toml:2:10: error: 10.2.0.7/24 has host bits set
    2 | source = "10.2.0.7/24"
      |          ^^^^^^^^^^^^^ did you mean "10.2.0.0/24"?
pm.toml:3:15: error: 192.0.2.0 has no prefix length
    3 | destination = "192.0.2.0"
      |               ^^^^^^^^^^^ add one, such as "192.0.2.0/24"
pm.toml:4:10: error: ports 0 is out of range
    4 | ports = [0, "80-79", "http", 70000, 1.5]
      |          ^ expected 1 to 65535
pm.toml:4:13: error: this range ends before it begins
    4 | ports = [0, "80-79", "http", 70000, 1.5]
      |             ^^^^^^^ did you mean "79-80"?
pm.toml:4:22: error: "http" is not a port number
    4 | ports = [0, "80-79", "http", 70000, 1.5]
      |                      ^^^^^^ expected 1 to 65535
pm.toml:4:30: error: ports 70000 is out of range
    4 | ports = [0, "80-79", "http", 70000, 1.5]
      |                              ^^^^^ expected 1 to 65535
pm.toml:4:37: error: ports must be ports, not a float
    4 | ports = [0, "80-79", "http", 70000, 1.5]
      |                                     ^^^ write ports = [80, "8000-8080"]"##
}

refuses! {
    refuses_ports_of_icmp_and_mixed_families, PORTS,
r##"
[[pool]]
name = "v4"
addresses = ["10.1.0.200"]
[[snat]]
source = "10.2.0.0/24"
destination = "2001:db8:9::/48"
ports = [80]
protocol = "icmp"
pool = "automap"
[[snat]]
source = ["10.2.0.0/24", "2001:db8:2::/64"]
pool = "v4"
[[snat]]
source = ["2001:db8:2::/64"]
address = ["10.1.0.254"]
"##,
r##"
pm.toml:6:15: error: destination 2001:db8:9::/48 is IPv6, no source is
    6 | destination = "2001:db8:9::/48"
      |               ^^^^^^^^^^^^^^^^^ families are not crossed here: take it out
pm.toml:7:9: error: icmp has no ports
    7 | ports = [80]
      |         ^^^^ leave them out
pm.toml:12:8: error: pool "v4" has no IPv6 address
   12 | pool = "v4"
      |        ^^^^ source 2001:db8:2::/64 needs one
pm.toml:15:12: error: address has no IPv6 address
   15 | address = ["10.1.0.254"]
      |            ^^^^^^^^^^^^ source 2001:db8:2::/64 needs one"##
}

refuses! {
    refuses_an_address_that_is_not_the_directors, PORTS,
r##"
[[snat]]
source = "10.2.0.0/24"
address = "10.1.0.77"
"##,
r##"
pm.toml:3:11: error: 10.1.0.77 is not the director's
    3 | address = "10.1.0.77"
      |           ^^^^^^^^^^^ name a VIP or a port's own address, or make a [[pool]] of it"##
}

refuses! {
    refuses_a_destination_without_a_route, PORTS_WITHOUT_GATEWAY,
r##"
[[snat]]
source = "10.2.0.0/24"
destination = ["192.0.2.0/24", "10.9.0.0/16"]
pool = "automap"
"##,
r##"
pm.toml:3:16: error: no route to destination 192.0.2.0/24
    3 | destination = ["192.0.2.0/24", "10.9.0.0/16"]
      |                ^^^^^^^^^^^^^^ add a [[route]] or a gateway, or routers: [[snat.dest]]"##
}

refuses! {
    refuses_routers_that_cannot_be, PORTS,
r##"
[[snat]]
name = "out"
source = "10.2.0.0/24"
pool = "automap"
[[snat.dest]]
address = "10.1.0.1:80"
[[snat.dest]]
address = "10.1.0.254"
[[snat.dest]]
address = "192.0.2.1"
[[snat.dest]]
address = "10.1.0.2"
[[snat.dest]]
address = "10.1.0.2"
[[snat.dest]]
address = "2001:db8:1::1"
[[snat]]
name = "out"
source = "10.2.0.0/24"
pool = "automap"
"##,
r##"
pm.toml:6:11: error: "10.1.0.1:80" is not an IP address
    6 | address = "10.1.0.1:80"
      |           ^^^^^^^^^^^^^ leave out the port
pm.toml:8:11: error: router 10.1.0.254 is port "wan"'s own address
    8 | address = "10.1.0.254"
      |           ^^^^^^^^^^^^ expected the address of a router
pm.toml:10:11: error: router 192.0.2.1 is on no port's link
   10 | address = "192.0.2.1"
      |           ^^^^^^^^^^^ expected an address in a port's prefix: 10.1.0.0/24 on wan, 10.2.0.0/24 on lan
pm.toml:14:11: error: duplicate router 10.1.0.2
   14 | address = "10.1.0.2"
      |           ^^^^^^^^^^ line 12 has it already; use weight
pm.toml:16:11: error: router 2001:db8:1::1 is IPv6, a source is IPv4
   16 | address = "2001:db8:1::1"
      |           ^^^^^^^^^^^^^^^ write one [[snat]] per family
pm.toml:18:8: error: duplicate snat "out"
   18 | name = "out"
      |        ^^^^^ line 2 has it already; names of rules are unique"##
}

refuses! {
    refuses_a_pool_called_automap_and_automap_for_nat, PORTS,
r##"
[[pool]]
name = "automap"
addresses = ["10.2.0.100"]
[[service]]
address = "10.1.0.100:80"
forward = "nat"
pool = "automap"
[[service.dest]]
address = "10.2.0.2"
"##,
r##"
pm.toml:2:8: error: a pool cannot be called "automap"
    2 | name = "automap"
      |        ^^^^^^^^^ it stands for the addresses of the port a frame leaves by; choose another
pm.toml:7:8: error: nat uses no pool
    7 | pool = "automap"
      |        ^^^^^^^^^ leave it out, or say forward = "fullnat""##
}

refuses! {
    refuses_automap_where_the_port_has_no_address_of_the_family, PORTS,
r##"
[[port]]
name = "four"
device = "net_null9"
addresses = ["10.6.0.1/24"]
[[route]]
to = "2001:db8:7::/64"
via = "fe80::1"
port = "four"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "fullnat"
pool = "automap"
[[service.dest]]
address = "[2001:db8:7::2]:80"
[[snat]]
source = "2001:db8:2::/64"
destination = "2001:db8:7::/64"
pool = "automap"
"##,
r##"
pm.toml:14:11: error: 2001:db8:7::2 is reached by port "four", which has no IPv6 address
   14 | address = "[2001:db8:7::2]:80"
      |           ^^^^^^^^^^^^^^^^^^^^ automap needs one: give that port one, or name a pool
pm.toml:17:15: error: 2001:db8:7::/64 is reached by port "four", which has no IPv6 address
   17 | destination = "2001:db8:7::/64"
      |               ^^^^^^^^^^^^^^^^^ automap needs one: give that port one, or name a pool"##
}

accepts! {
    accepts_rules_of_every_kind, PORTS,
r##"
[[vip]]
address = "10.1.0.100"
[[snat]]
source = ["10.2.0.0/24", "2001:db8:2::/64"]
pool = "automap"
ports = [443, "8000-8080"]
[[snat]]
source = "10.2.0.0/24"
address = "10.1.0.100"
protocol = "icmp"
[[snat]]
source = "10.2.0.0/24"
address = ["10.1.0.254"]
[[snat.dest]]
address = "10.1.0.1"
weight = 0
"##,
r##"
pm.toml:11:1: warning: every router has weight 0
   11 | [[snat]]
      | ^^^^^^^^ it passes no new conns"##
}

accepts! {
    accepts_full_nat_by_automap, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "automap"
[[service.dest]]
address = "10.2.0.2"
"##,
r##"
"##
}

refuses! {
    refuses_dr_with_a_pool_and_names_the_internet_gateway, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
pool = "automap"
[[service.dest]]
address = "10.2.0.2"
"##,
r##"
pm.toml:4:8: error: dr uses no pool
    4 | pool = "automap"
      |        ^^^^^^^^^ leave it out; for an internet gateway (source leased, destination kept) write a [[snat]] with a [[snat.dest]] for each router"##
}
