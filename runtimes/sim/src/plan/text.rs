//! A plan as one line of text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Act, Fault, Plan, Step, When};

/// The text of a [`Plan`] that has another form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePlanError {
    clause: String,
}

impl fmt::Display for ParsePlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = "expected `seed N`, `at TIME FAULT TARGET`, or `step WORKLOAD STEP VALUE`";
        write!(f, "invalid clause {:?} in a plan: {expected}", self.clause)
    }
}

impl std::error::Error for ParsePlanError {}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        self.acts.iter().try_for_each(|act| write!(f, "; {act}"))?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {} {}", self.when, self.fault.name(), self.target)?;
        if self.fault.is_of_wire() {
            write!(f, " {}", self.pick)?;
        }
        if self.fault.lasts() {
            write!(f, " for {}", Time(self.lasting))?;
        }
        Ok(())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(f, "{}", Time(*at)),
            Self::Event(number) => write!(f, "event {number}"),
            Self::Point { name, nth } => write!(f, "point {name} {nth}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} {} {}", self.workload, self.what, self.value)
    }
}

/// Accepts what `Display` writes.
impl FromStr for Plan {
    type Err = ParsePlanError;

    fn from_str(text: &str) -> Result<Self, ParsePlanError> {
        let mut plan = Self::new(0);
        for (index, clause) in text.split(';').enumerate() {
            let words: Vec<&str> = clause.split_whitespace().collect();
            let parsed = match (index, words.as_slice()) {
                (0, ["seed", seed]) => seed.parse().ok().map(|seed| plan.seed = seed),
                (1.., ["at", rest @ ..]) => parse_act(rest).map(|act| plan.acts.push(act)),
                (1.., ["step", workload, what, value]) => value.parse().ok().map(|value| {
                    let (workload, what) = ((*workload).to_owned(), (*what).to_owned());
                    plan.steps.push(Step { workload, what, value });
                }),
                _ => None,
            };
            parsed.ok_or_else(|| ParsePlanError { clause: clause.trim().to_owned() })?;
        }
        Ok(plan)
    }
}

fn parse_act(words: &[&str]) -> Option<Act> {
    let (when, words) = match words {
        ["event", number, words @ ..] => (When::Event(number.parse().ok()?), words),
        ["point", name, nth, words @ ..] => (When::point(name, nth.parse().ok()?), words),
        [at, words @ ..] => (When::At(parse_time(at)?), words),
        [] => return None,
    };
    let [fault, target, rest @ ..] = words else { return None };
    let fault = Fault::WIRE.into_iter().chain(Fault::MACHINE).find(|it| it.name() == *fault)?;
    let act = Act::when(when, fault, target);
    let (pick, rest) = match rest {
        [pick, rest @ ..] if fault.is_of_wire() => (pick.parse().ok()?, rest),
        _ if fault.is_of_wire() => return None,
        _ => (0, rest),
    };
    match (fault.lasts(), rest) {
        (true, ["for", lasting]) => Some(act.pick(pick).lasting(parse_time(lasting)?)),
        (false, []) => Some(act.pick(pick)),
        _ => None,
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::ResetPeer => "reset-peer",
            Self::Vanish => "vanish",
            Self::StallInbound => "stall-inbound",
            Self::StallOutbound => "stall-outbound",
            Self::Crash => "crash",
            Self::PowerLoss => "power-loss",
            Self::Pause => "pause",
            Self::Jump => "jump",
            Self::Isolate => "isolate",
        }
    }
}

/// The units of times, largest first, in nanoseconds.
const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// A time as a whole number of the largest unit that has one.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let unit = UNITS.into_iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(("ns", 1));
        write!(f, "{}{name}", nanos / unit)
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, name) = text.split_at(digits);
    let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == name)?;
    Some(Duration::from_nanos(number.parse::<u64>().ok()?.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_read_as_it_is_written() {
        let mut plan = Plan::new(u64::MAX);
        for (index, fault) in Fault::WIRE.into_iter().chain(Fault::MACHINE).enumerate() {
            let act = Act::new(Duration::from_micros(1_000 * index as u64 + 1), fault, "a:80");
            let act = if fault.is_of_wire() { act.pick(3) } else { act };
            plan.push_act(if fault.lasts() { act.lasting(Duration::from_secs(60)) } else { act });
        }
        plan.push_act(Act::at_event(12, Fault::Cut, "a"));
        plan.push_act(Act::at_point("a job is stored", 2, Fault::Pause, "a"));
        assert!(
            plan.to_string()
                .ends_with("; at event 12 cut a 0; at point a-job-is-stored 2 pause a for 0s")
        );
        plan.steps.push(Step { workload: "ada".into(), what: "say".into(), value: 7 });
        assert_eq!(plan.to_string().parse(), Ok(plan));
    }

    #[test]
    fn what_is_invalid_is_named() {
        for clause in [
            "at 5s cut",
            "at 5 cut a 0",
            "at 5s cut a",
            "at 5s cut a x",
            "at 5s pause a",
            "at 5s bite a",
            "at 5s cut a 0 for 1s",
            "step ada say",
            "seed 8",
            "",
            "at 99999999999999999999s cut a 0",
            "at event cut a 0",
            "at event x cut a 0",
            "at point stored cut a 0",
            "at",
        ] {
            let error = format!("seed 7;{clause}").parse::<Plan>().expect_err(clause);
            assert!(error.to_string().starts_with(&format!("invalid clause {clause:?} in a plan")));
        }
        assert!("at 5s cut a 0".parse::<Plan>().is_err());
    }
}
