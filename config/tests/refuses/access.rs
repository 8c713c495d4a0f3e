//! Access lists in the configuration itself; files of prefixes are tested in `lists.rs`.

use super::PORTS;
use super::refuses;

refuses! {
    refuses_prefixes_that_are_none, PORTS,
r##"
[director]
allow = ["10.0.0.1/8", "10.0.0.0/33", "ten"]
deny = 10"##,
r##"
pm.toml:2:10: error: 10.0.0.1/8 has host bits set
    2 | allow = ["10.0.0.1/8", "10.0.0.0/33", "ten"]
      |          ^^^^^^^^^^^^ did you mean "10.0.0.0/8"?
pm.toml:2:24: error: "33" is not a prefix length
    2 | allow = ["10.0.0.1/8", "10.0.0.0/33", "ten"]
      |                        ^^^^^^^^^^^^^ expected 0 to 32
pm.toml:2:39: error: "ten" is not an IP address
    2 | allow = ["10.0.0.1/8", "10.0.0.0/33", "ten"]
      |                                       ^^^^^ expected one such as 10.1.0.1 or 2001:db8:1::1; host names are not looked up
pm.toml:3:8: error: deny must be a string, not an integer
    3 | deny = 10
      |        ^^ write deny = ["192.0.2.0/24"]"##
}

refuses! {
    refuses_a_prefix_that_is_allowed_and_denied, PORTS,
r##"
[director]
allow = ["10.0.0.0/8", "10.1.0.7"]
deny = ["10.1.0.0/16", "10.1.0.7/32"]"##,
r##"
pm.toml:3:8: error: 10.1.0.7/32 is allowed and denied
    3 | deny = ["10.1.0.0/16", "10.1.0.7/32"]
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ keep it in one of the lists"##
}

refuses! {
    refuses_an_empty_list, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
allow = []
denied = "rejct"
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:9: error: allow is empty
    4 | allow = []
      |         ^^ write allow = ["10.0.0.0/8"]
pm.toml:5:10: error: unknown denied setting "rejct"
    5 | denied = "rejct"
      |          ^^^^^^^ expected one of drop, reject; did you mean "reject"?"##
}

refuses! {
    refuses_a_file_that_is_not_there, PORTS,
r##"
[director]
deny_file = "lists/deny.txt""##,
r##"
pm.toml:2:13: error: "lists/deny.txt": no such file
    2 | deny_file = "lists/deny.txt"
      |             ^^^^^^^^^^^^^^^^ paths are relative to the configuration file"##
}
