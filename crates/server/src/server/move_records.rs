//! What the directory records of moves, read for balancing.
//!
//! Every server reads the records of all moves: so whoever plans next knows which extents have to rest, whoever decided
//! or ordered their moves. And the server that led a move measures its effect once the filters have seen it, and writes
//! it into the record beside what was predicted.

use evenkeel_balance::{GroupView, HalfLives, Load, MoveHistory, MoveOutcome, MoveReason, PastMove};
use evenkeel_meta::change::{Actor, annotate_move};
use evenkeel_meta::records::{MoveRecord, MoveState, ParsedKey, decode_json};
use evenkeel_meta::{Entry, Keyspace, MoveId, Revision, Txn, View};
use evenkeel_types::Time;
use evenkeel_types::geometry::EXTENT_BYTES;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after the end of a move its effect may still be measured; later, too much else has changed.
const MEASURE_WITHIN: Duration = Duration::from_secs(60);
/// How long the directory gets to show a measurement before it is written again.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Effects that wait to be measured at a time; of more, the latest are not measured.
const EFFECTS_MAX: usize = 1024;

/// A move that has ended, led by this server, whose effect is to be measured.
struct Effect {
    record: MoveRecord,
    reason: MoveReason,
    read: Revision,
    ended: Time,
    /// When the measurement was last given to the directory.
    written: Option<Time>,
}

/// See the module's head.
#[derive(Default)]
pub(super) struct MoveRecords {
    effects: BTreeMap<MoveId, Effect>,
}

/// The present by both clocks: the one that this server reckons with, and the one that records tell.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    pub(super) now: Time,
    pub(super) unix_ms: u64,
}

impl Clocks {
    fn age(self, unix_ms: u64) -> Duration {
        Duration::from_millis(self.unix_ms.saturating_sub(unix_ms))
    }
}

impl MoveRecords {
    /// Reads what is a move among new entries of the directory.
    pub(super) fn read<'a>(
        &mut self,
        clocks: Clocks,
        by: Actor,
        keys: &Keyspace,
        entries: impl Iterator<Item = &'a Entry>,
        history: &mut MoveHistory,
    ) {
        for entry in entries {
            if let ParsedKey::Move(id) = keys.parse(&entry.key)
                && let Ok(record) = decode_json::<MoveRecord>(&entry.value)
            {
                self.read_one(clocks, by, id, entry.mod_revision, record, history);
            }
        }
    }

    fn read_one(
        &mut self,
        clocks: Clocks,
        by: Actor,
        id: MoveId,
        read: Revision,
        record: MoveRecord,
        history: &mut MoveHistory,
    ) {
        let reason = serde_json::from_value::<MoveReason>(record.reason.clone()).ok();
        if clocks.age(record.started_unix_ms) <= evenkeel_balance::history::REMEMBERED_FOR {
            history.recorded(clocks.now, record.extent, past_move(clocks, &record, reason.as_ref()));
        }
        let age = clocks.age(record.ended_unix_ms.unwrap_or(clocks.unix_ms));
        let is_due = record.state == MoveState::Moved && id.server() == by.server && age < MEASURE_WITHIN;
        match reason {
            Some(reason) if is_due && reason.measured.is_none() => {
                if self.effects.len() < EFFECTS_MAX {
                    let ended = clocks.now - age;
                    self.effects.insert(id, Effect { record, reason, read, ended, written: None });
                }
            }
            _ => drop(self.effects.remove(&id)),
        }
    }

    /// Measures what is due: the slow filter has seen half of the change by then, the fast one nearly all. Gives what
    /// is to be written into the directory.
    pub(super) fn measure(&mut self, now: Time, by: Actor, group: &GroupView, view: &View) -> Vec<Txn> {
        let HalfLives { slow, .. } = group.half_lives;
        self.effects.retain(|_, effect| now.since(effect.ended) < MEASURE_WITHIN);
        let mut writes = Vec::new();
        for (id, effect) in &mut self.effects {
            let since = now.since(effect.ended);
            let waits = effect.written.is_some_and(|written| now.since(written) < WRITE_AGAIN_AFTER);
            if since < slow || waits {
                continue;
            }
            if effect.reason.measured.is_none() && !effect.reason.measure(group, since) {
                continue;
            }
            let Ok(reason) = serde_json::to_value(&effect.reason) else { continue };
            let record = MoveRecord { reason, ..effect.record.clone() };
            if let Ok(txn) = annotate_move(view, by, *id, effect.read, &record) {
                effect.written = Some(now);
                writes.push(txn);
            }
        }
        writes
    }
}

fn past_move(clocks: Clocks, record: &MoveRecord, reason: Option<&MoveReason>) -> PastMove {
    let at = |unix_ms| clocks.now - clocks.age(unix_ms);
    let outcome = match record.state {
        MoveState::Copying => None,
        MoveState::Moved => Some(MoveOutcome::Completed),
        MoveState::Aborted => Some(MoveOutcome::Failed),
    };
    PastMove {
        from: record.from,
        to: record.to,
        heat: reason.map_or(Load::ZERO, |reason| reason.heat),
        bytes: reason.map_or(EXTENT_BYTES, |reason| reason.cost_bytes),
        decided: at(record.started_unix_ms),
        ended: outcome.map(|outcome| (at(record.ended_unix_ms.unwrap_or(clocks.unix_ms)), outcome)),
    }
}
