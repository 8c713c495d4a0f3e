//! `[[pool]]`, and who may use it.

use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_empty_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = []"##,
r##"
pm.toml:3:13: error: an empty pool
    3 | addresses = []
      |             ^^ a pool needs at least one address"##
}

refuses! {
    refuses_overlapping_pools, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.100-10.2.0.110"]
[[pool]]
name = "q"
addresses = ["10.2.0.90-10.2.0.100"]"##,
r##"
pm.toml:6:14: error: 10.2.0.90-10.2.0.100 overlaps 10.2.0.100-10.2.0.110 in "p"
    6 | addresses = ["10.2.0.90-10.2.0.100"]
      |              ^^^^^^^^^^^^^^^^^^^^^^ line 3: an address is in one pool only, and only once"##
}

refuses! {
    refuses_an_address_twice_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.100-10.2.0.110", "10.2.0.105"]"##,
r##"
pm.toml:3:39: error: 10.2.0.105 overlaps 10.2.0.100-10.2.0.110 in this pool
    3 | addresses = ["10.2.0.100-10.2.0.110", "10.2.0.105"]
      |                                       ^^^^^^^^^^^^ line 3: an address is in one pool only, and only once"##
}

refuses! {
    refuses_a_range_around_another, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.105", "10.2.0.100-10.2.0.110"]"##,
r##"
pm.toml:3:28: error: 10.2.0.100-10.2.0.110 overlaps 10.2.0.105 in this pool
    3 | addresses = ["10.2.0.105", "10.2.0.100-10.2.0.110"]
      |                            ^^^^^^^^^^^^^^^^^^^^^^^ line 3: an address is in one pool only, and only once"##
}

refuses! {
    refuses_prefixes_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.96/28", "2001:db8:2::/64", "10.2.0.0/33"]"##,
r##"
pm.toml:3:14: error: "10.2.0.96/28" is a prefix
    3 | addresses = ["10.2.0.96/28", "2001:db8:2::/64", "10.2.0.0/33"]
      |              ^^^^^^^^^^^^^^ write the addresses that are free, such as "10.2.0.97-10.2.0.110"
pm.toml:3:30: error: "2001:db8:2::/64" is a prefix
    3 | addresses = ["10.2.0.96/28", "2001:db8:2::/64", "10.2.0.0/33"]
      |                              ^^^^^^^^^^^^^^^^^ write a range of addresses that are free, such as "2001:db8:2::100-2001:db8:2::110"
pm.toml:3:49: error: "33" is not a prefix length
    3 | addresses = ["10.2.0.96/28", "2001:db8:2::/64", "10.2.0.0/33"]
      |                                                 ^^^^^^^^^^^^^ expected 0 to 32"##
}

refuses! {
    refuses_what_is_not_a_range, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.110-10.2.0.100", "10.2.0.1-2001:db8::1", "10.2.0.1-10"]"##,
r##"
pm.toml:3:14: error: this range ends before it begins
    3 | addresses = ["10.2.0.110-10.2.0.100", "10.2.0.1-2001:db8::1", "10.2.0.1-10"]
      |              ^^^^^^^^^^^^^^^^^^^^^^^ did you mean "10.2.0.100-10.2.0.110"?
pm.toml:3:39: error: a range of two families
    3 | addresses = ["10.2.0.110-10.2.0.100", "10.2.0.1-2001:db8::1", "10.2.0.1-10"]
      |                                       ^^^^^^^^^^^^^^^^^^^^^^ expected both ends IPv4 or both IPv6
pm.toml:3:63: error: "10" is not an IP address
    3 | addresses = ["10.2.0.110-10.2.0.100", "10.2.0.1-2001:db8::1", "10.2.0.1-10"]
      |                                                               ^^^^^^^^^^^^^ write both ends in full, such as 10.2.0.100-10.2.0.110"##
}

refuses! {
    refuses_more_than_65536_addresses, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["2001:db8:2::1-2001:db8:2::1:1"]
[[pool]]
name = "q"
addresses = ["2001:db8:3::-2001:db8:3::ffff", "2001:db8:4::1"]"##,
r##"
pm.toml:3:14: error: a range of 65537 addresses
    3 | addresses = ["2001:db8:2::1-2001:db8:2::1:1"]
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ a pool holds at most 65536
pm.toml:6:13: error: a pool of 65537 addresses
    6 | addresses = ["2001:db8:3::-2001:db8:3::ffff", "2001:db8:4::1"]
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ a pool holds at most 65536"##
}

refuses! {
    refuses_a_vip_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
[[service]]
address = "10.2.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:3:14: error: 10.2.0.100 is a VIP
    3 | addresses = ["10.2.0.100"]
      |              ^^^^^^^^^^^^ leave it out, or say shared = true if its ports may be leased"##
}

refuses! {
    refuses_an_own_address_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.250-10.2.0.254"]"##,
r##"
pm.toml:3:14: error: 10.2.0.254 is port "lan"'s own address
    3 | addresses = ["10.2.0.250-10.2.0.254"]
      |              ^^^^^^^^^^^^^^^^^^^^^^^ leave it out, or say shared = true if its ports may be leased"##
}

refuses! {
    refuses_a_broadcast_address_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.200-10.2.0.253", "10.2.0.255"]"##,
r##"
pm.toml:3:39: error: 10.2.0.255 is the broadcast address of 10.2.0.0/24
    3 | addresses = ["10.2.0.200-10.2.0.253", "10.2.0.255"]
      |                                       ^^^^^^^^^^^^ leave it out: no host can have it"##
}

refuses! {
    refuses_a_gateway_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.1.0.1"]"##,
r##"
pm.toml:3:14: error: 10.1.0.1 is the gateway of port "wan"
    3 | addresses = ["10.1.0.1"]
      |              ^^^^^^^^^^ leave it out: the director would answer for its own router"##
}

refuses! {
    refuses_a_dest_in_a_pool, PORTS,
r##"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.100""##,
r##"
pm.toml:8:11: error: dest 10.2.0.100 is in pool "p"
    8 | address = "10.2.0.100"
      |           ^^^^^^^^^^^^ the director would answer for it; take it out of the pool"##
}

refuses! {
    refuses_fullnat_without_a_pool, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:3:11: error: fullnat needs a pool
    3 | forward = "fullnat"
      |           ^^^^^^^^^ add pool = "...", a [[pool]] of addresses that the dests see as their clients"##
}

refuses! {
    refuses_an_unknown_pool, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "pp"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:4:8: error: unknown pool "pp"
    4 | pool = "pp"
      |        ^^^^ did you mean "p"?"##
}

refuses! {
    refuses_a_pool_where_there_is_none, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "fullnat"
pool = "pp"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:8: error: unknown pool "pp"
    4 | pool = "pp"
      |        ^^^^ there is no [[pool]]"##
}

refuses! {
    refuses_a_pool_without_the_family_of_the_service, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "[2001:db8:2::2]"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:4:8: error: pool "p" has no IPv6 address
    4 | pool = "p"
      |        ^^^ 2001:db8:2::2 needs one: add it to the pool, or name another pool"##
}

refuses! {
    refuses_a_pool_without_the_family_of_a_dest, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "fullnat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["2001:db8:2::100"]"##,
r##"
pm.toml:4:8: error: pool "p" has no IPv4 address
    4 | pool = "p"
      |        ^^^ 10.2.0.2 needs one: add it to the pool, or name another pool"##
}

refuses! {
    refuses_a_pool_of_no_family_of_the_vip_before_there_are_dests, PORTS,
r##"
[[service]]
address = "[2001:db8:1::100]:80"
forward = "fullnat"
pool = "p"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:1:1: warning: service "tcp [2001:db8:1::100]:80" has no dest
    1 | [[service]]
      | ^^^^^^^^^^^ its clients are refused until one is added
pm.toml:4:8: error: pool "p" has no IPv6 address
    4 | pool = "p"
      |        ^^^ 2001:db8:1::100 needs one: add it to the pool, or name another pool"##
}

refuses! {
    refuses_a_pool_without_fullnat, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
pool = "p"
[[service.dest]]
address = "10.2.0.2"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]"##,
r##"
pm.toml:4:8: error: nat uses no pool
    4 | pool = "p"
      |        ^^^ leave it out, or say forward = "fullnat""##
}

accepts! {
    accepts_a_shared_own_address, PORTS,
r##"
[[pool]]
name = "p"
shared = true
addresses = ["10.2.0.250-10.2.0.254"]"##,
r##"
"##
}
