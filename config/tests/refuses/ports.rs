//! `[[port]]` and `[[route]]`.

use super::NO_PORTS;
use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_empty_file, NO_PORTS,
r##"
"##,
r##"
pm.toml:1:1: error: no [[port]]
    1 | 
      | ^ a director needs at least one port; pointsman.example.toml shows one"##
}

refuses! {
    refuses_two_ports_of_one_name, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "wan"
device = "net_af_packet1,iface=d1"
addresses = ["10.2.0.254/24"]"##,
r##"
pm.toml:6:8: error: duplicate port "wan"
    6 | name = "wan"
      |        ^^^^^ line 2 has it already; names of ports are unique"##
}

refuses! {
    refuses_an_interface_used_twice, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "lan"
device = "net_af_xdp0,iface=d0"
addresses = ["10.2.0.254/24"]"##,
r##"
pm.toml:7:10: error: interface d0 is used twice
    7 | device = "net_af_xdp0,iface=d0"
      |          ^^^^^^^^^^^^^^^^^^^^^^ line 3 has it already; every port needs its own"##
}

refuses! {
    refuses_a_virtual_device_used_twice, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "lan"
device = "net_af_packet0,iface=d1"
addresses = ["10.2.0.254/24"]"##,
r##"
pm.toml:7:10: error: device net_af_packet0 is used twice
    7 | device = "net_af_packet0,iface=d1"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^ line 3 has it already; every port needs its own"##
}

refuses! {
    refuses_a_pci_device_used_twice, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "0000:03:00.0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "lan"
device = "03:00.0"
addresses = ["10.2.0.254/24"]"##,
r##"
pm.toml:7:10: error: device 0000:03:00.0 is used twice
    7 | device = "03:00.0"
      |          ^^^^^^^^^ line 3 has it already; every port needs its own"##
}

refuses! {
    refuses_what_is_not_a_device, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "eth0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "a"
device = "net_af_packet0"
addresses = ["10.3.0.1/24"]
[[port]]
name = "b"
device = ""
addresses = ["10.4.0.1/24"]
[[port]]
name = "c"
device = "00:1f:03:00.0"
addresses = ["10.5.0.1/24"]
[[port]]
name = "d"
device = "net_af_packet1, iface=eth0"
addresses = ["10.6.0.1/24"]"##,
r##"
pm.toml:3:10: error: "eth0" is not a device
    3 | device = "eth0"
      |          ^^^^^^ expected a DPDK device, such as "net_af_packet0,iface=eth0" or "0000:03:00.0"
pm.toml:7:10: error: "net_af_packet0" has no iface
    7 | device = "net_af_packet0"
      |          ^^^^^^^^^^^^^^^^ name a kernel interface: "net_af_packet0,iface=eth1"
pm.toml:11:10: error: "" is not a device
   11 | device = ""
      |          ^^ expected a DPDK device, such as "net_af_packet0,iface=eth1" or "0000:03:00.0"
pm.toml:15:10: error: "00:1f:03:00.0" is not a device
   15 | device = "00:1f:03:00.0"
      |          ^^^^^^^^^^^^^^^ expected a DPDK device, such as "net_af_packet0,iface=eth1" or "0000:03:00.0"
pm.toml:19:10: error: "net_af_packet1, iface=eth0" is not a device
   19 | device = "net_af_packet1, iface=eth0"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected no spaces in it"##
}

refuses! {
    refuses_what_is_not_an_own_address, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]"##,
r##"
pm.toml:4:14: error: 10.1.0.254 has no prefix length
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |              ^^^^^^^^^^^^ add one, such as "10.1.0.254/24"
pm.toml:4:28: error: 10.1.0.0/24 is the network, not an address in it
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                            ^^^^^^^^^^^^^ expected this port's own address with the prefix length, such as 10.1.0.254/24
pm.toml:4:43: error: 10.1.0.255/24 is the broadcast address, not an address in it
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                           ^^^^^^^^^^^^^^^ expected this port's own address with the prefix length, such as 10.1.0.254/24
pm.toml:4:60: error: 2001:db8::/64 is the network, not an address in it
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                                            ^^^^^^^^^^^^^^^ expected this port's own address with the prefix length, such as 10.1.0.254/24
pm.toml:4:77: error: fe80::1 is link-local
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                                                             ^^^^^^^^^^^^ leave it out: every port makes its own link-local address
pm.toml:4:91: error: "33" is not a prefix length
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                                                                           ^^^^^^^^^^^^^ expected 0 to 32
pm.toml:4:106: error: "" is not a prefix length
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                                                                                          ^^^^^^^^^^^ expected 0 to 32
pm.toml:4:119: error: 224.0.0.1 is a multicast address
    4 | addresses = ["10.1.0.254", "10.1.0.0/24", "10.1.0.255/24", "2001:db8::/64", "fe80::1/64", "10.1.0.1/33", "10.1.0.1/", "224.0.0.1/4"]
      |                                                                                                                       ^^^^^^^^^^^^^ expected an address for this port"##
}

refuses! {
    refuses_a_port_without_addresses, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = []"##,
r##"
pm.toml:4:13: error: addresses is empty
    4 | addresses = []
      |             ^^ a port needs at least one own address, of either family"##
}

refuses! {
    refuses_a_subnet_on_two_ports, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["10.1.0.253/25"]"##,
r##"
pm.toml:8:14: error: 10.1.0.253/25 overlaps 10.1.0.254/24 of port "wan"
    8 | addresses = ["10.1.0.253/25"]
      |              ^^^^^^^^^^^^^^^ line 4: a subnet is connected to one port only"##
}

refuses! {
    refuses_an_own_address_given_twice, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24", "10.1.0.254/24"]"##,
r##"
pm.toml:4:31: error: duplicate address 10.1.0.254
    4 | addresses = ["10.1.0.254/24", "10.1.0.254/24"]
      |                               ^^^^^^^^^^^^^^^ line 4 has it already"##
}

refuses! {
    refuses_a_gateway_outside_the_connected_prefixes, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = "10.3.0.1""##,
r##"
pm.toml:5:11: error: gateway 10.3.0.1 is not on this port's link
    5 | gateway = "10.3.0.1"
      |           ^^^^^^^^^^ expected an address in a prefix of this port: 10.1.0.0/24 on wan"##
}

refuses! {
    refuses_a_gateway_of_a_family_the_port_has_not, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = "2001:db8::1""##,
r##"
pm.toml:5:11: error: gateway 2001:db8::1 is not on this port's link
    5 | gateway = "2001:db8::1"
      |           ^^^^^^^^^^^^^ expected an address in a prefix of this port: none of this family"##
}

refuses! {
    refuses_two_gateways_of_a_family, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = ["10.1.0.1", "10.1.0.2"]"##,
r##"
pm.toml:5:24: error: a second IPv4 gateway
    5 | gateway = ["10.1.0.1", "10.1.0.2"]
      |                        ^^^^^^^^^^ at most one per family; use [[route]] for more"##
}

refuses! {
    refuses_a_gateway_that_is_the_director, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = "10.1.0.254""##,
r##"
pm.toml:5:11: error: gateway 10.1.0.254 is the director's own
    5 | gateway = "10.1.0.254"
      |           ^^^^^^^^^^^^ expected the router's address"##
}

refuses! {
    refuses_a_gateway_that_is_a_broadcast_address, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = "10.1.0.255""##,
r##"
pm.toml:5:11: error: 10.1.0.255 is the broadcast address of 10.1.0.0/24
    5 | gateway = "10.1.0.255"
      |           ^^^^^^^^^^^^ expected the router's address"##
}

refuses! {
    refuses_port_numbers_out_of_range, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
vlan = 4095
mtu = 9001
rx_ring = 16
[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["2001:db8:2::1/64"]
mtu = 1279"##,
r##"
pm.toml:5:8: error: vlan 4095 is out of range
    5 | vlan = 4095
      |        ^^^^ expected 1 to 4094
pm.toml:6:7: error: mtu 9001 is out of range
    6 | mtu = 9001
      |       ^^^^ expected 576 to 9000 bytes
pm.toml:7:11: error: rx_ring 16 is out of range
    7 | rx_ring = 16
      |           ^^ expected 32 to 32768 descriptors
pm.toml:12:7: error: mtu 1279 on a port with IPv6
   12 | mtu = 1279
      |       ^^^^ IPv6 needs 1280 bytes (RFC 8200, section 5)"##
}

refuses! {
    refuses_a_route_with_host_bits, PORTS,
r##"
[[route]]
to = "10.9.0.1/16"
via = "10.2.0.1""##,
r##"
pm.toml:2:6: error: 10.9.0.1/16 has host bits set
    2 | to = "10.9.0.1/16"
      |      ^^^^^^^^^^^^^ did you mean "10.9.0.0/16"?"##
}

refuses! {
    refuses_a_next_hop_on_no_port, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.3.0.1""##,
r##"
pm.toml:3:7: error: next hop 10.3.0.1 is on no port's link
    3 | via = "10.3.0.1"
      |       ^^^^^^^^^^ expected an address in a port's prefix: 10.1.0.0/24 on wan, 10.2.0.0/24 on lan"##
}

refuses! {
    refuses_a_next_hop_on_another_port, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.1"
port = "wan""##,
r##"
pm.toml:3:7: error: next hop 10.2.0.1 is not on the link of port "wan"
    3 | via = "10.2.0.1"
      |       ^^^^^^^^^^ expected an address in 10.1.0.0/24 on wan"##
}

refuses! {
    refuses_a_route_over_an_unknown_port, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.1"
port = "dmz""##,
r##"
pm.toml:4:8: error: unknown port "dmz"
    4 | port = "dmz"
      |        ^^^^^ expected one of wan, lan"##
}

refuses! {
    refuses_a_link_local_next_hop_without_a_port, PORTS,
r##"
[[route]]
to = "2001:db8:9::/48"
via = "fe80::1""##,
r##"
pm.toml:3:7: error: fe80::1 may be on any port
    3 | via = "fe80::1"
      |       ^^^^^^^^^ say on which: port = "wan""##
}

refuses! {
    refuses_a_next_hop_of_another_family, PORTS,
r##"
[[route]]
to = "2001:db8:9::/48"
via = "10.2.0.1""##,
r##"
pm.toml:3:7: error: next hop 10.2.0.1 is IPv4, not IPv6
    3 | via = "10.2.0.1"
      |       ^^^^^^^^^^ a route needs a next hop of its own family"##
}

refuses! {
    refuses_a_next_hop_that_is_the_director, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.254""##,
r##"
pm.toml:3:7: error: next hop 10.2.0.254 is the director's own
    3 | via = "10.2.0.254"
      |       ^^^^^^^^^^^^ expected a router's address"##
}

refuses! {
    refuses_a_next_hop_that_is_a_broadcast_address, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.255""##,
r##"
pm.toml:3:7: error: 10.2.0.255 is the broadcast address of 10.2.0.0/24
    3 | via = "10.2.0.255"
      |       ^^^^^^^^^^^^ expected a router's address"##
}

refuses! {
    refuses_two_routes_to_one_prefix, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.1"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.2""##,
r##"
pm.toml:5:6: error: duplicate route to 10.8.0.0/16
    5 | to = "10.8.0.0/16"
      |      ^^^^^^^^^^^^^ line 2 has it already"##
}

refuses! {
    refuses_a_route_to_a_connected_prefix, PORTS,
r##"
[[route]]
to = "10.2.0.0/24"
via = "10.1.0.1""##,
r##"
pm.toml:2:6: error: 10.2.0.0/24 is connected to port "lan"
    2 | to = "10.2.0.0/24"
      |      ^^^^^^^^^^^^^ leave the route out: its addresses are neighbours"##
}

refuses! {
    refuses_a_default_route_besides_a_gateway, PORTS,
r##"
[[route]]
to = "0.0.0.0/0"
via = "10.2.0.1""##,
r##"
pm.toml:2:6: error: duplicate route to 0.0.0.0/0
    2 | to = "0.0.0.0/0"
      |      ^^^^^^^^^^^ port "wan" has a gateway, which is the same; leave one out"##
}

accepts! {
    warns_of_a_gateway_that_is_never_used, NO_PORTS,
r##"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24"]
gateway = "10.1.0.1"
[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["10.2.0.254/24"]
gateway = "10.2.0.1""##,
r##"
pm.toml:10:11: warning: gateway 10.2.0.1 is never used
   10 | gateway = "10.2.0.1"
      |           ^^^^^^^^^^ port "wan" has the IPv4 gateway; use [[route]] here"##
}

refuses! {
    refuses_two_routes_to_one_prefix_from_one_source, PORTS,
r##"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.0/24"
via = "10.2.0.1"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.0/24"
via = "10.2.0.2""##,
r##"
pm.toml:6:6: error: duplicate route to 0.0.0.0/0 from 10.2.0.0/24
    6 | to = "0.0.0.0/0"
      |      ^^^^^^^^^^^ line 2 has it already"##
}

refuses! {
    refuses_a_route_from_another_family, PORTS,
r##"
[[route]]
to = "0.0.0.0/0"
from = "2001:db8:2::/64"
via = "10.2.0.1""##,
r##"
pm.toml:3:8: error: from 2001:db8:2::/64 is IPv6, not IPv4
    3 | from = "2001:db8:2::/64"
      |        ^^^^^^^^^^^^^^^^^ a route needs sources of its own family"##
}

refuses! {
    refuses_a_route_from_everywhere, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
from = "0.0.0.0/0"
via = "10.2.0.1""##,
r##"
pm.toml:3:8: error: from 0.0.0.0/0 is every source
    3 | from = "0.0.0.0/0"
      |        ^^^^^^^^^^^ leave it out"##
}

refuses! {
    refuses_a_from_with_host_bits, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
from = "10.2.0.7/24"
via = "10.2.0.1""##,
r##"
pm.toml:3:8: error: 10.2.0.7/24 has host bits set
    3 | from = "10.2.0.7/24"
      |        ^^^^^^^^^^^^^ did you mean "10.2.0.0/24"?"##
}

accepts! {
    accepts_default_routes_from_sources_besides_a_gateway, PORTS,
r##"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.0/24"
via = "10.2.0.1"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.0/25"
via = "10.2.0.2""##,
""
}
