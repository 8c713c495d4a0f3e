//! How conns end that their ends did not end: `on_dead` and `on_idle`.

use crate::model::OnDead;
use crate::model::OnIdle;
use crate::model::Protocol;
use crate::raw::RawService;
use crate::report::Report;

/// What a protocol cannot do is refused: UDP has no resets, nor is SCTP given any, whose tags nobody
/// remembers here; and neither a TCP conn nor one of SCTP can move.
pub(super) fn check(report: &mut Report<'_>, service: &RawService) {
    if let Some(at) = service.on_dead {
        let help = match (service.protocol, at.value) {
            (Protocol::Udp, OnDead::Reset) => {
                "UDP has no resets: \"reselect\" gives the client's next datagram to another dest"
            }
            (Protocol::Tcp, OnDead::Reselect) => {
                "another server knows nothing of a TCP conn: \"reset\" lets the client begin anew"
            }
            (Protocol::Sctp, OnDead::Reset | OnDead::Reselect) => {
                "SCTP has \"keep\" and \"drop\": its ends find out by themselves"
            }
            _ => "",
        };
        if !help.is_empty() {
            let message = format!("on_dead = \"{}\" for {}", at.value, service.protocol);
            report.error(at.span, message, help);
        }
    }
    if let Some(at) = service.on_idle.filter(|at| at.value == OnIdle::Reset)
        && service.protocol != Protocol::Tcp
    {
        let help = match service.protocol {
            Protocol::Udp => "UDP has no resets; leave it out, or set udp_timeout",
            _ => "it is for TCP; leave it out, or set sctp_timeout",
        };
        report.error(at.span, format!("on_idle = \"reset\" for {}", service.protocol), help);
    }
}
