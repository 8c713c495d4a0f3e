//! How a conn's line begins.

use super::Conn;
use super::Ends;
use super::Opening;
use super::State;
use super::flags::CLIENT_V6;
use super::flags::CROSSED;
use super::flags::DEST_V6;
use super::flags::INACTIVE;
use super::flags::LIVE;
use super::flags::NO_OUTPUT;
use super::flags::SHIFTS;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Narrow;
use crate::tuple::Proto;
use crate::wire::checksum;
use crate::wire::checksum::Delta;

impl Conn {
    /// One that opens.
    #[inline(always)]
    pub(super) fn opened(opening: &Opening, expires: Stamp) -> Self {
        let Opening { ends, forward, .. } = opening;
        let sees_replies = forward.sees_replies();
        // Where replies pass elsewhere, nothing is rewritten.
        let (l3, l4) = if sees_replies { Self::deltas(ends) } else { (Delta::NONE, Delta::NONE) };
        // Of a v6 one only the ports say something.
        let [original, reply] = [Narrow::of(&ends.original()), Narrow::of(&ends.reply())];
        // In a tunnel a dest's family need not be the client's.
        let [client_v6, dest_v6] = [!ends.caddr.is_v4(), !ends.daddr.is_v4()];
        let mut flags = LIVE | INACTIVE;
        flags |= if client_v6 { CLIENT_V6 } else { 0 };
        flags |= if dest_v6 { DEST_V6 } else { 0 };
        // There a packet keeps its family, whatever the outer one's is.
        flags |= if client_v6 != dest_v6 && sees_replies { CROSSED } else { 0 };
        flags |= if sees_replies { 0 } else { NO_OUTPUT };
        flags |= if opening.shifts { SHIFTS } else { 0 };
        Self {
            narrow: [original.addrs, reply.addrs],
            ports: [original.ports, reply.ports],
            proto: ends.proto as u8,
            state: match ends.proto {
                Proto::Tcp | Proto::Sctp => State::None,
                _ => State::Udp,
            },
            forward: *forward,
            flags,
            expires: expires.0,
            l3_delta: l3.0,
            l4_delta: l4.0,
            dest: opening.dest.0,
            reply_hop: 0,
            reply_epoch: 0,
            packets: 0,
            seq: 0,
            ack: 0,
            replies: 0,
            tries: opening.tries,
        }
    }

    /// What its rewrites do to checksums: of IPv4's header, of what is within.
    #[inline(always)]
    pub(super) fn deltas(ends: &Ends) -> (Delta, Delta) {
        let Ends { proto, caddr, vaddr, laddr, daddr, .. } = ends;
        if !caddr.is_v4() || !daddr.is_v4() || *proto == Proto::Icmp {
            // Of a copy, so that `ends` need not lie in memory.
            return Self::wide_deltas(&{ *ends });
        }
        let change = |a: &Addr, b: &Addr| checksum::change32(a.v4_bits(), b.v4_bits());
        let addrs = change(caddr, laddr) + change(vaddr, daddr);
        let before = u32::from(ends.cport) << 16 | u32::from(ends.vport);
        let after = u32::from(ends.lport) << 16 | u32::from(ends.dport);
        (Delta::of(addrs), Delta::of(addrs + checksum::change32(before, after)))
    }

    #[inline(never)]
    fn wide_deltas(ends: &Ends) -> (Delta, Delta) {
        let addrs = |a, b| checksum::addr_sum(a) + checksum::addr_sum(b);
        let before = addrs(ends.caddr, ends.vaddr);
        let after = addrs(ends.laddr, ends.daddr);
        let ports = |a: u16, b: u16| a as u32 + b as u32;
        let l4_before = ports(ends.cport, ends.vport);
        let l4_after = ports(ends.lport, ends.dport);
        let l3 = Delta::between(before, after);
        // ICMP's checksum is the only one without a pseudo-header.
        let l4 = match ends.proto {
            Proto::Icmp => Delta::between(l4_before, l4_after),
            _ => Delta::between(before + l4_before, after + l4_after),
        };
        (l3, l4)
    }
}
