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
?"##
}

accepts! {
    accepts_every_port_with_persistence, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:0"
forward = "nat"
persistent = true
[[service.dest]]
address = "2001:db8:2::2""##,
r##"
?"##
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
?"##
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
address = "2001:db8:2::2""##,
r##"
?"##
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
?"##
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
?"##
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
?"##
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
?"##
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
r##"
?"##
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
?"##
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
address = "2001:db8:2::2"
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
?"##
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
?"##
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
?"##
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
?"##
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
?"##
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
?"##
}
