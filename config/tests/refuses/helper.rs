//! `helper`.

use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_unknown_helper, PORTS,
r##"
[[service]]
address = "10.1.0.100:21"
forward = "nat"
helper = "ip_vs_ftp"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:10: error: unknown helper "ip_vs_ftp"
    4 | helper = "ip_vs_ftp"
      |          ^^^^^^^^^^^ expected one of ftp; did you mean "ftp"?"##
}

refuses! {
    refuses_a_helper_where_it_cannot_help, PORTS,
r##"
[[service]]
address = "10.1.0.100:21"
forward = "dr"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:21"
protocol = "udp"
forward = "nat"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.102:0"
persistent = 360
forward = "nat"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[service]]
mark = 1
forward = "nat"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2:21"
[[match]]
mark = 1
destination = ["10.1.0.103"]"##,
r##"
pm.toml:4:10: error: helper by "dr" or "tunnel"
    4 | helper = "ftp"
      |          ^^^^^ what servers say does not pass the director: leave helper out, and for passive data conns say persistent with port 21
pm.toml:11:10: error: helper of a service that is not tcp
   11 | helper = "ftp"
      |          ^^^^^ FTP is TCP: leave it out
pm.toml:18:10: error: helper of every port
   18 | helper = "ftp"
      |          ^^^^^ it reads the control conns of one port: name it
pm.toml:24:10: error: helper of a mark
   24 | helper = "ftp"
      |          ^^^^^ data conns bear none: say address instead of mark"##
}

refuses! {
    refuses_a_helper_between_families, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:21"
forward = "fullnat"
pool = "p"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:5:10: error: helper between families
    5 | helper = "ftp"
      |          ^^^^^ FTP's ends name addresses: take dests of the VIP's family"##
}

refuses! {
    refuses_data_conns_to_a_pool_address, PORTS,
r##"
[[service]]
address = "10.2.0.100:21"
forward = "fullnat"
pool = "p"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.2.0.101:21"
forward = "fullnat"
pool = "p"
persistent = 360
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100-10.2.0.101"]
shared = true"##,
r##"
pm.toml:2:11: error: pool "p" has an address in 10.2.0.100
    2 | address = "10.2.0.100:21"
      |           ^^^^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own
pm.toml:9:11: error: pool "p" has an address in 10.2.0.101
    9 | address = "10.2.0.101:21"
      |           ^^^^^^^^^^^^^^^ every port of it is the service's: expected a VIP of its own"##
}

accepts! {
    accepts_a_helper_of_any_port_by_nat_and_fullnat, PORTS,
r##"
[[service]]
address = "10.1.0.100:2121"
forward = "nat"
helper = "ftp"
[[service.dest]]
address = "10.2.0.2:21"
[[service]]
address = "[2001:db8:1::100]:21"
forward = "fullnat"
pool = "p"
helper = "ftp"
[[service.dest]]
address = "[2001:db8:2::2]:21"
[[pool]]
name = "p"
addresses = ["2001:db8:2::100"]"##,
""
}
