//! What must hold of a replay.

use super::Input;
use super::Law;
use super::Policy;
use super::Run;
use crate::replay::skip::Skip;
use crate::replay::tally::MUST_LEAVE;
use serde::Serialize;

/// Something that must hold.
#[derive(Serialize)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) holds: bool,
    pub(super) detail: String,
}

/// All of them, in the order in which they are told.
pub(super) fn of(input: &Input, policy: &Policy, run: &Run, law: &Law) -> Vec<Check> {
    let mut checks = vec![
        Check {
            what: "the conservation law",
            holds: law.holds,
            detail: format!("{} in, {} out", law.inputs, law.outputs),
        },
        accounted(input, policy, run),
        equal(
            "what was fed was received",
            ("frames fed", run.fed.iter().sum()),
            ("received", law.received),
        ),
        equal("what was sent left", ("frames sent", law.sent), ("left", run.sink.frames)),
        equal(
            "what was handed over was taken",
            ("handed over", law.handed_over),
            ("taken over", law.taken_over),
        ),
        compared(run),
    ];
    checks.extend(share(run));
    checks.push(Check {
        what: "captures are whole",
        holds: input.cut.is_empty(),
        detail: match input.cut.is_empty() {
            true if input.stopped => "read until a signal stopped it".into(),
            true => "read to their end".into(),
            false => input.cut.join("; "),
        },
    });
    checks
}

fn equal(what: &'static str, (one, n): (&str, u64), (other, m): (&str, u64)) -> Check {
    Check { what, holds: n == m, detail: format!("{n} {one}, {m} {other}") }
}

fn accounted(input: &Input, policy: &Policy, run: &Run) -> Check {
    let made_up = run.map.as_ref().map_or(0, |m| m.tally.made_up);
    let came = input.frames + policy.further + run.copied + made_up;
    let (fed, skipped) = (run.fed.iter().sum::<u64>(), run.skips.iter().sum::<u64>());
    let went = fed + skipped + run.direct + input.foreign.values().sum::<u64>();
    let came = ("read and made up", came);
    equal("every frame is accounted for", came, ("fed, skipped or direct", went))
}

fn compared(run: &Run) -> Check {
    let wrong: u64 = run.wrong.iter().sum();
    Check {
        what: "what left is what the capture holds",
        holds: wrong == 0,
        detail: match wrong {
            0 => format!("{} packets compared", run.compared),
            n => format!("{n} of {} are not: {}", run.compared, run.described.join("; ")),
        },
    }
}

/// None where no conversation has a handshake.
fn share(run: &Run) -> Option<Check> {
    let t = &run.map.as_ref()?.tally;
    (t.handshake_frames > 0).then(|| Check {
        what: "99 % of frames of conversations with a handshake leave",
        holds: t.share() >= MUST_LEAVE,
        detail: format!("{} of {} left{}", t.handshake_left, t.handshake_frames, missed(run)),
    })
}

/// What may belong to the conversations and was never fed, by name.
fn missed(run: &Run) -> String {
    let skips = Skip::ALL.iter().map(|(skip, name, _)| (skip, name, run.skips[*skip as usize]));
    let missed = skips.filter(|(skip, _, n)| skip.is_missed() && *n > 0);
    let names: Vec<_> = missed.map(|(_, name, n)| format!("{name} {n}")).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; not fed, so in no share: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::args::Forward;
    use crate::replay::made;
    use crate::replay::map::Map;
    use crate::replay::policy::Large;
    use crate::replay::policy::Snapped;
    use crate::replay::sink::Sink;
    use crate::replay::stage::Stage;

    type Replay = (Input, Policy, Run, Law);

    /// One in which nothing happened.
    fn replay() -> Replay {
        let (forward, scheduler) = (Forward::Nat, "rr");
        let wanted = made::Wanted { vips: &[], forward, scheduler, dests: 1, conns: 1024 };
        let config = made::config(&wanted).unwrap_or_else(|e| panic!("{e}"));
        let stage = Stage::new(&config, 1, false).unwrap_or_else(|e| panic!("{e}"));
        let map = Map::new(Vec::new(), stage.snapshot().clone(), true);
        let law = crate::control::law(stage.stats());
        let run = Run::new(stage, Some(map), Sink::new(2), 2);
        (Input::new(Vec::new(), 1), Policy::new(Snapped::Pad, Large::Cut, 1500), run, law)
    }

    fn failed(edit: impl Fn(&mut Replay)) -> Vec<&'static str> {
        let mut replay = replay();
        edit(&mut replay);
        let (input, policy, run, law) = &replay;
        of(input, policy, run, law).iter().filter(|c| !c.holds).map(|c| c.what).collect()
    }

    fn tally(replay: &mut Replay, frames: u64, left: u64) {
        let map = replay.2.map.as_mut().expect("it has one");
        (map.tally.handshake_frames, map.tally.handshake_left) = (frames, left);
    }

    #[test]
    fn each_check_can_fail() {
        const EMPTY: [&str; 0] = [];
        const ACCOUNTED: &str = "every frame is accounted for";
        const SHARE: &str = "99 % of frames of conversations with a handshake leave";
        assert_eq!(failed(|_| {}), EMPTY);
        assert_eq!(failed(|r| r.3.holds = false), ["the conservation law"]);
        assert_eq!(failed(|r| r.0.frames = 1), [ACCOUNTED]);
        assert_eq!(failed(|r| r.2.direct = 1), [ACCOUNTED]);
        assert_eq!(failed(|r| r.2.fed[1] = 1), [ACCOUNTED, "what was fed was received"]);
        assert_eq!(failed(|r| r.3.sent = 1), ["what was sent left"]);
        assert_eq!(failed(|r| r.3.handed_over = 1), ["what was handed over was taken"]);
        assert_eq!(failed(|r| r.2.wrong[0] = 1), ["what left is what the capture holds"]);
        assert_eq!(failed(|r| tally(r, 100, 98)), [SHARE]);
        assert_eq!(failed(|r| tally(r, 100, 99)), EMPTY);
        assert_eq!(failed(|r| r.0.cut.push("cut".into())), ["captures are whole"]);
    }
}
