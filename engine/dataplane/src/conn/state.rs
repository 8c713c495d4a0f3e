//! States of a conn and the kernel's tables that lead from one to the next.
//!
//! Source: `tcp_states` and `set_tcp_state` of net/netfilter/ipvs/ip_vs_proto_tcp.c. SCTP's table is
//! in `sctp`.

use crate::wire::tcp;
use zerocopy::FromZeros;
use zerocopy::Immutable;
use zerocopy::IntoBytes;

/// A conn's state; TCP's have the kernel's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros, Immutable, IntoBytes)]
#[repr(u8)]
pub enum State {
    /// Before the first packet.
    None = 0,
    /// ESTABLISHED.
    Established,
    /// SYN_SENT.
    SynSent,
    /// SYN_RECV.
    SynRecv,
    /// FIN_WAIT.
    FinWait,
    /// TIME_WAIT.
    TimeWait,
    /// CLOSE.
    Close,
    /// CLOSE_WAIT.
    CloseWait,
    /// LAST_ACK.
    LastAck,
    /// LISTEN.
    Listen,
    /// SYNACK.
    SynAck,
    /// UDP has one state.
    Udp,
    /// SCTP: the client's first INIT was sent.
    SctpInit1,
    /// SCTP: INIT was sent again.
    SctpInit,
    /// SCTP: the dest has sent INIT ACK.
    SctpCookieSent,
    /// SCTP: the client has sent COOKIE ECHO.
    SctpCookieReplied,
    /// SCTP: the dest has sent INIT.
    SctpCookieWait,
    /// SCTP: the client has sent INIT ACK.
    SctpCookie,
    /// SCTP: the dest has sent COOKIE ECHO.
    SctpCookieEchoed,
    /// SCTP: ESTABLISHED.
    SctpEstablished,
    /// SCTP: the dest has sent SHUTDOWN.
    SctpShutdownSent,
    /// SCTP: the client has sent SHUTDOWN.
    SctpShutdownReceived,
    /// SCTP: the dest has sent SHUTDOWN ACK.
    SctpShutdownAckSent,
    /// SCTP: the dest has answered INIT with ABORT.
    SctpRejected,
    /// SCTP: CLOSED.
    SctpClosed,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 25;

    #[rustfmt::skip]
    const ALL: [Self; 32] = {
        use State::*;
        [
            None, Established, SynSent, SynRecv, FinWait, TimeWait, Close, CloseWait, LastAck,
            Listen, SynAck, Udp, SctpInit1, SctpInit, SctpCookieSent, SctpCookieReplied,
            SctpCookieWait, SctpCookie, SctpCookieEchoed, SctpEstablished, SctpShutdownSent,
            SctpShutdownReceived, SctpShutdownAckSent, SctpRejected, SctpClosed,
            None, None, None, None, None, None, None,
        ]
    };

    /// The state of a number; of those that are none's, `None`.
    #[inline(always)]
    pub fn from_number(n: u8) -> Self {
        Self::ALL[(n & 31) as usize]
    }

    /// Its name as `ipvsadm -Lc` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::SctpInit1 => "INIT1",
            Self::SctpInit => "INIT",
            Self::SctpCookieSent => "C-SENT",
            Self::SctpCookieReplied => "C-REPLIED",
            Self::SctpCookieWait => "C-WAIT",
            Self::SctpCookie => "COOKIE",
            Self::SctpCookieEchoed => "C-ECHOED",
            Self::SctpEstablished => "ESTABLISHED",
            Self::SctpShutdownSent => "S-SENT",
            Self::SctpShutdownReceived => "S-RECEIVED",
            Self::SctpShutdownAckSent => "S-ACK-SENT",
            Self::SctpRejected => "REJECTED",
            Self::SctpClosed => "CLOSED",
        }
    }

    /// Whether a conn in it would lend its local port to a new one.
    #[inline(always)]
    pub const fn would_lend(self) -> bool {
        matches!(self, Self::TimeWait | Self::Close | Self::LastAck)
    }

    /// Whether both ends have agreed to talk, TCP's or SCTP's.
    #[inline(always)]
    pub const fn is_established(self) -> bool {
        matches!(self, Self::Established | Self::SctpEstablished)
    }

    /// Whether a conn in it counts as active (`tcp_state_active_table`, and SCTP's ESTABLISHED); UDP
    /// never does.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        const ACTIVE: u32 = 1 << State::Established as u16
            | 1 << State::SynSent as u16
            | 1 << State::SynRecv as u16
            | 1 << State::SynAck as u16
            | 1 << State::SctpEstablished as u16;
        ACTIVE >> self as u16 & 1 == 1
    }
}

/// How long a conn lives without a packet, by state; in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts([u32; 32]);

impl Timeouts {
    /// The timeout of a state.
    #[inline(always)]
    pub const fn of(&self, state: State) -> u32 {
        self.0[state as usize & 31]
    }

    /// Sets one, in milliseconds, at most `tick::MAX_TIMEOUT_MS`.
    pub fn set(&mut self, state: State, millis: u32) {
        self.0[state as usize] = millis.min(crate::tick::MAX_TIMEOUT_MS);
    }
}

impl Default for Timeouts {
    /// The kernel's (`tcp_timeouts`, `udp_timeouts`, `sctp_timeouts`).
    fn default() -> Self {
        let mut t = Self([0; 32]);
        for (state, secs) in [
            (State::None, 2),
            (State::Established, 900),
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::FinWait, 120),
            (State::TimeWait, 120),
            (State::Close, 10),
            (State::CloseWait, 60),
            (State::LastAck, 30),
            (State::Listen, 120),
            (State::SynAck, 120),
            (State::Udp, 300),
            (State::SctpInit1, 4),
            (State::SctpInit, 61),
            (State::SctpCookieSent, 61),
            (State::SctpCookieReplied, 61),
            (State::SctpCookieWait, 61),
            (State::SctpCookie, 61),
            (State::SctpCookieEchoed, 61),
            (State::SctpEstablished, 900),
            (State::SctpShutdownSent, 61),
            (State::SctpShutdownReceived, 61),
            (State::SctpShutdownAckSent, 61),
            (State::SctpRejected, 4),
            (State::SctpClosed, 61),
        ] {
            t.set(state, secs * 1000);
        }
        t
    }
}

/// Which of the kernel's three tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// From the client.
    Input,
    /// From the dest.
    Output,
    /// From the client, where answers do not pass the director.
    InputOnly,
}

/// The state after a segment with these control bits. Of TCP's states alone, whose numbers are below
/// 16.
#[inline(always)]
pub(super) fn next(side: Side, state: State, flags: u8) -> State {
    NEXT[side as usize][(flags & 0x1f) as usize][state as usize & 15]
}

/// The same by the tables for floods (`tcp_states_dos`). Where a segment without SYN, FIN and RST
/// changes no state by the usual tables, it changes none by these, so the plain lane does not ask.
#[cold]
pub(super) fn next_secure(side: Side, state: State, flags: u8) -> State {
    NEXT[3 + side as usize][(flags & 0x1f) as usize][state as usize & 15]
}

/// The tables' rows by the five lowest control bits, so that one look does.
static NEXT: [[[State; 16]; 32]; 6] = {
    let mut next = [[[State::Close; 16]; 32]; 6];
    let mut at = 0;
    while at < 6 * 32 {
        let (side, flags) = (at / 32, at % 32);
        // The kernel's order: rst, syn, fin, ack; with none of them the conn is closed.
        let flag = flags as u8;
        if flag & tcp::RST != 0 {
            next[side][flags] = TABLES[side][3];
        } else if flag & tcp::SYN != 0 {
            next[side][flags] = TABLES[side][0];
        } else if flag & tcp::FIN != 0 {
            next[side][flags] = TABLES[side][1];
        } else if flag & tcp::ACK_BIT != 0 {
            next[side][flags] = TABLES[side][2];
        }
        at += 1;
    }
    next
};

type Table = [[State; 16]; 4];

/// `tcp_states`, then `tcp_states_dos`.
const TABLES: [Table; 6] = {
    use State::Close as CL;
    use State::CloseWait as CW;
    use State::Established as ES;
    use State::FinWait as FW;
    use State::LastAck as LA;
    use State::Listen as LI;
    use State::None as NO;
    use State::SynAck as SA;
    use State::SynRecv as SR;
    use State::SynSent as SS;
    use State::TimeWait as TW;
    // Columns: none established syn_sent syn_recv fin_wait time_wait close close_wait last_ack
    // listen synack; the rest is never reached. Rows: syn fin ack rst.
    [
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
            [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR, NO, NO, NO, NO, NO],
        ],
        [
            [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR, NO, NO, NO, NO, NO],
            [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO],
            [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO],
            [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO],
        ],
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
            [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
        ],
        [
            [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA, NO, NO, NO, NO, NO],
            [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA, NO, NO, NO, NO, NO],
            [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA, NO, NO, NO, NO, NO],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
        ],
        [
            [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA, NO, NO, NO, NO, NO],
            [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO],
            [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO],
            [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO],
        ],
        [
            [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA, NO, NO, NO, NO, NO],
            [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
            [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
            [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
        ],
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: Side, steps: &[(u8, State)]) {
        let mut state = State::None;
        for (flags, expected) in steps {
            state = next(side, state, *flags);
            assert_eq!(state, *expected, "after {flags:#x}");
        }
    }

    #[test]
    fn a_conn_seen_both_ways() {
        let mut s = State::None;
        for (side, flags, expected) in [
            (Side::Input, tcp::SYN, State::SynRecv),
            (Side::Output, tcp::SYN | tcp::ACK_BIT, State::SynRecv),
            (Side::Input, tcp::ACK_BIT, State::Established),
            (Side::Input, tcp::FIN | tcp::ACK_BIT, State::CloseWait),
            (Side::Output, tcp::FIN | tcp::ACK_BIT, State::TimeWait),
            (Side::Input, tcp::ACK_BIT, State::TimeWait),
        ] {
            s = next(side, s, flags);
            assert_eq!(s, expected);
        }
    }

    /// What `Conn::stays` does not ask this table for.
    #[test]
    fn what_only_acknowledges_changes_nothing_in_established() {
        for side in [Side::Input, Side::Output, Side::InputOnly] {
            for flags in 0..=u8::MAX {
                let others = tcp::SYN | tcp::FIN | tcp::RST;
                if flags & (others | tcp::ACK_BIT) == tcp::ACK_BIT {
                    assert_eq!(next(side, State::Established, flags), State::Established);
                }
            }
        }
    }

    #[test]
    fn a_conn_seen_one_way() {
        run(
            Side::InputOnly,
            &[
                (tcp::SYN, State::SynRecv),
                (tcp::ACK_BIT, State::Established),
                (tcp::FIN | tcp::ACK_BIT, State::FinWait),
                (tcp::ACK_BIT, State::FinWait),
                (tcp::RST, State::Close),
            ],
        );
    }

    /// `tcp_states_dos`: the handshake's third segment alone does not do.
    #[test]
    fn under_secure_tcp_the_dests_answer_establishes() {
        let mut s = State::None;
        for (side, flags, expected) in [
            (Side::Input, tcp::SYN, State::SynRecv),
            (Side::Input, tcp::ACK_BIT, State::SynRecv),
            (Side::Output, tcp::SYN | tcp::ACK_BIT, State::SynAck),
            (Side::Input, tcp::ACK_BIT, State::SynAck),
            (Side::Output, tcp::ACK_BIT, State::Established),
        ] {
            s = next_secure(side, s, flags);
            assert_eq!(s, expected);
        }
        assert_eq!(next_secure(Side::Input, State::SynAck, tcp::RST), State::Close);
        let mut s = State::None;
        for (flags, expected) in [(tcp::SYN, State::SynAck), (tcp::ACK_BIT, State::Established)] {
            s = next_secure(Side::InputOnly, s, flags);
            assert_eq!(s, expected);
        }
    }

    #[test]
    fn what_the_plain_lane_takes_changes_no_state_under_secure_tcp_either() {
        for side in [Side::Input, Side::Output, Side::InputOnly] {
            for n in 0..11 {
                let state = State::ALL[n];
                for flags in [0, tcp::ACK_BIT] {
                    let stays = next(side, state, flags) == state;
                    assert!(!stays || next_secure(side, state, flags) == state);
                }
            }
        }
    }

    #[test]
    fn a_bogus_reset_does_not_kill_a_half_open_conn() {
        run(Side::Input, &[(tcp::SYN, State::SynRecv), (tcp::RST, State::SynRecv)]);
    }

    #[test]
    fn no_known_bit_closes() {
        run(Side::Input, &[(tcp::SYN, State::SynRecv), (0, State::Close)]);
    }

    #[test]
    fn names_round_trip_by_number() {
        for n in 0..State::COUNT as u8 {
            assert_eq!(State::from_number(n) as u8, n);
        }
        assert!(
            State::SynAck.is_active() && !State::FinWait.is_active() && !State::Udp.is_active()
        );
    }
}
