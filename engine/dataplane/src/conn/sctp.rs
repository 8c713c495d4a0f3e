//! SCTP's states: `sctp_states` of net/netfilter/ipvs/ip_vs_proto_sctp.c. They are those of the dest,
//! as far as what passes tells.

use super::state::Side;
use super::state::State;
use crate::wire::sctp::Event;

/// The state after a packet of this event (`wire::sctp::event_of`).
pub(super) fn next(side: Side, state: State, event: u8) -> State {
    // NONE comes first, the others follow one another.
    let column = (state as usize).saturating_sub(State::SctpInit1 as usize - 1);
    let row = (event as usize).min(Event::Abort as usize);
    TABLES[side as usize][row][column.min(13)]
}

/// By events, as they are numbered, and states: none init1 init cookie_sent cookie_replied cookie_wait
/// cookie cookie_echoed established shutdown_sent shutdown_received shutdown_ack_sent rejected closed.
static TABLES: [[[State; 14]; 10]; 3] = {
    use State::SctpClosed as CL;
    use State::SctpCookie as CO;
    use State::SctpCookieEchoed as CE;
    use State::SctpCookieReplied as CR;
    use State::SctpCookieSent as CS;
    use State::SctpCookieWait as CW;
    use State::SctpEstablished as ES;
    use State::SctpInit as IN;
    use State::SctpInit1 as I1;
    use State::SctpRejected as RJ;
    use State::SctpShutdownAckSent as SA;
    use State::SctpShutdownReceived as SR;
    use State::SctpShutdownSent as SS;
    [
        [
            [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
            [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
            [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
            [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
            [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
        [
            [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
            [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
            [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
            [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
            [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
        [
            [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
            [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
            [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
            [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
            [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
            [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
            [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
            [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
            [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
        ],
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(Side, Event, State)]) {
        let mut state = State::None;
        for (side, event, expected) in steps {
            state = next(*side, state, *event as u8);
            assert_eq!(state, *expected, "after {event:?}");
        }
    }

    #[test]
    fn an_association_from_its_beginning_to_its_end() {
        run(&[
            (Side::Input, Event::Init, State::SctpInit1),
            (Side::Output, Event::InitAck, State::SctpCookieSent),
            (Side::Input, Event::CookieEcho, State::SctpCookieReplied),
            (Side::Output, Event::CookieAck, State::SctpEstablished),
            (Side::Input, Event::Data, State::SctpEstablished),
            (Side::Input, Event::Shutdown, State::SctpShutdownReceived),
            (Side::Output, Event::ShutdownAck, State::SctpShutdownAckSent),
            (Side::Input, Event::ShutdownComplete, State::SctpClosed),
        ]);
    }

    #[test]
    fn a_dest_that_refuses() {
        run(&[
            (Side::Input, Event::Init, State::SctpInit1),
            (Side::Output, Event::Abort, State::SctpRejected),
            (Side::Input, Event::Init, State::SctpInit),
        ]);
    }

    #[test]
    fn seen_one_way() {
        run(&[
            (Side::InputOnly, Event::Init, State::SctpInit1),
            (Side::InputOnly, Event::CookieEcho, State::SctpEstablished),
            (Side::InputOnly, Event::Shutdown, State::SctpShutdownReceived),
            (Side::InputOnly, Event::ShutdownComplete, State::SctpClosed),
        ]);
    }
}
