//! What was told already: a refusal is logged once for each source and reason, not once for each try.

use evenkeel_types::Time;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Sources and reasons that are remembered. While so many are, further ones are not logged: whoever comes from ever new
/// addresses does not fill the log.
pub(crate) const REFUSALS_TOLD_MAX: usize = 256;
/// After this time without a try a refusal is told again.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// Refusals that were told.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<(IpAddr, &'static str), Time>);

/// Whether a refusal is to be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tell {
    /// It is the first of its kind from there.
    Now,
    /// It is the first of its kind from there, and the last one that is told before others are forgotten.
    Last,
    /// It was told, or too many others were.
    Not,
}

impl Told {
    /// Notes a refusal for a reason.
    pub(crate) fn note(&mut self, now: Time, from: IpAddr, reason: &'static str) -> Tell {
        let source = (from.to_canonical(), reason);
        if let Some(last) = self.0.get_mut(&source)
            && now.since(*last) < FORGOTTEN_AFTER
        {
            *last = now;
            return Tell::Not;
        }
        self.0.retain(|_, last| now.since(*last) < FORGOTTEN_AFTER);
        if self.0.len() >= REFUSALS_TOLD_MAX {
            return Tell::Not;
        }
        self.0.insert(source, now);
        if self.0.len() == REFUSALS_TOLD_MAX { Tell::Last } else { Tell::Now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    fn source(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(n))
    }

    #[test]
    fn a_refusal_is_told_once_for_each_source_and_reason_until_it_was_quiet_for_an_hour() {
        let mut told = Told::default();
        assert_eq!(told.note(at(0), source(1), "a"), Tell::Now);
        assert_eq!(told.note(at(3599), source(1), "a"), Tell::Not);
        assert_eq!(told.note(at(3599), source(1), "b"), Tell::Now);
        assert_eq!(told.note(at(3599), source(2), "a"), Tell::Now);
        assert_eq!(told.note(at(7198), source(1), "a"), Tell::Not);
        assert_eq!(told.note(at(7198 + 3600), source(1), "a"), Tell::Now);
    }

    #[test]
    fn ever_new_sources_fill_neither_the_log_nor_the_memory() {
        let mut told = Told::default();
        let mut lines = 0;
        for n in 0..100_000 {
            lines += usize::from(told.note(at(1), source(n), "a") != Tell::Not);
        }
        assert_eq!((lines, told.0.len()), (REFUSALS_TOLD_MAX, REFUSALS_TOLD_MAX));
        assert_eq!(told.note(at(3602), source(7_000_000), "a"), Tell::Now);
        assert_eq!(told.0.len(), 1);
    }
}
