//! Random walks: deeper than the search reaches, with larger bounds.

use crate::bound::Bound;
use crate::check::{Property, check};
use crate::coverage::Coverage;
use crate::heal::Healing;
use crate::next::{Freedom, successors};
use crate::rule::Rules;
use crate::state::State;
use crate::step::Step;
use crate::timeline::Violation;

/// Every so many walks, the last state is asked for a way back to a group that serves.
const HEALING_EVERY: u64 = 16;

/// Bytes for the ways back that are known.
const HEALING_BYTES: usize = 64 << 20;

/// What random walks came across.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Walked {
    /// What does not hold, and the walk that found it.
    pub violation: Option<(u64, Violation)>,
    /// Walks that were made.
    pub walks: u64,
    /// Events in all of them.
    pub events: u64,
    /// Last states that a way back was found from.
    pub healed: u64,
    /// What they came across.
    pub coverage: Coverage,
}

/// Goes random ways of at most `length` events from the first state, until `enough` says so after a walk or something does
/// not hold. A walk depends on its number alone: the first has the number `seed`.
pub fn walk(
    bound: &Bound,
    rules: Rules,
    seed: u64,
    length: usize,
    mut enough: impl FnMut(&Walked) -> bool,
) -> Walked {
    let mut walked = Walked::default();
    let mut healing = Healing::new(bound, rules, HEALING_BYTES);
    for number in seed.. {
        let heals = number % HEALING_EVERY == 0;
        let found = one(bound, rules, number, length, heals.then_some(&mut healing), &mut walked);
        walked.walks += 1;
        walked.healed += u64::from(heals);
        walked.violation = found.map(|violation| (number, violation));
        if walked.violation.is_some() || enough(&walked) {
            break;
        }
    }
    walked
}

fn one(
    bound: &Bound,
    rules: Rules,
    number: u64,
    length: usize,
    healing: Option<&mut Healing<'_>>,
    walked: &mut Walked,
) -> Option<Violation> {
    let mut random = Random(number);
    let mut state = State::first(bound);
    let mut steps: Vec<Step> = Vec::with_capacity(length);
    let mut found = Vec::new();
    let tell = |steps: &[Step], property, remark| {
        let steps = steps.iter().map(Step::to_string).collect();
        Violation { property, steps, remark }
    };
    for _ in 0..length {
        found.clear();
        successors(&state, bound, rules, Freedom::Everything, &mut found);
        if found.is_empty() {
            break;
        }
        let (step, next) = found.swap_remove(random.below(found.len()));
        walked.coverage.note(&step, &next);
        walked.events += 1;
        steps.push(step);
        state = next;
        if let Some(property) = check(&state, rules) {
            return Some(tell(&steps, property, None));
        }
    }
    let remark = healing.and_then(|healing| healing.check(&state))?;
    Some(tell(&steps, Property::Heals, Some(remark)))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}
