//! `client_address` and `proxy_in`.

use super::NO_PORTS;
use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_unknown_client_address, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
client_address = "send-proxy-v2"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:5:18: error: unknown client_address "send-proxy-v2"
    5 | client_address = "send-proxy-v2"
      |                  ^^^^^^^^^^^^^^^ expected one of off, proxy-v1, proxy-v2, toa; did you mean "proxy-v2"?"##
}

refuses! {
    refuses_a_client_address_where_the_server_sees_the_client, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
client_address = "proxy-v1"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
forward = "dr"
client_address = "off"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:18: error: nat does not change the client's address
    4 | client_address = "proxy-v1"
      |                  ^^^^^^^^^^ leave it out, or say forward = "fullnat""##
}

refuses! {
    refuses_a_client_address_that_datagrams_cannot_carry, PORTS,
r##"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "fullnat"
pool = "p"
client_address = "proxy-v1"
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:53"
protocol = "udp"
forward = "fullnat"
pool = "p"
client_address = "toa"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:6:18: error: proxy-v1 is for TCP only
    6 | client_address = "proxy-v1"
      |                  ^^^^^^^^^^ UDP services have "proxy-v2"
pm.toml:14:18: error: toa is for TCP only
   14 | client_address = "toa"
      |                  ^^^^^ UDP services have "proxy-v2""##
}

refuses! {
    refuses_proxy_in_where_nobodys_header_is_added, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
proxy_in = ["10.1.0.0/24"]
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.101:80"
forward = "fullnat"
pool = "p"
client_address = "off"
proxy_in = "10.1.0.7/24"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:4:12: error: proxy_in without client_address
    4 | proxy_in = ["10.1.0.0/24"]
      |            ^^^^^^^^^^^^^^^ nobody's header is added here; add client_address, or leave it out
pm.toml:12:12: error: 10.1.0.7/24 has host bits set
   12 | proxy_in = "10.1.0.7/24"
      |            ^^^^^^^^^^^^^ did you mean "10.1.0.0/24"?
pm.toml:12:12: error: proxy_in without client_address
   12 | proxy_in = "10.1.0.7/24"
      |            ^^^^^^^^^^^^^ nobody's header is added here; add client_address, or leave it out"##
}

refuses! {
    refuses_datagrams_of_ipv6_without_room_for_the_header, NO_PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:53"
protocol = "udp"
forward = "fullnat"
pool = "p"
client_address = "proxy-v2"
[[service.dest]]
address = "[2001:db8:1::2]:53"
[[pool]]
name = "p"
addresses = ["2001:db8:1::200"]
[[port]]
name = "wan"
device = "net_null0"
addresses = ["2001:db8:1::fe/64"]
mtu = 1335"##,
r##"
pm.toml:6:18: error: the header to 2001:db8:1::2 leaves by port "wan" with mtu 1335
    6 | client_address = "proxy-v2"
      |                  ^^^^^^^^^^ at least 1336: a datagram of 1280 bytes and the header's 56"##
}

accepts! {
    takes_every_client_address_where_it_can_be_told, PORTS,
r##"
[[service]]
address = "10.1.0.100:53"
protocol = "udp"
forward = "fullnat"
pool = "p"
client_address = "proxy-v2"
proxy_in = ["10.1.0.0/24", "2001:db8::/32"]
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "p"
client_address = "proxy-v1"
rewrite = false
[[service.dest]]
address = "10.2.0.2"
[[service]]
address = "10.1.0.100:81"
forward = "fullnat"
pool = "p"
client_address = "toa"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
""
}
