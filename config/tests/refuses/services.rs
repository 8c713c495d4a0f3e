//! `[[service]]`, `[[service.dest]]` and `[[vip]]`.

use super::NO_PORTS;
use super::PORTS;
use super::PORTS_WITHOUT_GATEWAY;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_unknown_scheduler, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
scheduler = "wlcc"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:13: error: unknown scheduler "wlcc"
    4 | scheduler = "wlcc"
      |             ^^^^^^ expected one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, fo, ovf, mh, twos, none; did you mean "wlc"?"##
}

refuses! {
    refuses_an_unknown_scheduler_like_no_other, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
scheduler = "hash-ring"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:13: error: unknown scheduler "hash-ring"
    4 | scheduler = "hash-ring"
      |             ^^^^^^^^^^^ expected one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, fo, ovf, mh, twos, none"##
}

refuses! {
    refuses_flags_of_another_scheduler, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
scheduler_flags = ["sh-port"]
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:81"
forward = "nat"
scheduler = "mh"
scheduler_flags = ["mh-port", "mh-port", "mh-prot"]
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:20: error: sh-port with scheduler "wlc"
    4 | scheduler_flags = ["sh-port"]
      |                    ^^^^^^^^^ it is a flag of "sh"
pm.toml:11:31: error: mh-port twice
   11 | scheduler_flags = ["mh-port", "mh-port", "mh-prot"]
      |                               ^^^^^^^^^ once is enough
pm.toml:11:42: error: unknown scheduler flag "mh-prot"
   11 | scheduler_flags = ["mh-port", "mh-port", "mh-prot"]
      |                                          ^^^^^^^^^ expected one of sh-port, sh-fallback, mh-port, mh-fallback; did you mean "mh-port"?"##
}

refuses! {
    refuses_maglev_sizes_that_are_none, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
scheduler = "mh"
maglev_size = 65536
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:81"
forward = "nat"
scheduler = "sh"
maglev_size = 65537
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:5:15: error: 65536 is not a prime number
    5 | maglev_size = 65536
      |               ^^^^^ the next one is 65537
pm.toml:12:15: error: maglev_size with scheduler "sh"
   12 | maglev_size = 65537
      |               ^^^^^ it is of "mh""##
}

/// Nor does the kernel's table take more dests than it has buckets.
#[test]
fn refuses_more_dests_than_mh_has_buckets() {
    let mut text = String::from(
        "[[service]]\naddress = \"10.1.0.100:80\"\nforward = \"nat\"\nscheduler = \"mh\"\n",
    );
    for port in 1..=4094 {
        text += &format!("[[service.dest]]\naddress = \"10.2.0.2:{port}\"\n");
    }
    let expected = "pm.toml:1:1: error: 4093 buckets for 4094 dests\n    1 | [[service]]\n      \
                    | ^^^^^^^^^^^ a larger prime number as maglev_size, best 100 times the dests";
    crate::check(PORTS, &text, expected, true);
}

refuses! {
    refuses_another_programs_name_of_a_method, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "masq"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:3:11: error: unknown forwarding method "masq"
    3 | forward = "masq"
      |           ^^^^^^ expected one of nat, fullnat, dr, tunnel; did you mean "nat"?"##
}

refuses! {
    refuses_an_unknown_protocol, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
protocol = "dccp"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:12: error: unknown protocol "dccp"
    4 | protocol = "dccp"
      |            ^^^^^^ expected one of tcp, udp, sctp"##
}

refuses! {
    refuses_what_sctp_has_not, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
protocol = "sctp"
tcp_timeout = 30
one_packet = true
on_dead = "reset"
on_idle = "reset"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:81"
forward = "fullnat"
pool = "p"
protocol = "sctp"
on_dead = "reselect"
client_address = "proxy-v2"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:82"
forward = "nat"
sctp_timeout = 30
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:5:15: error: tcp_timeout of a sctp service
    5 | tcp_timeout = 30
      |               ^^ it is for TCP: leave it out
pm.toml:6:14: error: one_packet of a sctp service
    6 | one_packet = true
      |              ^^^^ it is for UDP: leave it out
pm.toml:7:11: error: on_dead = "reset" for sctp
    7 | on_dead = "reset"
      |           ^^^^^^^ SCTP has "keep" and "drop": its ends find out by themselves
pm.toml:8:11: error: on_idle = "reset" for sctp
    8 | on_idle = "reset"
      |           ^^^^^^^ it is for TCP; leave it out, or set sctp_timeout
pm.toml:16:11: error: on_dead = "reselect" for sctp
   16 | on_dead = "reselect"
      |           ^^^^^^^^^^ SCTP has "keep" and "drop": its ends find out by themselves
pm.toml:17:18: error: proxy-v2 for sctp
   17 | client_address = "proxy-v2"
      |                  ^^^^^^^^^^ there is no such header: leave it out
pm.toml:23:16: error: sctp_timeout of a tcp service
   23 | sctp_timeout = 30
      |                ^^ it is for SCTP: leave it out"##
}

refuses! {
    refuses_a_service_without_a_method, PORTS,
r##"
[[service]]
address = "10.1.0.100:80""##,
r##"
pm.toml:1:1: error: [[service]] has no forward
    1 | [[service]]
      | ^^^^^^^^^^^ add forward = "fullnat" (servers need nothing), "nat" (servers' gateway is the director), "dr" (servers hold the VIP, same segment) or "tunnel" (servers hold the VIP and unpack IPIP, GUE or GRE)"##
}

refuses! {
    refuses_duplicate_services, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.3""##,
r##"
pm.toml:7:11: error: duplicate service tcp 10.1.0.100:80
    7 | address = "10.1.0.100:80"
      |           ^^^^^^^^^^^^^^^ line 2 has it already; put all dests there"##
}

refuses! {
    refuses_duplicate_and_bad_names, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
name = "a"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:81"
forward = "nat"
name = "a"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
[[pool]]
name = "p"
addresses = ["10.2.0.101"]
[[pool]]
name = ""
addresses = "10.2.0.102"
[[pool]]
name = " x"
addresses = "10.2.0.103""##,
r##"
pm.toml:10:8: error: duplicate service "a"
   10 | name = "a"
      |        ^^^ line 4 has it already; names of services are unique
pm.toml:17:8: error: duplicate pool "p"
   17 | name = "p"
      |        ^^^ line 14 has it already; names of pools are unique
pm.toml:20:8: error: an empty name
   20 | name = ""
      |        ^^ expected 1 to 64 printable characters, no space at either end
pm.toml:23:8: error: " x" is not a name
   23 | name = " x"
      |        ^^^^ expected 1 to 64 printable characters, no space at either end"##
}

refuses! {
    refuses_what_is_not_a_service_address, PORTS,
r##"
[[service]]
address = "10.1.0.100"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "2001:db8:1::100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[2001:db8:1::100]"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[10.1.0.100]:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[2001:db8:1::100"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[2001:db8:1::100]80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[fe80::1%wan]:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.300:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: 10.1.0.100 has no port
    2 | address = "10.1.0.100"
      |           ^^^^^^^^^^^^ add one, such as "10.1.0.100:80"
pm.toml:7:11: error: 2001:db8:1::100:80 has no brackets
    7 | address = "2001:db8:1::100:80"
      |           ^^^^^^^^^^^^^^^^^^^^ write "[2001:db8:1::100:80]:80" or "[2001:db8:1::100]:80", whichever is meant
pm.toml:12:11: error: [2001:db8:1::100] has no port
   12 | address = "[2001:db8:1::100]"
      |           ^^^^^^^^^^^^^^^^^^^ add one, such as "[2001:db8:1::100]:80"
pm.toml:17:11: error: 10.1.0.100 is not an IPv6 address
   17 | address = "[10.1.0.100]:80"
      |           ^^^^^^^^^^^^^^^^^ brackets are for IPv6, such as "[2001:db8:1::100]:80"
pm.toml:22:11: error: "[2001:db8:1::100" has no closing bracket
   22 | address = "[2001:db8:1::100"
      |           ^^^^^^^^^^^^^^^^^^ expected "[address]:port"
pm.toml:27:11: error: "80" after the bracket
   27 | address = "[2001:db8:1::100]80"
      |           ^^^^^^^^^^^^^^^^^^^^^ expected "[address]:port"
pm.toml:32:11: error: "fe80::1%wan" is not an IP address
   32 | address = "[fe80::1%wan]:80"
      |           ^^^^^^^^^^^^^^^^^^ leave out the zone: "fe80::1"
pm.toml:37:11: error: "10.1.0.300" is not an IP address
   37 | address = "10.1.0.300:80"
      |           ^^^^^^^^^^^^^^^ expected one such as 10.1.0.1 or 2001:db8:1::1; host names are not looked up"##
}

refuses! {
    refuses_duplicate_dests, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.2:80""##,
r##"
pm.toml:7:11: error: duplicate dest 10.2.0.2:80
    7 | address = "10.2.0.2:80"
      |           ^^^^^^^^^^^^^ line 5 has it already; use weight"##
}

refuses! {
    refuses_a_dest_of_another_family, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "[2001:db8:2::2]""##,
r##"
pm.toml:5:11: error: dest 2001:db8:2::2 is IPv6, its VIP is IPv4
    5 | address = "[2001:db8:2::2]"
      |           ^^^^^^^^^^^^^^^^^ expected one of the VIP's family; "fullnat" and "tunnel" go from one to the other"##
}

accepts! {
    takes_tunnels_to_dests_of_the_other_family_and_of_several_kinds, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "tunnel"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
tunnel = "gre"
[[service]]
address = "10.1.0.100:80"
forward = "tunnel"
tunnel = "gue"
tunnel_port = 6080
tunnel_checksum = "remcsum"
[[service.dest]]
address = "[2001:db8:2::2]"
[[service.dest]]
address = "[2001:db8:2::3]"
tunnel_port = 6081
tunnel_checksum = "csum"
[[service.dest]]
address = "10.2.0.2"
tunnel = "ipip"
"##, ""
}

refuses! {
    refuses_a_dest_of_another_family_under_dr, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "dr"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:5:11: error: dest 10.2.0.2 is IPv4, its VIP is IPv6
    5 | address = "10.2.0.2"
      |           ^^^^^^^^^^ expected one of the VIP's family; "fullnat" and "tunnel" go from one to the other"##
}

accepts! {
    accepts_dests_of_both_families_under_fullnat, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "[2001:db8:2::2]"
[[pool]]
name = "p"
addresses = ["10.2.0.100", "2001:db8:2::100"]"##,
r##""##
}

refuses! {
    refuses_a_weight_out_of_range, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
weight = 65536"##,
r##"
pm.toml:6:10: error: weight 65536 is out of range
    6 | weight = 65536
      |          ^^^^^ expected 0 to 65535"##
}

refuses! {
    refuses_a_dest_no_route_reaches, PORTS_WITHOUT_GATEWAY,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "192.0.2.7""##,
r##"
pm.toml:5:11: error: no route to dest 192.0.2.7
    5 | address = "192.0.2.7"
      |           ^^^^^^^^^^^ add a [[route]] or a gateway; connected: 10.1.0.0/24 on wan, 10.2.0.0/24 on lan"##
}

refuses! {
    refuses_a_dest_behind_a_router_under_dr, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
[[service.dest]]
address = "10.9.0.2""##,
r##"
pm.toml:5:11: error: dest 10.9.0.2 is behind router 10.2.0.1
    5 | address = "10.9.0.2"
      |           ^^^^^^^^^^ dr needs it on a port's link (10.1.0.0/24 on wan, 10.2.0.0/24 on lan); "tunnel" crosses routers"##
}

refuses! {
    refuses_a_dest_behind_the_gateway_under_dr, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
[[service.dest]]
address = "192.0.2.7""##,
r##"
pm.toml:5:11: error: dest 192.0.2.7 is behind router 10.1.0.1
    5 | address = "192.0.2.7"
      |           ^^^^^^^^^^^ dr needs it on a port's link (10.1.0.0/24 on wan, 10.2.0.0/24 on lan); "tunnel" crosses routers"##
}

refuses! {
    refuses_another_dest_port_under_dr, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
[[service.dest]]
address = "10.2.0.2:8080""##,
r##"
pm.toml:5:11: error: dest port 8080 is not the service's
    5 | address = "10.2.0.2:8080"
      |           ^^^^^^^^^^^^^^^ dr leaves the port as it is: expected 80, or none"##
}

refuses! {
    refuses_another_dest_port_under_tunnel, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "tunnel"
[[service.dest]]
address = "10.2.0.2:8080""##,
r##"
pm.toml:5:11: error: dest port 8080 is not the service's
    5 | address = "10.2.0.2:8080"
      |           ^^^^^^^^^^^^^^^ tunnel leaves the port as it is: expected 80, or none"##
}

refuses! {
    refuses_an_own_address_as_vip_under_dr, PORTS,
r##"
[[service]]
address = "10.1.0.254:80"
forward = "dr"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: VIP 10.1.0.254 is port "wan"'s own address
    2 | address = "10.1.0.254:80"
      |           ^^^^^^^^^^^^^^^ dr needs a VIP of its own: the dests hold it too"##
}

refuses! {
    refuses_what_is_not_a_dest, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.254"
[[service.dest]]
address = "10.2.0.255"
[[service.dest]]
address = "127.0.0.1"
[[service.dest]]
address = "example.org"
[[service.dest]]
address = "10.2.0.2:0"
[[service.dest]]
address = "10.2.0.2:http"
[[service.dest]]
address = "10.2.0.2/24""##,
r##"
pm.toml:5:11: error: dest 10.2.0.254 is port "lan"'s own address
    5 | address = "10.2.0.254"
      |           ^^^^^^^^^^^^ expected the address of a real server
pm.toml:7:11: error: dest 10.2.0.255 is the broadcast address of 10.2.0.0/24
    7 | address = "10.2.0.255"
      |           ^^^^^^^^^^^^ expected the address of a real server
pm.toml:9:11: error: 127.0.0.1 is a loopback address
    9 | address = "127.0.0.1"
      |           ^^^^^^^^^^^ expected the address of a host
pm.toml:11:11: error: "example.org" is not an IP address
   11 | address = "example.org"
      |           ^^^^^^^^^^^^^ expected one such as 10.1.0.1 or 2001:db8:1::1; host names are not looked up
pm.toml:13:11: error: "0" is not a port number
   13 | address = "10.2.0.2:0"
      |           ^^^^^^^^^^^^ expected 1 to 65535
pm.toml:15:11: error: "http" is not a port number
   15 | address = "10.2.0.2:http"
      |           ^^^^^^^^^^^^^^^ expected 1 to 65535
pm.toml:17:11: error: "10.2.0.2/24" is not an IP address
   17 | address = "10.2.0.2/24"
      |           ^^^^^^^^^^^^^ leave out the prefix length: "10.2.0.2""##
}

refuses! {
    refuses_vips_that_are_not_unicast, PORTS,
r##"
[[service]]
address = "224.0.0.5:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "255.255.255.255:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "0.0.0.0:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "127.0.0.1:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "[ff02::1]:80"
forward = "nat"
[[service]]
address = "[::]:80"
forward = "nat"
[[service]]
address = "[::1]:80"
forward = "nat"
[[service]]
address = "[fe80::9]:80"
forward = "nat"
[[service]]
address = "[::ffff:10.1.0.1]:80"
forward = "nat""##,
r##"
pm.toml:2:11: error: 224.0.0.5 is a multicast address
    2 | address = "224.0.0.5:80"
      |           ^^^^^^^^^^^^^^ expected the address of a host
pm.toml:7:11: error: 255.255.255.255 is the broadcast address
    7 | address = "255.255.255.255:80"
      |           ^^^^^^^^^^^^^^^^^^^^ expected the address of a host
pm.toml:12:11: error: 0.0.0.0 is in 0.0.0.0/8, which no host has
   12 | address = "0.0.0.0:80"
      |           ^^^^^^^^^^^^ expected the address of a host
pm.toml:17:11: error: 127.0.0.1 is a loopback address
   17 | address = "127.0.0.1:80"
      |           ^^^^^^^^^^^^^^ expected the address of a host
pm.toml:22:11: error: ff02::1 is a multicast address
   22 | address = "[ff02::1]:80"
      |           ^^^^^^^^^^^^^^ expected the address of a host
pm.toml:25:11: error: :: is the unspecified address
   25 | address = "[::]:80"
      |           ^^^^^^^^^ expected the address of a host
pm.toml:28:11: error: ::1 is a loopback address
   28 | address = "[::1]:80"
      |           ^^^^^^^^^^ expected the address of a host
pm.toml:31:11: error: fe80::9 is link-local
   31 | address = "[fe80::9]:80"
      |           ^^^^^^^^^^^^^^ expected an address that is good on every port
pm.toml:34:11: error: ::ffff:10.1.0.1 is an IPv4 address in IPv6 form
   34 | address = "[::ffff:10.1.0.1]:80"
      |           ^^^^^^^^^^^^^^^^^^^^^^ did you mean "10.1.0.1"?"##
}

refuses! {
    refuses_vips_that_are_no_hosts_on_their_subnet, PORTS,
r##"
[[vip]]
address = "10.1.0.255"
[[vip]]
address = "10.1.0.0"
[[vip]]
address = "fe80::7"
[[vip]]
address = "239.1.1.1""##,
r##"
pm.toml:2:11: error: VIP 10.1.0.255 is the broadcast address of 10.1.0.0/24
    2 | address = "10.1.0.255"
      |           ^^^^^^^^^^^^ expected the address of a host
pm.toml:4:11: error: VIP 10.1.0.0 is the network address of 10.1.0.0/24
    4 | address = "10.1.0.0"
      |           ^^^^^^^^^^ expected the address of a host
pm.toml:6:11: error: fe80::7 is link-local
    6 | address = "fe80::7"
      |           ^^^^^^^^^ a VIP must be good on every port
pm.toml:8:11: error: 239.1.1.1 is a multicast address
    8 | address = "239.1.1.1"
      |           ^^^^^^^^^^^ expected the address of a host"##
}

refuses! {
    refuses_a_vip_that_equals_a_dest, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.1.0.100""##,
r##"
pm.toml:5:11: error: dest 10.1.0.100 is a VIP
    5 | address = "10.1.0.100"
      |           ^^^^^^^^^^^^ expected the address of a real server"##
}

refuses! {
    refuses_a_vip_that_is_the_gateway, PORTS,
r##"
[[service]]
address = "10.1.0.1:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:2:11: error: VIP 10.1.0.1 is the gateway of port "wan"
    2 | address = "10.1.0.1:80"
      |           ^^^^^^^^^^^^^ the director would answer for its own router; expected an address no other host has"##
}

refuses! {
    refuses_two_vip_tables_of_one_address, PORTS,
r##"
[[vip]]
address = "10.1.0.100"
[[vip]]
address = "10.1.0.100""##,
r##"
pm.toml:4:11: error: duplicate VIP 10.1.0.100
    4 | address = "10.1.0.100"
      |           ^^^^^^^^^^^^ line 2 has it already; one [[vip]] per address"##
}

refuses! {
    refuses_a_vip_on_an_unknown_port, PORTS,
r##"
[[vip]]
address = "10.1.0.100"
port = "wam""##,
r##"
pm.toml:3:8: error: unknown port "wam"
    3 | port = "wam"
      |        ^^^^^ did you mean "wan"?"##
}

refuses! {
    refuses_an_unknown_closed_setting, PORTS,
r##"
[[vip]]
address = "10.1.0.100"
closed = "rejct""##,
r##"
pm.toml:3:10: error: unknown closed setting "rejct"
    3 | closed = "rejct"
      |          ^^^^^^^ expected one of reject, drop; did you mean "reject"?"##
}

refuses! {
    refuses_no_dest_for_want_of_a_broken_route, PORTS_WITHOUT_GATEWAY,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "192.0.2.9"
[[route]]
to = "10.8.0.0/16"
via = "10.3.0.x""##,
r##"
pm.toml:8:7: error: "10.3.0.x" is not an IP address
    8 | via = "10.3.0.x"
      |       ^^^^^^^^^^ expected one such as 10.1.0.1 or 2001:db8:1::1; host names are not looked up"##
}

accepts! {
    warns_of_services_that_take_no_conn, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
weight = 0
[[service]]
address = "10.1.0.101:80"
forward = "nat""##,
r##"
pm.toml:1:1: warning: every dest of service "tcp 10.1.0.100:80" has weight 0
    1 | [[service]]
      | ^^^^^^^^^^^ it gets no new conns
pm.toml:7:1: warning: service "tcp 10.1.0.101:80" has no dest
    7 | [[service]]
      | ^^^^^^^^^^^ its clients are refused until one is added"##
}

accepts! {
    accepts_one_address_for_both_protocols, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
protocol = "udp"
[[service.dest]]
address = "10.2.0.2""##,
r##"
"##
}

refuses! {
    refuses_a_tunnel_by_a_port_without_an_address_of_the_family, NO_PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "tunnel"
[[service.dest]]
address = "[2001:db8:9::2]:80"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["10.1.0.254/24"]
gateway = "fe80::1""##,
r##"
pm.toml:5:11: error: the tunnel to 2001:db8:9::2 leaves by port "wan", which has no IPv6 address
    5 | address = "[2001:db8:9::2]:80"
      |           ^^^^^^^^^^^^^^^^^^^^ give that port one: the outer header's source"##
}

refuses! {
    refuses_a_6in6_tunnel_without_room_for_1280_bytes, NO_PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "tunnel"
[[service.dest]]
address = "[2001:db8:1::2]:80"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["2001:db8:1::fe/64"]
mtu = 1319"##,
r##"
pm.toml:5:11: error: the tunnel to 2001:db8:1::2 leaves by port "wan" with mtu 1319
    5 | address = "[2001:db8:1::2]:80"
      |           ^^^^^^^^^^^^^^^^^^^^ at least 1320: a packet of 1280 bytes and the outer header"##
}

accepts! {
    takes_a_6in6_tunnel_with_an_mtu_of_1320_and_a_4in4_one_with_576, NO_PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "tunnel"
[[service.dest]]
address = "[2001:db8:1::2]:80"
[[service]]
address = "10.1.0.100:80"
forward = "tunnel"
[[service.dest]]
address = "10.2.0.2"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["2001:db8:1::fe/64"]
mtu = 1320
[[port]]
name = "lan"
device = "net_null1"
addresses = ["10.2.0.254/24"]
mtu = 576"##,
""
}

accepts! {
    warns_of_more_pairs_of_pool_address_and_dest_than_workers_hold, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.3.0.0-10.3.255.255"]
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
[[service]]
address = "10.1.0.101:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.3"
[[service]]
address = "10.1.0.102:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.4"
[[service.dest]]
address = "10.2.0.5""##,
r##"
pm.toml:21:8: warning: 262144 pairs of pool address and full-NAT dest
   21 | pool = "p"
      |        ^^^ a worker has room for 131072: conns may be refused; a smaller pool does, each address carries 64511 conns to each dest"##
}

refuses! {
    refuses_a_pool_with_two_ways_to_a_dest, PORTS,
r##"
[[route]]
to = "10.9.7.0/24"
from = "10.2.0.102/31"
via = "10.1.0.9"
[[pool]]
name = "p"
addresses = ["10.2.0.100-10.2.0.103"]
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.9.7.1"
[[service.dest]]
address = "10.9.8.1""##,
r##"
pm.toml:13:11: error: pool "p" has two ways to dest 10.9.7.1
   13 | address = "10.9.7.1"
      |           ^^^^^^^^^^ a dest has one next hop: take 10.2.0.102 or 10.2.0.100 out of the pool, or name both in the route's from"##
}

refuses! {
    refuses_an_unknown_icmp_source, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
icmp_source = "routers"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:15: error: unknown ICMP source "routers"
    4 | icmp_source = "routers"
      |               ^^^^^^^^^ expected one of vip, router; did you mean "router"?"##
}

refuses! {
    refuses_an_end_that_the_protocol_does_not_know, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
on_dead = "reselect"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "nat"
on_dead = "reset"
on_idle = "reset"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:11: error: on_dead = "reselect" for tcp
    4 | on_dead = "reselect"
      |           ^^^^^^^^^^ another server knows nothing of a TCP conn: "reset" lets the client begin anew
pm.toml:11:11: error: on_dead = "reset" for udp
   11 | on_dead = "reset"
      |           ^^^^^^^ UDP has no resets: "reselect" gives the client's next datagram to another dest
pm.toml:12:11: error: on_idle = "reset" for udp
   12 | on_idle = "reset"
      |           ^^^^^^^ UDP has no resets; leave it out, or set udp_timeout"##
}

refuses! {
    refuses_an_unknown_end, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
on_dead = "rst"
on_idle = "keep"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:11: error: unknown on_dead setting "rst"
    4 | on_dead = "rst"
      |           ^^^^^ expected one of keep, reset, drop, reselect; did you mean "reset"?
pm.toml:5:11: error: unknown on_idle setting "keep"
    5 | on_idle = "keep"
      |           ^^^^^^ expected one of forget, reset"##
}

accepts! {
    takes_every_end_that_a_protocol_knows, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
on_dead = "reset"
on_idle = "reset"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "nat"
on_dead = "reselect"
on_idle = "forget"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:54"
protocol = "udp"
forward = "nat"
on_dead = "drop"
[[service.dest]]
address = "10.2.0.2""##,
""
}

accepts! {
    warns_where_ports_run_out_before_the_conn_table_that_the_file_asks_for, PORTS,
r##"
[director]
conns = 1000000
[[pool]]
name = "p"
addresses = ["10.2.0.100", "10.2.0.101"]
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
[[service]]
address = "10.1.0.101:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.3"
"##,
r##"
pm.toml:5:14: warning: full-NAT has ports for 258044 conns, director.conns is 1000000
    5 | addresses = ["10.2.0.100", "10.2.0.101"]
      |              ^^^^^^^^^^^^ each of the 4 pairs of pool address and dest has 64511; 16 pairs would do: add addresses, or lower conns"##
}

accepts! {
    says_nothing_of_ports_that_suffice, PORTS,
r##"
[director]
conns = 258044
[[pool]]
name = "p"
addresses = ["10.2.0.100-10.2.0.101"]
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[service.dest]]
address = "10.2.0.3"
"##, ""
}

accepts! {
    says_nothing_of_ports_where_other_methods_have_conns_too, PORTS,
r##"
[director]
conns = 1000000
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
"##, ""
}

refuses! {
    refuses_tunnel_keys_where_no_tunnel_is_and_what_a_kind_has_not, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
tunnel_port = 6080
[[service.dest]]
address = "10.2.0.2"
tunnel = "gre"
[[service]]
address = "10.1.0.101:80"
forward = "tunnel"
tunnel = "gue"
[[service.dest]]
address = "10.2.0.2"
tunnel = "ipip"
tunnel_checksum = "nocsum"
[[service]]
address = "10.1.0.102:80"
forward = "tunnel"
tunnel = "gre"
tunnel_checksum = "remcsum"
[[service]]
address = "10.1.0.103:80"
forward = "tunnel"
[[service.dest]]
address = "10.2.0.2"
tunnel = "vxlan"
[[service.dest]]
address = "10.2.0.3"
tunnel_port = 0
[[service.dest]]
address = "10.2.0.4"
tunnel_port = 6080"##,
r##"
pm.toml:4:15: error: dr makes no tunnel
    4 | tunnel_port = 6080
      |               ^^^^ leave it out: it is for forward = "tunnel"
pm.toml:7:10: error: dr makes no tunnel
    7 | tunnel = "gre"
      |          ^^^^^ leave it out: it is for forward = "tunnel"
pm.toml:11:10: error: tunnel gue without tunnel_port
   11 | tunnel = "gue"
      |          ^^^^^ add tunnel_port = 6080, the UDP port where the dest takes GUE
pm.toml:15:19: error: tunnel_checksum with tunnel ipip
   15 | tunnel_checksum = "nocsum"
      |                   ^^^^^^^^ ipip has no checksum: leave it out
pm.toml:16:1: warning: service "tcp 10.1.0.102:80" has no dest
   16 | [[service]]
      | ^^^^^^^^^^^ its clients are refused until one is added
pm.toml:20:19: error: remcsum with tunnel gre
   20 | tunnel_checksum = "remcsum"
      |                   ^^^^^^^^^ expected one of nocsum, csum: the kernel has no other for gre
pm.toml:26:10: error: unknown tunnel "vxlan"
   26 | tunnel = "vxlan"
      |          ^^^^^^^ expected one of ipip, gue, gre
pm.toml:29:15: error: tunnel_port 0 is out of range
   29 | tunnel_port = 0
      |               ^ expected 1 to 65535
pm.toml:32:15: error: tunnel_port with tunnel ipip
   32 | tunnel_port = 6080
      |               ^^^^ only gue has a port: leave it out"##
}

refuses! {
    refuses_tunnels_of_other_kinds_without_room_for_1280_bytes, NO_PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "tunnel"
[[service.dest]]
address = "10.2.0.2"
tunnel = "gue"
tunnel_port = 6080
[[service.dest]]
address = "10.2.0.3"
tunnel = "gre"
tunnel_checksum = "csum"
[[service.dest]]
address = "10.2.0.4"
tunnel = "gre"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["10.2.0.254/24"]
mtu = 1304"##,
r##"
pm.toml:5:11: error: the tunnel to 10.2.0.2 leaves by port "wan" with mtu 1304
    5 | address = "10.2.0.2"
      |           ^^^^^^^^^^ at least 1312: a packet of 1280 bytes and the outer header
pm.toml:9:11: error: the tunnel to 10.2.0.3 leaves by port "wan" with mtu 1304
    9 | address = "10.2.0.3"
      |           ^^^^^^^^^^ at least 1308: a packet of 1280 bytes and the outer header"##
}

refuses! {
    refuses_oversize_where_no_tunnel_is, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "dr"
oversize = "fragment"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
forward = "tunnel"
oversize = "cut"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.102:80"
forward = "tunnel"
oversize = "fragment"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:12: error: dr makes no packet larger
    4 | oversize = "fragment"
      |            ^^^^^^^^^^ leave it out: it is for forward = "tunnel"
pm.toml:10:12: error: unknown oversize setting "cut"
   10 | oversize = "cut"
      |            ^^^^^ expected one of too-big, fragment; did you mean "fragment"?"##
}

refuses! {
    refuses_an_unknown_exhausted_setting, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
exhausted = "deny"
[[service.dest]]
address = "10.2.0.2"
"##,
r##"
pm.toml:4:13: error: unknown exhausted setting "deny"
    4 | exhausted = "deny"
      |             ^^^^^^ expected one of drop, reject"##
}
