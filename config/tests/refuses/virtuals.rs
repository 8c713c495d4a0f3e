//! What services take (`[[match]]`, ranges, every port, marks), and persistence.

use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_every_port_without_persistence, PORTS,
r##"
[[service]]
address = "10.1.0.100:0"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: every port without persistence
    2 | address = "10.1.0.100:0"
      |           ^^^^^^^^^^^^^^ add persistent = 360: as in IPVS, a client's ports then go to one dest"##
}

accepts! {
    accepts_every_port_with_persistence, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:0"
forward = "nat"
persistent = true
[[service.dest]]
address = "[2001:db8:2::2]""##,
r##""##
}

refuses! {
    refuses_ranges_that_meet, PORTS,
r##"
[[service]]
address = "10.1.8.0/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.200-10.1.9.3:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.0/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:7:11: error: tcp 10.1.8.200-10.1.9.3:80 overlaps another range
    7 | address = "10.1.8.200-10.1.9.3:80"
      |           ^^^^^^^^^^^^^^^^^^^^^^^^ line 2 has some of its addresses; an address is in one range
pm.toml:12:11: error: duplicate service tcp 10.1.8.0-10.1.8.255:80
   12 | address = "10.1.8.0/24:80"
      |           ^^^^^^^^^^^^^^^^ line 2 has it already; put all dests there"##
}

accepts! {
    accepts_an_address_of_its_own_in_a_range, PORTS,
r##"
[[service]]
address = "10.1.8.0/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.7:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.0/24:81"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[2001:db8:8::10-2001:db8:8::1f]:80"
forward = "nat"
[[service.dest]]
address = "[2001:db8:2::2]""##,
r##""##
}

refuses! {
    refuses_what_is_no_range, PORTS,
r##"
[[service]]
address = "10.1.8.0/24"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.1/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.0.0.0/8:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.9-10.1.8.1:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.1-[::1]:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "2001:db8::/120:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.0/24:65536"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "127.0.0.0/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.8.1-9:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: 10.1.8.0/24 has no port
    2 | address = "10.1.8.0/24"
      |           ^^^^^^^^^^^^^ add one, such as "10.1.8.0/24:80"
pm.toml:7:11: error: 10.1.8.1/24 has host bits set
    7 | address = "10.1.8.1/24:80"
      |           ^^^^^^^^^^^^^^^^ did you mean "10.1.8.0/24"?
pm.toml:12:11: error: a range of 16777216 addresses
   12 | address = "10.0.0.0/8:80"
      |           ^^^^^^^^^^^^^^^ a service takes at most 65536
pm.toml:17:11: error: this range ends before it begins
   17 | address = "10.1.8.9-10.1.8.1:80"
      |           ^^^^^^^^^^^^^^^^^^^^^^ did you mean "10.1.8.1-10.1.8.9"?
pm.toml:22:11: error: 10.1.8.1-[::1]:80 has no brackets
   22 | address = "10.1.8.1-[::1]:80"
      |           ^^^^^^^^^^^^^^^^^^^ expected "[first-last]:port", both ends IPv6
pm.toml:27:11: error: 2001:db8::/120:80 has no brackets
   27 | address = "2001:db8::/120:80"
      |           ^^^^^^^^^^^^^^^^^^^ write "[2001:db8::/120]:80"
pm.toml:32:11: error: "65536" is not a port number
   32 | address = "10.1.8.0/24:65536"
      |           ^^^^^^^^^^^^^^^^^^^ expected 1 to 65535
pm.toml:37:11: error: 127.0.0.0 is a loopback address
   37 | address = "127.0.0.0/24:80"
      |           ^^^^^^^^^^^^^^^^^ expected the address of a host
pm.toml:42:11: error: "9" is not an IP address
   42 | address = "10.1.8.1-9:80"
      |           ^^^^^^^^^^^^^^^ write both ends in full, such as 10.2.0.100-10.2.0.110"##
}

refuses! {
    refuses_a_range_with_a_routers_address_once, PORTS,
r##"
[[service]]
address = "10.1.0.0/24:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: VIP 10.1.0.0 is the network address of 10.1.0.0/24
    2 | address = "10.1.0.0/24:80"
      |           ^^^^^^^^^^^^^^^^ expected the address of a host"##
}

refuses! {
    refuses_every_port_of_what_is_the_directors_own, PORTS,
r##"
[[service]]
address = "10.1.0.254:0"
forward = "nat"
persistent = 360
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.2.0.90-10.2.0.110:0"
forward = "nat"
persistent = 360
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
shared = true"##,
r##"
pm.toml:2:11: error: port "wan" has an own address in 10.1.0.254
    2 | address = "10.1.0.254:0"
      |           ^^^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own
pm.toml:8:11: error: pool "p" has an address in 10.2.0.90-10.2.0.110
    8 | address = "10.2.0.90-10.2.0.110:0"
      |           ^^^^^^^^^^^^^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own"##
}

refuses! {
    refuses_a_port_where_packets_keep_theirs, PORTS,
r##"
[[service]]
address = "10.1.0.100:0"
forward = "nat"
persistent = 360
[[service.dest]]
address = "10.2.0.2:80"
[[service]]
mark = 1
forward = "nat"
persistent = 360
[[service.dest]]
address = "10.2.0.2:80"
[[match]]
mark = 1
destination = "10.1.0.101""##,
r##"
pm.toml:6:11: error: a dest with port 80
    6 | address = "10.2.0.2:80"
      |           ^^^^^^^^^^^^^ a packet keeps the port it was for: leave it out
pm.toml:12:11: error: a dest with port 80
   12 | address = "10.2.0.2:80"
      |           ^^^^^^^^^^^^^ a packet keeps the port it was for: leave it out"##
}

accepts! {
    accepts_a_mark_whose_dests_have_ports, PORTS,
r##"
[[service]]
mark = 1
forward = "nat"
[[service.dest]]
address = "10.2.0.2:80"
[[service.dest]]
address = "10.2.0.3"
[[match]]
mark = 1
destination = ["10.1.0.101", "10.1.8.0/24"]
source = "192.0.2.0/24"
ports = [80, "8000-8080"]
protocol = "tcp""##,
r##""##
}

refuses! {
    refuses_what_a_mark_has_not, PORTS,
r##"
[[service]]
mark = 1
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
mark = 2
protocol = "udp"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
mark = 3
forward = "fullnat"
pool = "p"
client_address = "toa"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
family = "ipv6"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
mark = 0
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
[[match]]
mark = 1
destination = "10.1.0.101"
[[match]]
mark = 2
destination = "10.1.0.101"
[[match]]
mark = 3
destination = "10.1.0.101""##,
r##"
pm.toml:3:11: error: a service with mark and address
    3 | address = "10.1.0.100:80"
      |           ^^^^^^^^^^^^^^^ it takes what a [[match]] marks, or what is for its address: leave one out
pm.toml:9:12: error: protocol of a mark
    9 | protocol = "udp"
      |            ^^^^^ leave it out: the [[match]] says which packets bear the mark
pm.toml:17:18: error: client_address of a mark
   17 | client_address = "toa"
      |                  ^^^^^ leave it out, or say address instead of mark
pm.toml:22:10: error: family without mark
   22 | family = "ipv6"
      |          ^^^^^^ leave it out: the address says it
pm.toml:27:8: error: mark 0 is out of range
   27 | mark = 0
      |        ^ expected 1 to 4294967295"##
}

refuses! {
    refuses_one_mark_twice_in_a_family, PORTS,
r##"
[[service]]
mark = 1
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
mark = 1
family = "ipv6"
forward = "nat"
[[service.dest]]
address = "[2001:db8:2::2]"
[[service]]
mark = 1
name = "again"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[match]]
mark = 1
destination = ["10.1.0.101", "2001:db8:1::101"]"##,
r##"
pm.toml:13:8: error: duplicate service mark 1
   13 | mark = 1
      |        ^ line 2 has it already; put all dests there"##
}

accepts! {
    warns_of_a_mark_that_no_match_sets, PORTS,
r##"
[[service]]
mark = 7
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:8: warning: no [[match]] has mark 7
    2 | mark = 7
      |        ^ no packet bears it: add a [[match]]"##
}

refuses! {
    refuses_a_match_that_matches_nothing_well, PORTS,
r##"
[[match]]
mark = 1
[[match]]
destination = "10.1.0.101"
[[match]]
mark = 2
destination = []
[[match]]
mark = 3
destination = ["10.1.0.254", "10.2.0.100"]
[[match]]
mark = 4
destination = "10.1.0.101"
source = "2001:db8::/64"
protocol = ["tcp", "tcp"]
[[match]]
mark = 5
destination = "10.0.0.0/8"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
shared = true"##,
r##"
pm.toml:1:1: error: [[match]] has no destination
    1 | [[match]]
      | ^^^^^^^^^ add destination = ["10.1.0.100", "10.1.8.0/24"]
pm.toml:3:1: error: [[match]] has no mark
    3 | [[match]]
      | ^^^^^^^^^ add mark = 1
pm.toml:7:15: error: destination is empty
    7 | destination = []
      |               ^^ write destination = ["10.1.0.100", "10.1.8.0/24"]
pm.toml:10:16: error: port "wan" has an own address in 10.1.0.254
   10 | destination = ["10.1.0.254", "10.2.0.100"]
      |                ^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own
pm.toml:10:30: error: pool "p" has an address in 10.2.0.100
   10 | destination = ["10.1.0.254", "10.2.0.100"]
      |                              ^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own
pm.toml:14:10: error: no destination is IPv6
   14 | source = "2001:db8::/64"
      |          ^^^^^^^^^^^^^^^ source 2001:db8::/64 needs one
pm.toml:15:20: error: tcp twice
   15 | protocol = ["tcp", "tcp"]
      |                    ^^^^^ once is enough
pm.toml:18:15: error: a range of 16777216 addresses
   18 | destination = "10.0.0.0/8"
      |               ^^^^^^^^^^^^ a [[match]] is for at most 65536"##
}

refuses! {
    refuses_persistence_that_is_none, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
persistence_prefix = 24
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
forward = "nat"
persistent = 360
persistence_prefix = 33
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.102:80"
forward = "nat"
persistent = 2678401
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.103:80"
forward = "nat"
persistent = "long"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:22: error: persistence_prefix without persistent
    4 | persistence_prefix = 24
      |                      ^^ add persistent = 360, or leave it out
pm.toml:11:22: error: persistence_prefix 33 is out of range
   11 | persistence_prefix = 33
      |                      ^^ expected 1 to 32 bits
pm.toml:17:14: error: persistent 2678401 is out of range
   17 | persistent = 2678401
      |              ^^^^^^^ expected 1 to 2678400 s
pm.toml:23:14: error: persistent must be an integer, not a string
   23 | persistent = "long"
      |              ^^^^^^ write persistent = 360"##
}

refuses! {
    refuses_another_dest_for_a_persistent_client, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
persistent = 360
retries = 2
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:53"
forward = "nat"
protocol = "udp"
persistent = true
on_dead = "reselect"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:5:11: error: retries of a persistent service
    5 | retries = 2
      |           ^ a persistent service's clients have one dest: leave it out
pm.toml:13:11: error: on_dead = "reselect" of a persistent service
   13 | on_dead = "reselect"
      |           ^^^^^^^^^^ a persistent service's clients have one dest: leave it out"##
}

refuses! {
    refuses_what_a_protocol_or_method_has_not, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
one_packet = true
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:53"
forward = "nat"
protocol = "udp"
tcp_timeout = 30
tcp_fin_timeout = 30
no_dest = "reset"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:53"
protocol = "udp"
forward = "fullnat"
pool = "p"
one_packet = true
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:4:14: error: one_packet of a tcp service
    4 | one_packet = true
      |              ^^^^ it is for UDP: leave it out
pm.toml:11:15: error: tcp_timeout of a udp service
   11 | tcp_timeout = 30
      |               ^^ it is for TCP: leave it out
pm.toml:12:19: error: tcp_fin_timeout of a udp service
   12 | tcp_fin_timeout = 30
      |                   ^^ it is for TCP: leave it out
pm.toml:13:11: error: no_dest = "reset" of a udp service
   13 | no_dest = "reset"
      |           ^^^^^^^ it is for TCP and SCTP: leave it out
pm.toml:21:14: error: one_packet by "fullnat"
   21 | one_packet = true
      |              ^^^^ no answer would find its client: take "dr" or "tunnel", or replies = 1"##
}

refuses! {
    refuses_a_lower_threshold_above_the_upper_one, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
upper = 10
lower = 11
[[service.dest]]
address = "10.2.0.3"
lower = 1
[[service.dest]]
address = "10.2.0.4"
upper = 10
lower = 10"##,
r##"
pm.toml:7:9: error: lower 11 is above upper
    7 | lower = 11
      |         ^^ expected at most 10
pm.toml:10:9: error: lower without upper
   10 | lower = 1
      |         ^ add upper, or leave it out"##
}

refuses! {
    refuses_sysctls_out_of_range, PORTS,
r##"
[ipvs]
conn_reuse_mode = 4
drop_entry = 4
am_droprate = 0
sloppy_tcp = 1
[[service]]
address = "10.1.0.100:80"
forward = "nat"
no_dest = "rest"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:19: error: conn_reuse_mode 4 is out of range
    2 | conn_reuse_mode = 4
      |                   ^ expected 0 to 3
pm.toml:3:14: error: drop_entry 4 is out of range
    3 | drop_entry = 4
      |              ^ expected 0 to 3
pm.toml:4:15: error: am_droprate 0 is out of range
    4 | am_droprate = 0
      |               ^ expected 1 to 65535
pm.toml:5:14: error: sloppy_tcp must be true or false, not an integer
    5 | sloppy_tcp = 1
      |              ^ write sloppy_tcp = true
pm.toml:9:11: error: unknown answer "rest"
    9 | no_dest = "rest"
      |           ^^^^^^ expected one of unreachable, reset; did you mean "reset"?"##
}

refuses! {
    refuses_a_template_table_out_of_range, PORTS,
r##"
[director]
templates = 1000
[ipvs]
expire_quiescent_templat = true
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:13: error: templates 1000 is out of range
    2 | templates = 1000
      |             ^^^^ expected 1024 to 67108864 templates
pm.toml:4:1: error: unknown key "expire_quiescent_templat" in [ipvs]
    4 | expire_quiescent_templat = true
      | ^^^^^^^^^^^^^^^^^^^^^^^^ did you mean "expire_quiescent_template"?"##
}
