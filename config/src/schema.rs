//! The tables and keys there are. Unknown keys are found, and named, from these lists.

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Schema {
    /// As its header is written; empty for the top of the file.
    pub(crate) header: &'static str,
    /// Its keys, each with an example of its value.
    pub(crate) keys: &'static [(&'static str, &'static str)],
}

impl Schema {
    /// An example of the value of `key`.
    pub(crate) fn example(&self, key: &str) -> &'static str {
        self.keys.iter().find(|(name, _)| *name == key).map_or("", |(_, example)| example)
    }

    /// Whether its header is written in double brackets, once per entry.
    pub(crate) fn is_list(&self) -> bool {
        self.header.starts_with("[[")
    }
}

/// Every table, for the search of a misplaced key.
pub(crate) const ALL: [&Schema; 13] = [
    &TOP, &DIRECTOR, &TIMEOUTS, &IPVS, &PORT, &ROUTE, &POOL, &VIP, &MATCH, &SERVICE, &DEST, &SNAT,
    &ROUTER,
];

pub(crate) const TOP: Schema = Schema {
    header: "",
    keys: &[
        ("director", "[director]"),
        ("timeouts", "[timeouts]"),
        ("ipvs", "[ipvs]"),
        ("port", "[[port]]"),
        ("route", "[[route]]"),
        ("pool", "[[pool]]"),
        ("vip", "[[vip]]"),
        ("match", "[[match]]"),
        ("service", "[[service]]"),
        ("snat", "[[snat]]"),
    ],
};

pub(crate) const DIRECTOR: Schema = Schema {
    header: "[director]",
    keys: &[
        ("cores", "[1, 2]"),
        ("control_core", "0"),
        ("idle", "\"poll\""),
        ("conns", "1048576"),
        ("templates", "65536"),
        ("neighbours", "4096"),
        ("socket", "\"/run/pointsman/pointsman.sock\""),
        ("secret", "\"/var/lib/pointsman/secret\""),
        ("route", "true"),
        ("hugepages", "\"auto\""),
        ("memory", "512"),
        ("mbufs", "16384"),
        ("allow", "[\"10.0.0.0/8\"]"),
        ("deny", "[\"192.0.2.0/24\"]"),
        ("allow_file", "\"allow.txt\""),
        ("deny_file", "\"deny.txt\""),
    ],
};

pub(crate) const TIMEOUTS: Schema = Schema {
    header: "[timeouts]",
    keys: &[
        ("tcp_none", "2"),
        ("tcp_established", "900"),
        ("tcp_syn_sent", "120"),
        ("tcp_syn_recv", "60"),
        ("tcp_fin_wait", "120"),
        ("tcp_time_wait", "120"),
        ("tcp_close", "10"),
        ("tcp_close_wait", "60"),
        ("tcp_last_ack", "30"),
        ("tcp_listen", "120"),
        ("tcp_synack", "120"),
        ("udp", "300"),
        ("sctp_init1", "4"),
        ("sctp_init", "61"),
        ("sctp_cookie_sent", "61"),
        ("sctp_cookie_replied", "61"),
        ("sctp_cookie_wait", "61"),
        ("sctp_cookie", "61"),
        ("sctp_cookie_echoed", "61"),
        ("sctp_established", "900"),
        ("sctp_shutdown_sent", "61"),
        ("sctp_shutdown_received", "61"),
        ("sctp_shutdown_ack_sent", "61"),
        ("sctp_rejected", "4"),
        ("sctp_closed", "61"),
    ],
};

pub(crate) const IPVS: Schema = Schema {
    header: "[ipvs]",
    keys: &[
        ("expire_quiescent_template", "true"),
        ("expire_nodest_conn", "true"),
        ("sloppy_tcp", "true"),
        ("sloppy_sctp", "true"),
        ("conn_reuse_mode", "1"),
        ("schedule_icmp", "true"),
        ("nat_icmp_send", "true"),
        ("drop_packet", "0"),
        ("drop_entry", "0"),
        ("secure_tcp", "0"),
        ("am_droprate", "10"),
    ],
};

pub(crate) const PORT: Schema = Schema {
    header: "[[port]]",
    keys: &[
        ("name", "\"wan\""),
        ("device", "\"net_af_packet0,iface=eth1\" or \"0000:03:00.0\""),
        ("addresses", "[\"10.1.0.254/24\", \"2001:db8:1::fe/64\"]"),
        ("gateway", "\"10.1.0.1\""),
        ("vlan", "100"),
        ("mtu", "1500"),
        ("rx_ring", "1024"),
        ("tx_ring", "1024"),
    ],
};

pub(crate) const ROUTE: Schema = Schema {
    header: "[[route]]",
    keys: &[
        ("to", "\"10.9.0.0/16\""),
        ("from", "\"10.2.0.0/24\""),
        ("via", "\"10.2.0.1\""),
        ("port", "\"lan\""),
    ],
};

pub(crate) const POOL: Schema = Schema {
    header: "[[pool]]",
    keys: &[("name", "\"lan\""), ("addresses", "[\"10.2.0.100-10.2.0.110\"]"), ("shared", "true")],
};

pub(crate) const VIP: Schema = Schema {
    header: "[[vip]]",
    keys: &[("address", "\"10.1.0.100\""), ("closed", "\"reject\""), ("port", "\"wan\"")],
};

pub(crate) const MATCH: Schema = Schema {
    header: "[[match]]",
    keys: &[
        ("mark", "1"),
        ("source", "[\"192.0.2.0/24\"]"),
        ("destination", "[\"10.1.0.100\", \"10.1.8.0/24\"]"),
        ("ports", "[80, \"8000-8080\"]"),
        ("protocol", "[\"tcp\", \"udp\"]"),
    ],
};

pub(crate) const SERVICE: Schema = Schema {
    header: "[[service]]",
    keys: &[
        ("name", "\"web\""),
        ("address", "\"10.1.0.100:80\" or \"[2001:db8:1::100]:80\""),
        ("mark", "1"),
        ("family", "\"ipv6\""),
        ("protocol", "\"tcp\""),
        ("scheduler", "\"wlc\""),
        ("scheduler_flags", "[\"sh-port\"]"),
        ("maglev_size", "65537"),
        ("forward", "\"fullnat\""),
        ("persistent", "360"),
        ("persistence_prefix", "24"),
        ("pool", "\"lan\""),
        ("retries", "1"),
        ("mss", "1360"),
        ("tcp_timeout", "900"),
        ("tcp_fin_timeout", "120"),
        ("udp_timeout", "30"),
        ("sctp_timeout", "900"),
        ("one_packet", "true"),
        ("replies", "1"),
        ("rewrite", "true"),
        ("last_hop", "true"),
        ("icmp_source", "\"vip\""),
        ("on_dead", "\"reset\""),
        ("on_idle", "\"reset\""),
        ("exhausted", "\"drop\""),
        ("oversize", "\"too-big\""),
        ("tunnel", "\"gue\""),
        ("tunnel_port", "6080"),
        ("tunnel_checksum", "\"csum\""),
        ("allow", "[\"10.0.0.0/8\"]"),
        ("deny", "[\"192.0.2.0/24\"]"),
        ("allow_file", "\"allow.txt\""),
        ("deny_file", "\"deny.txt\""),
        ("denied", "\"drop\""),
        ("no_dest", "\"reset\""),
        ("client_address", "\"proxy-v2\""),
        ("proxy_in", "[\"10.1.0.0/24\"]"),
        ("helper", "\"ftp\""),
        ("dest", "[[service.dest]]"),
    ],
};

pub(crate) const DEST: Schema = Schema {
    header: "[[service.dest]]",
    keys: &[
        ("address", "\"10.2.0.2:80\""),
        ("weight", "1"),
        ("forward", "\"dr\""),
        ("upper", "1000"),
        ("lower", "750"),
        ("tunnel", "\"gre\""),
        ("tunnel_port", "6080"),
        ("tunnel_checksum", "\"csum\""),
    ],
};

pub(crate) const SNAT: Schema = Schema {
    header: "[[snat]]",
    keys: &[
        ("name", "\"out\""),
        ("source", "[\"10.2.0.0/24\"]"),
        ("destination", "[\"192.0.2.0/24\"]"),
        ("ports", "[80, \"8000-8080\"]"),
        ("protocol", "[\"tcp\", \"udp\", \"icmp\"]"),
        ("pool", "\"wan\""),
        ("address", "\"10.1.0.100\""),
        ("scheduler", "\"sh\""),
        ("retries", "1"),
        ("mss", "1360"),
        ("udp_timeout", "120"),
        ("exhausted", "\"drop\""),
        ("dest", "[[snat.dest]]"),
    ],
};

pub(crate) const ROUTER: Schema =
    Schema { header: "[[snat.dest]]", keys: &[("address", "\"10.1.0.1\""), ("weight", "1")] };

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that the example does not show is a key that nobody finds.
    #[test]
    fn the_example_shows_every_key() {
        let example = include_str!("../pointsman.example.toml");
        let shows =
            |text: &str| example.lines().any(|l| l.trim_start_matches('#').starts_with(text));
        for schema in ALL {
            for (key, value) in schema.keys {
                // Tables are shown by their headers.
                let is_table = value.starts_with('[') && value.contains(key);
                let text = if is_table { (*value).to_owned() } else { format!("{key} = ") };
                assert!(shows(&text), "{text}");
            }
        }
    }
}
