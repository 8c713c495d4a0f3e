//! `[director]` and `[timeouts]`.

use super::PORTS;
use super::accepts;
use super::refuses;

refuses! {
    refuses_an_unknown_idle_mode, PORTS,
r##"
[director]
idle = "pol""##,
r##"
pm.toml:2:8: error: unknown idle mode "pol"
    2 | idle = "pol"
      |        ^^^^^ expected one of poll, adaptive; did you mean "poll"?"##
}

refuses! {
    refuses_an_unknown_hugepages_setting, PORTS,
r##"
[director]
hugepages = "yes""##,
r##"
pm.toml:2:13: error: unknown hugepages setting "yes"
    2 | hugepages = "yes"
      |             ^^^^^ expected one of auto, require, never; did you mean "require"?"##
}

refuses! {
    refuses_numbers_out_of_range, PORTS,
r##"
[director]
conns = 1000
neighbours = 0
memory = -1
mbufs = 0x10
cores = [1, 5000]
[timeouts]
udp = 0
tcp_close = 99999999999999999999"##,
r##"
pm.toml:2:9: error: conns 1000 is out of range
    2 | conns = 1000
      |         ^^^^ expected 1024 to 1073741823 conns
pm.toml:3:14: error: neighbours 0 is out of range
    3 | neighbours = 0
      |              ^ expected 64 to 65536 neighbours
pm.toml:4:10: error: memory -1 is out of range
    4 | memory = -1
      |          ^^ expected 64 to 1048576 MiB
pm.toml:5:9: error: mbufs 0x10 is out of range
    5 | mbufs = 0x10
      |         ^^^^ expected 1024 to 16777216 frames
pm.toml:6:13: error: cores 5000 is out of range
    6 | cores = [1, 5000]
      |             ^^^^ expected 0 to 1023
pm.toml:8:7: error: udp 0 is out of range
    8 | udp = 0
      |       ^ expected 1 to 1987200 seconds
pm.toml:9:13: error: tcp_close 99999999999999999999 is out of range
    9 | tcp_close = 99999999999999999999
      |             ^^^^^^^^^^^^^^^^^^^^ expected 1 to 1987200 seconds"##
}

refuses! {
    refuses_too_many_conns, PORTS,
r##"
[director]
conns = 1073741825"##,
r##"
pm.toml:2:9: error: conns 1073741825 is out of range
    2 | conns = 1073741825
      |         ^^^^^^^^^^ expected 1024 to 1073741823 conns"##
}

refuses! {
    refuses_a_core_used_twice, PORTS,
r##"
[director]
cores = [1, 2, 1]"##,
r##"
pm.toml:2:16: error: core 1 is used twice
    2 | cores = [1, 2, 1]
      |                ^ one worker per core"##
}

refuses! {
    refuses_no_cores, PORTS,
r##"
[director]
cores = []"##,
r##"
pm.toml:2:9: error: cores is empty
    2 | cores = []
      |         ^^ name one core per worker, such as cores = [1]"##
}

refuses! {
    refuses_a_relative_socket_path, PORTS,
r##"
[director]
socket = "pm.sock""##,
r##"
pm.toml:2:10: error: "pm.sock" is not the path of a socket
    2 | socket = "pm.sock"
      |          ^^^^^^^^^ expected an absolute path, such as /run/pointsman/pointsman.sock"##
}

refuses! {
    refuses_a_socket_path_the_kernel_cannot_hold, PORTS,
r##"
[director]
socket = "/ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss""##,
r##"
pm.toml:2:10: error: a socket path of 121 bytes
    2 | socket = "/ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the kernel takes at most 107: unix(7)"##
}

accepts! {
    warns_of_a_control_core_with_a_worker, PORTS,
r##"
[director]
cores = [0, 1]
control_core = 0"##,
r##"
pm.toml:3:16: warning: control_core 0 is also a worker's
    3 | control_core = 0
      |                ^ the control thread takes time from that core's worker"##
}

accepts! {
    warns_of_frames_that_do_not_fit_the_memory, PORTS,
r##"
[director]
memory = 64
mbufs = 65536"##,
r##"
pm.toml:3:9: warning: 65536 frames need about 116 MiB
    3 | mbufs = 65536
      |         ^^^^^ memory = 64 is less; raise it, or take fewer"##
}

refuses! {
    refuses_a_timeout_that_would_be_cut, PORTS,
r##"
[timeouts]
udp = 1987200
tcp_established = 1987201"##,
r##"
pm.toml:3:19: error: tcp_established 1987201 is out of range
    3 | tcp_established = 1987201
      |                   ^^^^^^^ expected 1 to 1987200 seconds"##
}
