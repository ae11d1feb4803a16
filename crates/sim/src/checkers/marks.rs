//! Who marks others down: within a short time of another mark only a strict majority may, unless the directory's hint of
//! life of the one that is marked has run out. A cut of the network that grows would else take one server after the other.
//!
//! The judge sees what the marker saw: the questions that it asked, the answers that got there, and its view.

use super::Violation;
use evenkeel_engine::config::MARK_AGAIN_AFTER;
use evenkeel_meta::View;
use evenkeel_types::{ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A mark that comes so soon behind another one is a second mark for every clock.
const AGAIN: Duration = Duration::from_millis(MARK_AGAIN_AFTER.as_millis() as u64 * 97 / 100);

/// A question whether others reach a server.
#[derive(Debug)]
struct Asked {
    number: u64,
    about: ServerId,
    unreached: BTreeSet<ServerId>,
}

/// Why a second mark was in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grounds {
    /// It was no second mark.
    First,
    /// More than half of the servers that are up did not reach the one that was marked.
    Majority,
    /// Its live key had run out.
    NoHint,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// When a server saw last that another one had gone down.
    seen: BTreeMap<ServerId, Time>,
    asked: BTreeMap<ServerId, Asked>,
}

impl Marks {
    /// A server asks another one whether it reaches a third.
    pub(crate) fn asks(&mut self, by: ServerId, number: u64, about: ServerId) {
        let is_same = self.asked.get(&by).is_some_and(|asked| asked.number == number);
        if !is_same {
            self.asked.insert(by, Asked { number, about, unreached: BTreeSet::new() });
        }
    }

    /// The answer gets there.
    pub(crate) fn told(&mut self, to: ServerId, from: ServerId, number: u64, reached: bool) {
        let asked = self.asked.get_mut(&to).filter(|asked| asked.number == number);
        if let Some(asked) = asked
            && !reached
        {
            asked.unreached.insert(from);
        }
    }

    /// A server's view shows that another one went down.
    pub(crate) fn saw(&mut self, by: ServerId, now: Time) {
        self.seen.insert(by, now);
    }

    /// A server's life is over.
    pub(crate) fn life_ends(&mut self, server: ServerId) {
        self.seen.remove(&server);
        self.asked.remove(&server);
    }

    /// A server marks another one down, by its view.
    pub(crate) fn judge(
        &self,
        by: ServerId,
        of: ServerId,
        view: &View,
        now: Time,
    ) -> Result<Grounds, Violation> {
        if self.seen.get(&by).is_none_or(|seen| now.since(*seen) >= AGAIN) {
            return Ok(Grounds::First);
        }
        let others =
            view.members().filter(|(server, kept)| *server != by && *server != of && kept.record.is_up());
        let up = others.count() + 2;
        if view.live(of).is_none() {
            return Ok(Grounds::NoHint);
        }
        let asked = self.asked.get(&by).filter(|asked| asked.about == of);
        let agree = 1 + asked.map_or(0, |asked| asked.unreached.len());
        // Of two, one goes.
        if up == 2 || 2 * agree > up {
            return Ok(Grounds::Majority);
        }
        let what = format!(
            "{by} marks {of} down soon after another mark, though its live key is there and {agree} of {up} do not reach it"
        );
        Err(Violation::new("marks", None, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_meta::change::{self, Actor};
    use evenkeel_meta::records::{ServerCapacity, ServerRecord};
    use evenkeel_meta::{Directory, KeyRange, Keyspace, MemoryDirectory};
    use evenkeel_types::Incarnation;

    const A: ServerId = ServerId(1);
    const C: ServerId = ServerId(3);

    /// Four servers that are up, and the live key of the third, if it is there.
    fn view(has_hint: bool) -> View {
        let (directory, keys) = (MemoryDirectory::default(), Keyspace::new("sim").unwrap());
        let view = || {
            let all = directory.range(&KeyRange::prefix(keys.prefix()), None).unwrap();
            View::from_snapshot(keys.clone(), &all).unwrap()
        };
        for number in 1..=4 {
            let record = ServerRecord {
                name: format!("s{number}"),
                portals: vec![],
                peer: String::new(),
                api: None,
                domain: format!("machine{number}"),
                capacity: ServerCapacity::default(),
                store_id: number,
            };
            let (id, txn) = change::register_server(&view(), &record).unwrap();
            assert!(directory.transact(&txn).unwrap().succeeded);
            let txn = change::start_server(&view(), id, Incarnation(1)).unwrap();
            assert!(directory.transact(&txn).unwrap().succeeded);
        }
        if has_hint {
            let lease = directory.grant_lease(Duration::from_secs(5)).unwrap();
            let by = Actor { server: C, incarnation: Incarnation(1) };
            assert!(directory.transact(&change::announce(&view(), by, lease).unwrap()).unwrap().succeeded);
        }
        view()
    }

    #[test]
    fn a_second_mark_needs_a_majority_or_a_live_key_that_ran_out() {
        let at = |ms| Time::ZERO + Duration::from_millis(ms);
        let mut marks = Marks::default();
        assert_eq!(marks.judge(A, C, &view(true), at(0)), Ok(Grounds::First));
        marks.saw(A, at(0));
        marks.judge(A, C, &view(true), at(3000)).unwrap_err();
        assert_eq!(marks.judge(A, C, &view(false), at(3000)), Ok(Grounds::NoHint));
        // One of two others agrees: that is half of the four.
        marks.asks(A, 7, C);
        marks.told(A, ServerId(2), 7, false);
        marks.told(A, ServerId(4), 7, true);
        marks.told(A, ServerId(4), 6, false);
        marks.judge(A, C, &view(true), at(3000)).unwrap_err();
        marks.told(A, ServerId(4), 7, false);
        assert_eq!(marks.judge(A, C, &view(true), at(3000)), Ok(Grounds::Majority));
        // What was said of another server, or asked by a life that is over, does not count.
        marks.asks(A, 8, ServerId(2));
        marks.judge(A, C, &view(true), at(3000)).unwrap_err();
        assert_eq!(marks.judge(A, C, &view(true), at(10_000)), Ok(Grounds::First));
        marks.life_ends(A);
        assert_eq!(marks.judge(A, C, &view(true), at(3000)), Ok(Grounds::First));
    }
}
