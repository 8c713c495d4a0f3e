//! Unknown keys, wrong types, TOML's own errors.

use super::NO_PORTS;
use super::PORTS;
use super::refuses;

refuses! {
    refuses_unknown_keys_at_the_top, PORTS,
r##"
[[servcie]]
address = "10.1.0.100:80""##,
r##"
pm.toml:1:3: error: unknown key "servcie" at the top of the file
    1 | [[servcie]]
      |   ^^^^^^^ did you mean "service"?"##
}

refuses! {
    refuses_unknown_keys_with_the_nearest_word, PORTS,
r##"
[director]
core = [1]"##,
r##"
pm.toml:2:1: error: unknown key "core" in [director]
    2 | core = [1]
      | ^^^^ did you mean "cores"?"##
}

refuses! {
    refuses_keys_of_another_table, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
weight = 1
[[service.dest]]
address = "10.2.0.2""##,
r##"
pm.toml:4:1: error: unknown key "weight" in [[service]]
    4 | weight = 1
      | ^^^^^^ it belongs to [[service.dest]]"##
}

refuses! {
    refuses_unknown_keys_with_all_known_ones, PORTS,
r##"
[timeouts]
sctp = 5"##,
r##"
pm.toml:2:1: error: unknown key "sctp" in [timeouts]
    2 | sctp = 5
      | ^^^^ expected one of tcp_none, tcp_established, tcp_syn_sent, tcp_syn_recv, tcp_fin_wait, tcp_time_wait, tcp_close, tcp_close_wait, tcp_last_ack, tcp_listen, tcp_synack, udp, sctp_init1, sctp_init, sctp_cookie_sent, sctp_cookie_replied, sctp_cookie_wait, sctp_cookie, sctp_cookie_echoed, sctp_established, sctp_shutdown_sent, sctp_shutdown_received, sctp_shutdown_ack_sent, sctp_rejected, sctp_closed"##
}

refuses! {
    refuses_unknown_keys_of_a_dest, PORTS,
r##"
[[service]]
address = "10.1.0.100:80"
forward = "nat"
[[service.dest]]
address = "10.2.0.2"
wieght = 2"##,
r##"
pm.toml:6:1: error: unknown key "wieght" in [[service.dest]]
    6 | wieght = 2
      | ^^^^^^ did you mean "weight"?"##
}

refuses! {
    refuses_unknown_keys_in_every_other_table, PORTS,
r##"
[[route]]
to = "10.8.0.0/16"
via = "10.2.0.1"
dev = "lan"
[[pool]]
name = "p"
addresses = ["10.2.0.100"]
share = true
[[vip]]
address = "10.1.0.100"
close = "drop""##,
r##"
pm.toml:4:1: error: unknown key "dev" in [[route]]
    4 | dev = "lan"
      | ^^^ expected one of to, from, via, port
pm.toml:8:1: error: unknown key "share" in [[pool]]
    8 | share = true
      | ^^^^^ did you mean "shared"?
pm.toml:11:1: error: unknown key "close" in [[vip]]
   11 | close = "drop"
      | ^^^^^ did you mean "closed"?"##
}

refuses! {
    refuses_a_list_in_single_brackets, PORTS,
r##"
[service]
address = "10.1.0.100:80""##,
r##"
pm.toml:1:1: error: service must be a list of tables, not a table
    1 | [service]
      | ^^^^^^^^^ write [[service]]"##
}

refuses! {
    refuses_a_table_in_double_brackets, PORTS,
r##"
[[director]]
cores = [1]"##,
r##"
pm.toml:1:1: error: director must be one table, not a list
    1 | [[director]]
      | ^^^^^^^^^^^^ write [director]"##
}

refuses! {
    refuses_values_of_the_wrong_type, PORTS,
r##"
[director]
cores = 1
conns = "many"
memory = 5.5
idle = true"##,
r##"
pm.toml:2:9: error: cores must be a list of integers, not an integer
    2 | cores = 1
      |         ^ write cores = [1, 2]
pm.toml:3:9: error: conns must be an integer, not a string
    3 | conns = "many"
      |         ^^^^^^ write conns = 1048576
pm.toml:4:10: error: memory must be an integer, not a float
    4 | memory = 5.5
      |          ^^^ write memory = 512
pm.toml:5:8: error: idle must be a string, not a boolean
    5 | idle = true
      |        ^^^^ write idle = "poll""##
}

refuses! {
    refuses_list_members_of_the_wrong_type, PORTS,
r##"
[[pool]]
name = "p"
addresses = [1, "10.2.0.100"]
shared = "yes""##,
r##"
pm.toml:3:14: error: addresses must be a string, not an integer
    3 | addresses = [1, "10.2.0.100"]
      |              ^ write addresses = ["10.2.0.100-10.2.0.110"]
pm.toml:4:10: error: shared must be true or false, not a string
    4 | shared = "yes"
      |          ^^^^^ write shared = true"##
}

refuses! {
    refuses_strings_for_tables, PORTS,
r##"
service = ["a"]"##,
r##"
pm.toml:1:12: error: service must be a list of tables, not a string
    1 | service = ["a"]
      |            ^^^ write [[service]]"##
}

refuses! {
    refuses_missing_keys, PORTS,
r##"
[[route]]
[[pool]]
[[vip]]
[[service]]
[[service.dest]]"##,
r##"
pm.toml:1:1: error: [[route]] has no to
    1 | [[route]]
      | ^^^^^^^^^ add to = "10.9.0.0/16"
pm.toml:1:1: error: [[route]] has no via
    1 | [[route]]
      | ^^^^^^^^^ add via = "10.2.0.1"
pm.toml:2:1: error: [[pool]] has no name
    2 | [[pool]]
      | ^^^^^^^^ add name = "lan"
pm.toml:2:1: error: [[pool]] has no addresses
    2 | [[pool]]
      | ^^^^^^^^ add addresses = ["10.2.0.100-10.2.0.110"]
pm.toml:3:1: error: [[vip]] has no address
    3 | [[vip]]
      | ^^^^^^^ add address = "10.1.0.100"
pm.toml:4:1: error: [[service]] has no address
    4 | [[service]]
      | ^^^^^^^^^^^ add address = "10.1.0.100:80" or "[2001:db8:1::100]:80"
pm.toml:4:1: error: [[service]] has no forward
    4 | [[service]]
      | ^^^^^^^^^^^ add forward = "fullnat" (servers need nothing), "nat" (servers' gateway is the director), "dr" (servers hold the VIP, same segment) or "tunnel" (servers hold the VIP and unpack IPIP, GUE or GRE)
pm.toml:5:1: error: [[service.dest]] has no address
    5 | [[service.dest]]
      | ^^^^^^^^^^^^^^^^ add address = "10.2.0.2:80""##
}

refuses! {
    refuses_a_port_without_anything, NO_PORTS,
r##"
[[port]]"##,
r##"
pm.toml:1:1: error: [[port]] has no name
    1 | [[port]]
      | ^^^^^^^^ add name = "wan"
pm.toml:1:1: error: [[port]] has no device
    1 | [[port]]
      | ^^^^^^^^ add device = "net_af_packet0,iface=eth1" or "0000:03:00.0"
pm.toml:1:1: error: [[port]] has no addresses
    1 | [[port]]
      | ^^^^^^^^ add addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]"##
}

refuses! {
    refuses_several_syntax_errors_in_one_go, PORTS,
r##"
[director
idle = poll
[[port]]
name = "wan"##,
r##"
pm.toml:1:10: error: unclosed table
    1 | [director
      |          ^ expected `]`
pm.toml:4:12: error: invalid basic string
    4 | name = "wan
      |            ^ expected `"`"##
}

refuses! {
    refuses_a_key_given_twice, PORTS,
r##"
[director]
conns = 2048
conns = 4096"##,
r##"
pm.toml:3:1: error: duplicate key "conns"
    3 | conns = 4096
      | ^^^^^ it was given above; keep one of them"##
}

refuses! {
    refuses_a_list_given_twice_in_single_brackets, PORTS,
r##"
[service]
[service]"##,
r##"
pm.toml:2:2: error: duplicate key "service"
    2 | [service]
      |  ^^^^^^^ write [[service]] once per entry"##
}

refuses! {
    refuses_what_is_never_closed, NO_PORTS,
r##"
[director]
cores = [1,"##,
r##"
pm.toml:2:12: error: unclosed array
    2 | cores = [1,
      |            ^ expected `]`"##
}

refuses! {
    refuses_errors_in_lines_with_tabs, PORTS,
r##"
[director]
	idle	= "pol""##,
r##"
pm.toml:2:9: error: unknown idle mode "pol"
    2 | 	idle	= "pol"
      | 	    	  ^^^^^ expected one of poll, adaptive; did you mean "poll"?"##
}

refuses! {
    refuses_escaped_control_characters, PORTS,
r##"
[director]
idle = "\u001b[31m""##,
r##"
pm.toml:2:8: error: unknown idle mode "\u{1b}[31m"
    2 | idle = "\u001b[31m"
      |        ^^^^^^^^^^^^ expected one of poll, adaptive"##
}

refuses! {
    refuses_errors_in_lines_beyond_ascii, PORTS,
r##"
[director]
"ключ" = 1
idle = "пол""##,
r##"
pm.toml:2:1: error: unknown key "ключ" in [director]
    2 | "ключ" = 1
      | ^^^^^^ expected one of cores, control_core, idle, conns, templates, neighbours, socket, secret, route, hugepages, memory, mbufs, allow, deny, allow_file, deny_file
pm.toml:3:8: error: unknown idle mode "пол"
    3 | idle = "пол"
      |        ^^^^^ expected one of poll, adaptive"##
}
