//! Why a captured frame is not fed, by name: every frame that is read is fed or has one of these.

macro_rules! skips {
    ($($variant:ident = $name:literal, $meaning:literal;)+) => {
        /// Why a captured frame is not fed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(super) enum Skip { $($variant,)+ }

        impl Skip {
            /// All, in the order of their numbers, with a name and what it means.
            pub(super) const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $name, $meaning),)+];

            /// Its name.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether such a frame may be of a conversation, and is missed there.
            pub(super) const fn is_missed(self) -> bool {
                use Skip::*;
                matches!(self, Snapped | TooLong | Large | Malformed | Truncated | NoFirst | Crossed)
            }
        }
    };
}

skips! {
    Snapped = "snapped", "cut off by the capture's snap length (see --snapped)";
    Runt = "runt", "shorter than an Ethernet header";
    TooLong = "too-long", "longer than any IP packet in a frame";
    Large = "large", "larger than a port carries (see --large)";
    Arp = "arp", "ARP: next hops are made up here";
    Neighbour = "neighbour", "ND and MLD: next hops are made up here";
    NoSource = "no-source", "no IP source address to tell the port: see --port";
    NoRoute = "no-route", "no route to its source tells the port: see --port";
    Llc = "llc", "IEEE 802.3 with a length, such as STP: no IP";
    NotIp = "not-ip", "an EtherType other than IPv4, IPv6 and ARP";
    Icmp = "icmp", "ICMP: of no conversation that could be mapped";
    Protocol = "protocol", "neither TCP nor UDP, such as SCTP";
    Malformed = "malformed", "headers that contradict each other: of no conversation";
    Truncated = "truncated", "its IP header tells of more bytes than there are";
    NoFirst = "no-first", "a fragment before its datagram's first one, or without it";
    NoService = "no-service", "no service of its family and protocol to map it to";
    NoStart = "no-start", "its conversation began before the capture (--no-pickup)";
    NoConn = "no-conn", "from the server side of a conversation that has no conn";
    Expired = "expired", "from the server side, after its conn timed out";
    Crossed = "crossed", "a fragment between families, which cannot be made up";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_listed_by_number() {
        assert!(Skip::ALL.iter().enumerate().all(|(i, (skip, ..))| *skip as usize == i));
    }

    #[test]
    fn skips_fit_a_line_of_the_report() {
        let long = |name: &str, meaning: &str| 5 + 7 + 1 + name.len() + 2 + meaning.len();
        assert!(Skip::ALL.iter().all(|(_, name, meaning)| long(name, meaning) <= 80));
    }
}
