//! Whether the rules of the extent protocol come into play: what a run did in which each of them decided something.
//!
//! What is counted is seen from outside: messages, transactions and the directory's revisions, never the engine's own
//! word for it, except where nothing of a decision shows outside.

use crate::checkers::Violation;
use crate::checkers::marks::Grounds;
use crate::coverage::{Coverage, Row};
use crate::world::World;
use evenkeel_engine::TxnTicket;
use evenkeel_meta::records::{MemberRecord, ParsedKey};
use evenkeel_meta::{Batch, Keyspace, MemberState, Operation, Txn};
use evenkeel_peer::{CopyOutcome, Message, Refusal, ReplyOutcome};
use evenkeel_types::{ExtentId, ServerId};
use std::collections::BTreeMap;

/// What the counting remembers.
#[derive(Default, Debug)]
pub(crate) struct Rules {
    /// The latest attachment that an owner asked for.
    attachments: BTreeMap<(ServerId, ExtentId, ServerId), u64>,
    /// Servers with a transaction to `up` whose outcome they do not know.
    rising: BTreeMap<ServerId, TxnTicket>,
}

impl Rules {
    /// A server's life is over.
    pub(crate) fn life_ends(&mut self, server: ServerId) {
        self.rising.remove(&server);
        self.attachments.retain(|(owner, ..), _| *owner != server);
    }

    /// A server knows that it is up.
    pub(crate) fn rejoined(&mut self, server: ServerId) {
        self.rising.remove(&server);
    }
}

impl World<'_> {
    /// A server sends a message.
    pub(crate) fn rules_sent(&mut self, from: ServerId, to: ServerId, message: &Message) {
        match message {
            Message::Attach(attach) => {
                self.rules.attachments.insert((from, attach.extent, to), attach.attachment);
            }
            Message::AttachRefused(refused) => match refused.refusal {
                Refusal::Stale { .. } => self.coverage.count(Row::AttachStale),
                Refusal::Busy if self.rules.rising.contains_key(&from) => {
                    self.coverage.count(Row::AttachAwaitsUp);
                }
                _ => {}
            },
            Message::Write(write) => {
                let row = match self.routing.state_of(to) {
                    Some(MemberState::Up) if self.routing.is_replica(write.extent, to) => Row::WritesInSync,
                    Some(MemberState::Syncing) => Row::WritesSyncing,
                    _ => return,
                };
                self.coverage.count(row);
            }
            Message::Copy(copy) => {
                self.coverage.add(Row::VersionsKept, (copy.image.version.epoch < copy.epoch).into());
                let is_in_sync = self.routing.state_of(to) == Some(MemberState::Up)
                    && self.routing.is_replica(copy.extent, to);
                self.coverage.add(Row::MadeEqual, is_in_sync.into());
            }
            Message::Written(written) => count_mismatch(self.coverage, &written.outcome),
            Message::Copied(copied) => count_mismatch(self.coverage, &copied.outcome),
            Message::Reserve(_) => self.coverage.count(Row::SpaceAsked),
            Message::Probe(probe) => self.marks.asks(from, probe.number, probe.server),
            Message::Reply(reply) if matches!(reply.outcome, ReplyOutcome::ProofTooOld) => {
                self.coverage.count(Row::ProofTooOld);
            }
            _ => {}
        }
    }

    /// A server gets a message: an answer may be one that names what is over.
    pub(crate) fn rules_got(&mut self, from: ServerId, to: ServerId, message: &Message) {
        if let Message::Probed(probed) = message {
            self.marks.told(to, from, probed.number, probed.reached);
        }
        let (extent, attachment) = match message {
            Message::Written(written) => (written.extent, written.attachment),
            Message::Copied(copied) => (copied.extent, copied.attachment),
            _ => return,
        };
        let latest = self.rules.attachments.get(&(to, extent, from));
        self.coverage.add(Row::AnswersOver, latest.is_some_and(|latest| attachment < *latest).into());
    }

    /// A server asks the directory for something.
    pub(crate) fn rules_asked(
        &mut self,
        server: ServerId,
        ticket: TxnTicket,
        txn: &Txn,
    ) -> Result<(), Violation> {
        if raises(self.directory.keys(), server, txn) {
            self.rules.rising.insert(server, ticket);
        }
        self.coverage.add(Row::MadeAnew, is_rebuild(self.directory.keys(), txn).into());
        let view = self.servers[&server].running.as_ref().and_then(|running| running.engine.view());
        if let Some(view) = view
            && let Some(marked) = marks(self.directory.keys(), server, txn)
        {
            match self.marks.judge(server, marked, view, self.clock.now())? {
                Grounds::First => {}
                Grounds::Majority => self.coverage.count(Row::MarkedByMajority),
                Grounds::NoHint => self.coverage.count(Row::MarkedWithoutHint),
            }
        }
        Ok(())
    }

    /// A revision gets to a server: it may show a mark.
    pub(crate) fn sees(&mut self, server: ServerId, batch: &Batch) {
        let keys = self.directory.keys();
        let Some(view) = self.servers[&server].running.as_ref().and_then(|running| running.engine.view())
        else {
            return;
        };
        let is_mark = batch.changes.iter().any(|change| {
            let ParsedKey::Member(of) = keys.parse(&change.key) else { return false };
            let was_down = view.member(of).is_some_and(|kept| kept.record.state == MemberState::Down);
            let is_down = change.entry.as_ref().is_some_and(|entry| is_down(&entry.value));
            is_down && !was_down
        });
        if is_mark {
            self.marks.saw(server, self.now());
        }
    }
}

fn count_mismatch(coverage: &mut Coverage, outcome: &CopyOutcome) {
    coverage.add(Row::OtherVersion, matches!(outcome, CopyOutcome::Mismatch { .. }).into());
}

fn puts(txn: &Txn) -> impl Iterator<Item = (&evenkeel_meta::Key, &[u8])> {
    txn.success.iter().filter_map(|operation| match operation {
        Operation::Put { key, value, .. } => Some((key, &value[..])),
        Operation::Delete(_) | Operation::Range(_) => None,
    })
}

/// Whether a transaction makes the server that asks for it `up`.
fn raises(keys: &Keyspace, server: ServerId, txn: &Txn) -> bool {
    puts(txn).any(|(key, value)| {
        keys.parse(key) == ParsedKey::Member(server)
            && serde_json::from_slice::<MemberRecord>(value).is_ok_and(|record| record.is_up())
    })
}

/// The other server that a transaction marks down.
fn marks(keys: &Keyspace, server: ServerId, txn: &Txn) -> Option<ServerId> {
    puts(txn).find_map(|(key, value)| match keys.parse(key) {
        ParsedKey::Member(other) if other != server && is_down(value) => Some(other),
        _ => None,
    })
}

fn is_down(record: &[u8]) -> bool {
    serde_json::from_slice::<MemberRecord>(record).is_ok_and(|record| record.state == MemberState::Down)
}

/// Whether a transaction begins a move that makes a copy anew, because its server is gone or to be emptied.
fn is_rebuild(keys: &Keyspace, txn: &Txn) -> bool {
    puts(txn).any(|(key, value)| {
        matches!(keys.parse(key), ParsedKey::Move(_))
            && serde_json::from_slice::<serde_json::Value>(value)
                .is_ok_and(|record| record["state"] == "copying" && record["reason"].get("rebuild").is_some())
    })
}
