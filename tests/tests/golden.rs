//! Golden frames: stories of literal bytes, in and out, of `golden/*.txt`. Who wrote the expected
//! frames says each file's maker: `golden/make.py` (scapy) or `golden/kernel.py` (Linux).
//!
//! Fields that may differ, by the word that a story's `free` line names them with:
//!
//! | word | field | why it is free |
//! | --- | --- | --- |
//! | `id` | identification, of IPv4 or of a fragment header | any value will do for a packet with DF (RFC 6864 section 4.1), or ours to choose for one of our own making or another family's |
//! | `df` | DF of an ICMP packet of our own making | no RFC asks for either; Linux leaves it out, the director sets it |
//! | `tos` | traffic class of an ICMPv6 error | RFC 4443 asks for none, RFC 1812's is for IPv4 |
//!
//! The header checksum is blanked along with them; the rig has judged it right by then.

use pointsman_tests::golden::Story;
use pointsman_tests::golden::run;
use std::collections::BTreeSet;
use std::fs;

macro_rules! stories {
    ($($name:ident = $file:literal)*) => {
        const FILES: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $name() {
                run(&Story::read($file));
            }
        )*
    };
}

stories! {
    crossed_v4_fragments = "crossed-v4-fragments"
    crossed_v4_icmp = "crossed-v4-icmp"
    crossed_v4_tcp = "crossed-v4-tcp"
    crossed_v4_too_big = "crossed-v4-too-big"
    crossed_v4_udp = "crossed-v4-udp"
    crossed_v6_fragments = "crossed-v6-fragments"
    crossed_v6_icmp = "crossed-v6-icmp"
    crossed_v6_tcp = "crossed-v6-tcp"
    crossed_v6_too_big = "crossed-v6-too-big"
    crossed_v6_udp = "crossed-v6-udp"
    dr_v4_tcp = "dr-v4-tcp"
    dr_v4_udp = "dr-v4-udp"
    dr_v6_tcp = "dr-v6-tcp"
    dr_v6_udp = "dr-v6-udp"
    echo_v4 = "echo-v4"
    echo_v6 = "echo-v6"
    extensions_v6 = "extensions-v6"
    fragments_reply_v4 = "fragments-reply-v4"
    fragments_v4 = "fragments-v4"
    fullnat_v4_icmp = "fullnat-v4-icmp"
    fullnat_v4_tcp = "fullnat-v4-tcp"
    fullnat_v4_udp = "fullnat-v4-udp"
    fullnat_v6_icmp = "fullnat-v6-icmp"
    fullnat_v6_tcp = "fullnat-v6-tcp"
    fullnat_v6_udp = "fullnat-v6-udp"
    kernel_host_v4 = "kernel-host-v4"
    kernel_host_v6 = "kernel-host-v6"
    kernel_router_v4 = "kernel-router-v4"
    kernel_router_v6 = "kernel-router-v6"
    nat_v4_icmp = "nat-v4-icmp"
    nat_v4_tcp = "nat-v4-tcp"
    nat_v4_udp = "nat-v4-udp"
    nat_v6_icmp = "nat-v6-icmp"
    nat_v6_tcp = "nat-v6-tcp"
    nat_v6_udp = "nat-v6-udp"
    options_v4 = "options-v4"
    refused_v4 = "refused-v4"
    refused_v6 = "refused-v6"
    too_big_v4 = "too-big-v4"
    too_big_v6 = "too-big-v6"
    ttl_v4 = "ttl-v4"
    ttl_v6 = "ttl-v6"
    tunnel_v4_fields = "tunnel-v4-fields"
    tunnel_v4_tcp = "tunnel-v4-tcp"
    tunnel_v4_udp = "tunnel-v4-udp"
    tunnel_v6_fields = "tunnel-v6-fields"
    tunnel_v6_tcp = "tunnel-v6-tcp"
    tunnel_v6_udp = "tunnel-v6-udp"
    vlan_one_side_v4 = "vlan-one-side-v4"
    vlan_one_side_v6 = "vlan-one-side-v6"
    vlan_v4 = "vlan-v4"
    vlan_v6 = "vlan-v6"
}

#[test]
fn every_file_is_told() {
    let files = fs::read_dir(Story::folder()).unwrap().filter_map(|e| {
        let name = e.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".txt").map(str::to_owned)
    });
    let told: BTreeSet<_> = FILES.iter().map(|f| (*f).to_owned()).collect();
    assert_eq!(files.collect::<BTreeSet<_>>(), told);
}
