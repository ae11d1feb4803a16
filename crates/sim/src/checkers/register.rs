//! Every sector of every volume is a register, and the history of every register must be linearizable: each operation
//! takes effect at one moment between its submission and its answer, exactly once.
//!
//! Each write fills each of its sectors with bytes that name the write, so a read tells which write it saw. The judge
//! of one sector keeps all states in which the sector can be: a value, and which of the open operations took effect.
//! When an operation is answered, only states survive in which it took effect with that answer; where none survives,
//! the history is impossible. States are extended only when an answer forces it (just-in-time linearization).
//!
//! * A read counts at the moment at which its value was there. What it saw is known only when it is answered, so the
//!   events of a sector behind the submission of an open read wait for its answer.
//! * A write without a certain outcome (its gateway crashed, or the answer was "unknown") took effect once or never; at
//!   its *deadline* it is too late for it.
//! * Compare-and-write took effect only on what it expected. A miscompare is a read of something else.

use super::Violation;
use crate::client::sector::place_of;
use evenkeel_types::{Time, VolumeId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a sector holds: zero for zeros, else the number of the write.
pub(crate) type Tag = u32;
/// Names an operation; a write's tag is its number.
pub(crate) type OpNumber = u32;

/// Open operations on one sector at once; a bit each.
const OPEN_MAX: usize = 64;
/// States of one sector at once; the workload stays far below.
const STATES_MAX: usize = 1 << 14;

/// What an operation would do to one sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Its value becomes this one.
    Set(Tag),
    /// Its value becomes `new` if it is `expected`.
    Exchange {
        /// What must be there.
        expected: Tag,
        /// What comes.
        new: Tag,
    },
    /// Nothing; it saw this value, or anything but it.
    See {
        /// The value.
        tag: Tag,
        /// Whether it saw this value, or any other one.
        equal: bool,
    },
}

/// How an operation ended, for one sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It took effect.
    Done,
    /// It did not and will not.
    Never,
    /// It did, or did not, and will not any more.
    Unclear,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The effect of an open operation becomes known later.
    Begin(OpNumber, Option<Effect>),
    End(OpNumber, End),
}

#[derive(Clone, Copy, Debug)]
struct Open {
    op: OpNumber,
    effect: Effect,
}

/// One way in which the sector can be: its value, and which of the open operations (by their place) took effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct State {
    tag: Tag,
    done: u64,
}

#[derive(Debug)]
struct Sector {
    states: SmallVec<[State; 1]>,
    open: SmallVec<[Option<Open>; 2]>,
    waiting: VecDeque<Step>,
}

impl Default for Sector {
    fn default() -> Self {
        Self {
            states: SmallVec::from_elem(State { tag: 0, done: 0 }, 1),
            open: SmallVec::new(),
            waiting: VecDeque::new(),
        }
    }
}

/// The sectors of all volumes.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    sectors: BTreeMap<u64, Sector>,
    /// Writes whose fate is open, with their sectors, by the time at which it is too late for them.
    deadlines: BTreeSet<(Time, OpNumber)>,
    unclear: BTreeMap<OpNumber, Vec<u64>>,
}

impl Registers {
    /// A change was submitted.
    pub(crate) fn begin(&mut self, op: OpNumber, effects: impl IntoIterator<Item = (u64, Effect)>) {
        for (sector, effect) in effects {
            self.sectors.entry(sector).or_default().waiting.push_back(Step::Begin(op, Some(effect)));
        }
    }

    /// A read or a compare-and-write was submitted: what it amounts to is known when it is answered.
    pub(crate) fn begin_open(&mut self, op: OpNumber, sectors: impl IntoIterator<Item = u64>) {
        for sector in sectors {
            self.sectors.entry(sector).or_default().waiting.push_back(Step::Begin(op, None));
        }
    }

    /// It is known now what an operation amounts to that began as an open one.
    pub(crate) fn amounts_to(
        &mut self,
        op: OpNumber,
        effects: impl IntoIterator<Item = (u64, Effect)>,
    ) -> Result<(), Violation> {
        for (number, effect) in effects {
            let sector = self.sectors.entry(number).or_default();
            sector.resolve(op, Some(effect));
            sector.advance(number)?;
        }
        Ok(())
    }

    /// A change was answered.
    pub(crate) fn end(
        &mut self,
        op: OpNumber,
        sectors: impl IntoIterator<Item = (u64, End)>,
    ) -> Result<(), Violation> {
        for (number, end) in sectors {
            let sector = self.sectors.entry(number).or_default();
            sector.waiting.push_back(Step::End(op, end));
            sector.advance(number)?;
        }
        Ok(())
    }

    /// An open operation was answered with what it saw in each sector; `None`: nothing.
    pub(crate) fn end_read(
        &mut self,
        op: OpNumber,
        seen: impl IntoIterator<Item = (u64, Option<Effect>)>,
    ) -> Result<(), Violation> {
        for (number, effect) in seen {
            let sector = self.sectors.entry(number).or_default();
            sector.resolve(op, effect);
            if effect.is_some() {
                sector.waiting.push_back(Step::End(op, End::Done));
            }
            sector.advance(number)?;
        }
        Ok(())
    }

    /// A change will have no answer any more; it takes effect until the deadline or never.
    pub(crate) fn lose(&mut self, op: OpNumber, sectors: impl IntoIterator<Item = u64>, deadline: Time) {
        self.deadlines.insert((deadline, op));
        self.unclear.insert(op, sectors.into_iter().collect());
    }

    /// Time has passed: lost changes whose deadline has come will not happen any more.
    pub(crate) fn expire(&mut self, now: Time) -> Result<(), Violation> {
        while let Some((deadline, op)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            let sectors = self.unclear.remove(&op).unwrap_or_default();
            self.end(op, sectors.into_iter().map(|sector| (sector, End::Unclear)))?;
        }
        Ok(())
    }

    /// From now on it is too late for these lost changes to a volume; gives how many there were.
    pub(crate) fn seal(
        &mut self,
        volume: VolumeId,
        is_over: impl Fn(OpNumber) -> bool,
    ) -> Result<u64, Violation> {
        let of_volume = |sectors: &Vec<u64>| sectors.first().is_some_and(|n| place_of(*n).volume == volume);
        let over: Vec<OpNumber> = self
            .unclear
            .iter()
            .filter(|(op, sectors)| of_volume(sectors) && is_over(**op))
            .map(|(op, _)| *op)
            .collect();
        for op in &over {
            let sectors = self.unclear.remove(op).unwrap_or_default();
            self.end(*op, sectors.into_iter().map(|sector| (sector, End::Unclear)))?;
        }
        self.deadlines.retain(|(_, op)| !over.contains(op));
        Ok(over.len() as u64)
    }

    /// A value that the sector may have.
    pub(crate) fn likely(&self, sector: u64) -> Tag {
        self.sectors.get(&sector).map_or(0, |sector| sector.states[0].tag)
    }

    /// All sectors that were ever touched, in order.
    pub(crate) fn touched(&self) -> impl Iterator<Item = u64> {
        self.sectors.keys().copied()
    }

    /// Whether every sector has exactly one possible value and nothing open: so it is when all has ended and was read.
    pub(crate) fn unsettled(&self) -> Option<u64> {
        let settled = |sector: &Sector| sector.waiting.is_empty() && sector.open.iter().all(Option::is_none);
        self.sectors.iter().find(|(_, sector)| !settled(sector)).map(|(number, _)| *number)
    }
}

impl Sector {
    /// Says what an operation amounts to that began as an open one; `None`: to nothing.
    fn resolve(&mut self, op: OpNumber, effect: Option<Effect>) {
        let begin =
            self.waiting.iter().position(|step| matches!(step, Step::Begin(other, _) if *other == op));
        let begin = begin.expect("an open operation waits in its sectors until it is answered");
        match effect {
            Some(effect) => self.waiting[begin] = Step::Begin(op, Some(effect)),
            None => {
                self.waiting.remove(begin);
            }
        }
    }

    fn advance(&mut self, number: u64) -> Result<(), Violation> {
        while let Some(step) = self.waiting.front().copied() {
            match step {
                Step::Begin(_, None) => break,
                Step::Begin(op, Some(effect)) => self.begin(op, effect)?,
                Step::End(op, end) => self.end(number, op, end)?,
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn begin(&mut self, op: OpNumber, effect: Effect) -> Result<(), Violation> {
        let open = Some(Open { op, effect });
        let place = match self.open.iter().position(Option::is_none) {
            Some(place) => {
                self.open[place] = open;
                place
            }
            None => {
                self.open.push(open);
                self.open.len() - 1
            }
        };
        if place >= OPEN_MAX {
            return Err(too_much("operations are open on one sector"));
        }
        for state in &mut self.states {
            *state = state.see(&self.open);
        }
        self.states.sort_unstable();
        self.states.dedup();
        Ok(())
    }

    fn end(&mut self, number: u64, op: OpNumber, end: End) -> Result<(), Violation> {
        let place = self.open.iter().position(|open| open.is_some_and(|open| open.op == op));
        let place = place.expect("what ends has begun");
        let bit = 1u64 << place;
        let before = self.states.clone();
        let mut after = BTreeSet::new();
        match end {
            End::Never => after.extend(before.iter().filter(|state| state.done & bit == 0)),
            End::Done => self.extend(bit, &mut after)?,
            End::Unclear => {
                self.extend(bit, &mut after)?;
                after.extend(before.iter());
            }
        }
        let effect = self.open[place].take().expect("the place was just found").effect;
        self.states = after.into_iter().map(|state| State { done: state.done & !bit, ..state }).collect();
        self.states.sort_unstable();
        self.states.dedup();
        if self.states.is_empty() {
            self.states = before.iter().map(|state| State { done: 0, ..*state }).collect();
            return Err(impossible(number, op, effect, end, &before, &self.open));
        }
        Ok(())
    }

    /// All states that follow from the present ones by letting open operations take effect until the one at `bit` has.
    fn extend(&self, bit: u64, into: &mut BTreeSet<State>) -> Result<(), Violation> {
        let mut seen: BTreeSet<State> = self.states.iter().copied().collect();
        let mut work: Vec<State> = self.states.to_vec();
        while let Some(state) = work.pop() {
            if state.done & bit != 0 {
                into.insert(state);
                continue;
            }
            for (place, open) in self.open.iter().enumerate() {
                let Some(open) = open else { continue };
                if state.done >> place & 1 == 1 {
                    continue;
                }
                let tag = match open.effect {
                    Effect::Set(tag) => tag,
                    Effect::Exchange { expected, new } if state.tag == expected => new,
                    Effect::Exchange { .. } | Effect::See { .. } => continue,
                };
                let next = State { tag, done: state.done | 1 << place }.see(&self.open);
                if seen.insert(next) {
                    work.push(next);
                }
            }
            if seen.len() > STATES_MAX {
                return Err(too_much("states are possible for one sector"));
            }
        }
        Ok(())
    }
}

impl State {
    /// Open reads that can have seen this state's value have: to see it now excludes nothing later.
    fn see(mut self, open: &[Option<Open>]) -> Self {
        for (place, open) in open.iter().enumerate() {
            if let Some(Open { effect: Effect::See { tag, equal }, .. }) = open
                && (self.tag == *tag) == *equal
            {
                self.done |= 1 << place;
            }
        }
        self
    }
}

fn too_much(what: &str) -> Violation {
    Violation::new("register", None, format!("too many {what} for the checker"))
}

fn impossible(
    number: u64,
    op: OpNumber,
    effect: Effect,
    end: End,
    states: &[State],
    open: &[Option<Open>],
) -> Violation {
    let tags: BTreeSet<Tag> = states.iter().map(|state| state.tag).collect();
    let open: Vec<String> =
        open.iter().flatten().map(|open| format!("{} {:?}", open.op, open.effect)).collect();
    let at = place_of(number);
    let what = format!(
        "operation {op} {effect:?} ended {end:?} at {at}, but the sector can only hold {tags:?}; open there: [{}]",
        open.join(", ")
    );
    Violation::new("register", at.extent(), what)
}

#[cfg(test)]
mod tests;
