//! The directory between the servers and the engine in memory: transactions are late, refused, or lose their answers;
//! news come late, one revision after the other.

use crate::rng::Rng;
use evenkeel_meta::records::{FORMAT_VERSION, FormatRecord, ParsedKey, RouteKey};
use evenkeel_meta::{
    Batch, Directory, DirectoryError, KeyRange, Keyspace, LeaseId, MemoryDirectory, Operation, Revision,
    RouteEntry, Snapshot, Txn, TxnOutcome, View, Watch, WatchError, change,
};
use evenkeel_types::{ExtentId, Time};
use std::sync::Mutex;
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

/// The directory as a thread of a server that calls it sees it: each call may fail, before it happens or behind it.
pub(crate) struct Hazy<'a> {
    memory: &'a MemoryDirectory,
    rng: Mutex<&'a mut Rng>,
    haze: Haze,
    /// Nothing gets there.
    is_dark: bool,
}

/// The directory of the group.
pub(crate) struct SimDirectory {
    memory: MemoryDirectory,
    keys: Keyspace,
    rng: Rng,
    pub(crate) haze: Haze,
    backup: Option<MemoryDirectory>,
    standing: Standing,
}

/// Whether servers can use the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Found,
    /// It is gone.
    Lost,
    /// It is there as it was at the backup, and its routes are not rebuilt.
    Restored,
}

impl SimDirectory {
    /// An empty directory with the first record of a group, which keeps the changes of so many revisions: a watch that
    /// is behind them has to begin anew.
    pub(crate) fn new(rng: Rng, history: usize) -> Self {
        let keys = Keyspace::new("sim").expect("a sound name");
        let memory = MemoryDirectory::with_history(history);
        let (haze, backup, standing) = (Haze::default(), None, Standing::Found);
        let directory = Self { memory, keys, rng, haze, backup, standing };
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
        if self.is_lost() {
            return Err(DirectoryError::Unavailable { reason: "simulated".into() });
        }
        self.memory.transact(txn)
    }

    pub(crate) fn advance(&self, now: Time) {
        if self.standing != Standing::Lost {
            self.memory.advance(now);
        }
    }

    pub(crate) fn back_up(&mut self, now: Time) {
        self.backup = Some(self.memory.restored(now));
    }

    pub(crate) const fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    pub(crate) const fn lose(&mut self) {
        self.standing = Standing::Lost;
    }

    /// Whether no server can use it.
    pub(crate) fn is_lost(&self) -> bool {
        self.standing != Standing::Found
    }

    /// Puts the backup in the place of what was lost; nobody may use it before its routes are rebuilt.
    pub(crate) fn restore(&mut self, now: Time) {
        self.memory = self.backup.as_ref().expect("what is lost has a backup").restored(now);
        self.standing = Standing::Restored;
    }

    pub(crate) fn is_restored(&self) -> bool {
        self.standing == Standing::Restored
    }

    /// Carries out a transaction of whoever rebuilds the routes.
    pub(crate) fn carry_out_restored(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        self.memory.transact(txn)
    }

    /// It can be used again.
    pub(crate) const fn is_found(&mut self) {
        self.standing = Standing::Found;
    }

    /// What becomes of the next transaction.
    pub(crate) fn fate(&mut self) -> TxnFate {
        let (haze, rng) = (self.haze, &mut self.rng);
        let brief = |rng: &mut Rng| rng.micros(100, 2000);
        if self.standing != Standing::Found || rng.chance(haze.unavailable) {
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

    /// The directory for calls that wait for their answers; for a server that does not reach it, in the dark.
    pub(crate) fn through_haze(&mut self, is_dark: bool) -> Hazy<'_> {
        let is_dark = is_dark || self.is_lost();
        Hazy { memory: &self.memory, rng: Mutex::new(&mut self.rng), haze: self.haze, is_dark }
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

impl Hazy<'_> {
    fn call<T>(&self, call: impl FnOnce() -> Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        let mut rng = self.rng.lock().expect("no thread panics while it draws");
        let reason = || "simulated".to_owned();
        if self.is_dark || rng.chance(self.haze.unavailable) {
            return Err(DirectoryError::Unavailable { reason: reason() });
        }
        if !rng.chance(self.haze.unknown) {
            return call();
        }
        if rng.chance(500) {
            call()?;
        }
        Err(DirectoryError::OutcomeUnknown { reason: reason() })
    }
}

impl Directory for Hazy<'_> {
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        self.call(|| self.memory.transact(txn))
    }

    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        self.call(|| self.memory.range(range, at))
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        self.call(|| self.memory.watch(prefix, from))
    }

    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        self.call(|| self.memory.grant_lease(ttl))
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.call(|| self.memory.keep_alive(lease))
    }

    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.call(|| self.memory.revoke_lease(lease))
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
