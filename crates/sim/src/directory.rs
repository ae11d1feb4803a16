//! The directory between the servers and the engine in memory: transactions are late, refused, or lose their answers;
//! news come late, one revision after the other.

use crate::rng::Rng;
use evenkeel_meta::records::{FORMAT_VERSION, FormatRecord, ParsedKey, RouteKey};
use evenkeel_meta::{
    Batch, Directory, DirectoryError, KeyRange, Keyspace, MemoryDirectory, Operation, Revision, RouteEntry,
    Txn, TxnOutcome, View, Watch, WatchError, change,
};
use evenkeel_types::{ExtentId, Time};
use std::time::Duration;

/// How long a server waits for an answer of the directory before it gives it up.
const ANSWER_PATIENCE_MS: (u64, u64) = (300, 1500);

/// How the directory behaves at present; in parts of 1000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Haze {
    /// Transactions that take up to a second.
    pub(crate) late: u64,
    /// Transactions refused.
    pub(crate) unavailable: u64,
    /// Transactions without an answer.
    pub(crate) unknown: u64,
    /// News that come up to two seconds late.
    pub(crate) news_late: u64,
}

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TxnFate {
    /// It is carried out and answered.
    Answered {
        /// When it is carried out.
        at: Duration,
        /// How much later the answer comes.
        answer: Duration,
        /// Whether it takes unusually long.
        is_late: bool,
    },
    /// It is not carried out, and the server knows.
    Unavailable {
        /// When the server knows.
        answer: Duration,
    },
    /// The answer is lost: it is carried out before the server gives up waiting, after, or never.
    Unknown {
        /// When it is carried out, if it is.
        at: Option<Duration>,
        /// When the server gives up.
        answer: Duration,
    },
}

/// What a transaction does to a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MoveStep {
    /// It writes the intent.
    Prepare,
    /// It puts the target in the place of the owner.
    Propose,
    /// It clears the intent, or settles an entry otherwise.
    Clear,
}

/// The directory of the group.
pub(crate) struct SimDirectory {
    memory: MemoryDirectory,
    keys: Keyspace,
    rng: Rng,
    pub(crate) haze: Haze,
}

impl SimDirectory {
    /// An empty directory with the first record of a group, which keeps the changes of so many revisions: a watch that
    /// is behind them has to begin anew.
    pub(crate) fn new(rng: Rng, history: usize) -> Self {
        let keys = Keyspace::new("sim").expect("a sound name");
        let directory =
            Self { memory: MemoryDirectory::with_history(history), keys, rng, haze: Haze::default() };
        let format =
            FormatRecord { version: FORMAT_VERSION, group: "sim".into(), group_id: 1, generation: 0 };
        directory.carry_out(&change::begin_group(&directory.view(), &format)).expect("nothing is in its way");
        directory
    }

    pub(crate) const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// The directory as it is now.
    pub(crate) fn view(&self) -> View {
        let all = KeyRange::prefix(self.keys.prefix());
        let snapshot = self.memory.range(&all, None).expect("the engine in memory is always there");
        View::from_snapshot(self.keys.clone(), &snapshot).expect("the group's own format")
    }

    /// Watches everything from the revision after `known` on.
    pub(crate) fn watch(&self, known: Revision) -> Box<dyn Watch> {
        self.memory.watch(self.keys.prefix(), known.next()).expect("the engine in memory is always there")
    }

    pub(crate) fn carry_out(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        self.memory.transact(txn)
    }

    pub(crate) fn advance(&self, now: Time) {
        self.memory.advance(now);
    }

    /// What becomes of the next transaction.
    pub(crate) fn fate(&mut self) -> TxnFate {
        let (haze, rng) = (self.haze, &mut self.rng);
        let brief = |rng: &mut Rng| rng.micros(100, 2000);
        if rng.chance(haze.unavailable) {
            return TxnFate::Unavailable { answer: rng.millis(1, 400) };
        }
        if rng.chance(haze.unknown) {
            let answer = rng.millis(ANSWER_PATIENCE_MS.0, ANSWER_PATIENCE_MS.1);
            let at = match rng.below(3) {
                0 => None,
                1 => Some(brief(rng)),
                _ => Some(answer + rng.any_size(100, 3_000_000)),
            };
            return TxnFate::Unknown { at, answer };
        }
        let is_late = rng.chance(haze.late);
        let at = if is_late { rng.millis(100, 1000) } else { brief(rng) };
        let answer = if rng.chance(haze.late) { rng.millis(1, 300) } else { brief(rng) };
        TxnFate::Answered { at, answer, is_late }
    }

    /// What becomes of a transaction of a server that does not reach the directory: no answer comes, and mostly the
    /// directory never hears of it.
    pub(crate) fn fate_in_the_dark(&mut self) -> TxnFate {
        let answer = self.rng.millis(ANSWER_PATIENCE_MS.0, ANSWER_PATIENCE_MS.1);
        let at = self.rng.chance(200).then(|| self.rng.any_size(100, 3_000_000));
        TxnFate::Unknown { at, answer }
    }

    /// How late the next piece of news is at one server, and whether that is unusual.
    pub(crate) fn news_delay(&mut self) -> (Duration, bool) {
        if self.rng.chance(self.haze.news_late) {
            (self.rng.any_size(100_000, 2_000_000), true)
        } else {
            (self.rng.any_size(50, 20_000), false)
        }
    }

    /// The next revision of a watch, if there is one.
    ///
    /// # Errors
    /// The changes that come next are no longer kept.
    pub(crate) fn next_batch(watch: &mut dyn Watch) -> Result<Option<Batch>, WatchError> {
        watch.next(Duration::ZERO)
    }
}

/// The extent whose route entry a transaction changes, and what that means.
pub(crate) fn move_step(keys: &Keyspace, txn: &Txn) -> Option<(ExtentId, MoveStep)> {
    txn.success.iter().find_map(|operation| {
        let Operation::Put { key, value, .. } = operation else { return None };
        let ParsedKey::Route(volume, RouteKey::Extent(index)) = keys.parse(key) else { return None };
        let entry = RouteEntry::decode(value).ok()?;
        let step = match (entry.intent, entry.from) {
            (Some(_), _) => MoveStep::Prepare,
            (None, Some(_)) => MoveStep::Propose,
            (None, None) => MoveStep::Clear,
        };
        Some((ExtentId { volume, index }, step))
    })
}
