//! The messages. Each is encoded with postcard, without its bulk data, which travels behind it as the frame's payload.
//!
//! The position of a variant in [`Message`] and in the enums below it is part of the wire format: new ones go to the
//! end, and from the first release on [`crate::WIRE_VERSION`] is raised with every change.

mod barrier;
mod inventory;
mod lease;
mod order;
mod probe;
mod replica;
mod request;

use crate::hello::Hello;
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::store_op::RegionImage;
use evenkeel_types::{Bytes, Epoch, Payload, Regions};
use serde::{Deserialize, Serialize};

pub use barrier::{Barrier, BarrierDone};
pub use inventory::{INVENTORY_PAGE_MAX, Inventory, InventoryReply};
pub use lease::{Heartbeat, HeartbeatAck, OldestOpen, Voided};
pub use order::{MoveOrder, REASON_BYTES_MAX};
pub use probe::{Probe, Probed};
pub use replica::{
    Attach, AttachRefused, Attached, Check, Checked, Compared, Copied, CopyOutcome, Current, Detach, Fetch,
    Fetched, Found, Part, Refusal, RegionCopy, ReplicaWrite, Reserve, Reserved, Written,
};
pub use request::{PieceOp, Reply, ReplyOutcome, Request};

/// Longest load report in bytes.
pub const LOAD_BYTES_MAX: usize = 64 << 10;
/// Entries of a list of voided attachments at most; far above the moves that a server takes part in at once.
pub const VOIDED_MAX: usize = 256;
/// Extents that are promised to be current in one message at most.
pub const CURRENT_MAX: usize = 256;
/// Extents that a heartbeat names at most.
pub const OLDEST_OPEN_MAX: usize = 256;
/// Replicas of an extent at most, and the target of a move.
const REPLICAS_MAX: usize = 4;

/// Everything that servers say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// The first message of either side.
    Hello(Hello),
    /// The reason why the sender closes the connection instead of talking.
    Refuse {
        /// One line for the log.
        reason: String,
    },
    /// A gateway asks an owner.
    Request(Request),
    /// A gateway gives up a request; it is answered in any case, by how it ended.
    Cancel {
        /// The request's number.
        number: u64,
    },
    /// An owner answers a gateway.
    Reply(Reply),
    /// See [`Attach`].
    Attach(Attach),
    /// See [`Attached`].
    Attached(Attached),
    /// See [`AttachRefused`].
    AttachRefused(AttachRefused),
    /// See [`ReplicaWrite`].
    Write(ReplicaWrite),
    /// See [`Written`].
    Written(Written),
    /// See [`RegionCopy`].
    Copy(RegionCopy),
    /// See [`Copied`].
    Copied(Copied),
    /// See [`Reserve`].
    Reserve(Reserve),
    /// See [`Reserved`].
    Reserved(Reserved),
    /// See [`Detach`].
    Detach(Detach),
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// See [`HeartbeatAck`].
    HeartbeatAck(HeartbeatAck),
    /// A report of the sender's load monitor, opaque here.
    Load {
        /// The report, the frame's payload.
        #[serde(skip)]
        report: Bytes,
    },
    /// See [`Inventory`].
    Inventory(Inventory),
    /// See [`InventoryReply`].
    InventoryReply(InventoryReply),
    /// See [`MoveOrder`].
    Order(MoveOrder),
    /// See [`Current`].
    Current(Current),
    /// See [`Compared`].
    Compared(Compared),
    /// See [`Probe`].
    Probe(Probe),
    /// See [`Probed`].
    Probed(Probed),
    /// See [`Fetch`].
    Fetch(Fetch),
    /// See [`Fetched`].
    Fetched(Fetched),
    /// See [`Check`].
    Check(Check),
    /// See [`Checked`].
    Checked(Checked),
    /// See [`Barrier`].
    Barrier(Barrier),
    /// See [`BarrierDone`].
    BarrierDone(BarrierDone),
}

impl Message {
    /// A number for each kind of message, for headers, logs and counters.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Hello(_) => 1,
            Self::Refuse { .. } => 2,
            Self::Request(_) => 3,
            Self::Cancel { .. } => 4,
            Self::Reply(_) => 5,
            Self::Attach(_) => 6,
            Self::Attached(_) => 7,
            Self::AttachRefused(_) => 8,
            Self::Write(_) => 9,
            Self::Written(_) => 10,
            Self::Copy(_) => 11,
            Self::Copied(_) => 12,
            Self::Reserve(_) => 13,
            Self::Reserved(_) => 14,
            Self::Detach(_) => 15,
            Self::Heartbeat(_) => 16,
            Self::HeartbeatAck(_) => 17,
            Self::Load { .. } => 18,
            Self::Inventory(_) => 19,
            Self::InventoryReply(_) => 20,
            Self::Order(_) => 21,
            Self::Current(_) => 22,
            Self::Compared(_) => 23,
            Self::Probe(_) => 24,
            Self::Probed(_) => 25,
            Self::Fetch(_) => 26,
            Self::Fetched(_) => 27,
            Self::Check(_) => 28,
            Self::Checked(_) => 29,
            Self::Barrier(_) => 30,
            Self::BarrierDone(_) => 31,
        }
    }

    /// Whether messages of this kind may come from somebody who has not introduced itself.
    pub(crate) const fn is_greeting(kind: u16) -> bool {
        matches!(kind, 1 | 2)
    }

    /// The name of a kind of message, for logs and tables.
    #[must_use]
    pub const fn kind_name(kind: u16) -> &'static str {
        const NAMES: [&str; 31] = [
            "hello",
            "refuse",
            "request",
            "cancel",
            "reply",
            "attach",
            "attached",
            "attach-refused",
            "write",
            "written",
            "copy",
            "copied",
            "reserve",
            "reserved",
            "detach",
            "heartbeat",
            "heartbeat-ack",
            "load",
            "inventory",
            "inventory-reply",
            "order",
            "current",
            "compared",
            "probe",
            "probed",
            "fetch",
            "fetched",
            "check",
            "checked",
            "barrier",
            "barrier-done",
        ];
        if kind >= 1 && kind as usize <= NAMES.len() { NAMES[kind as usize - 1] } else { "unknown" }
    }

    /// The number that ties a reply to its request; zero for messages without one.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::Request(Request { number, .. })
            | Self::Cancel { number }
            | Self::Reply(Reply { number, .. })
            | Self::Inventory(Inventory { number, .. })
            | Self::Barrier(Barrier { number, .. })
            | Self::BarrierDone(BarrierDone { number })
            | Self::InventoryReply(InventoryReply { number, .. }) => *number,
            Self::Write(write) => write.tag,
            Self::Written(written) => written.tag,
            _ => 0,
        }
    }

    /// The epoch that the message is about; zero for messages without one.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Request(request) => request.epoch,
            Self::Attach(attach) => attach.epoch,
            Self::Attached(attached) => attached.epoch,
            Self::Write(write) => write.epoch,
            Self::Copy(copy) => copy.epoch,
            Self::Reserve(reserve) => reserve.epoch,
            Self::Fetch(fetch) => fetch.epoch,
            Self::Check(check) => check.epoch,
            _ => Epoch::ZERO,
        }
    }

    /// Bytes of bulk data that travel behind the message.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let mut len = 0;
        self.for_each_payload_piece(|piece| len += piece.len());
        len
    }

    /// Visits the bulk data piece by piece, in order.
    pub fn for_each_payload_piece(&self, mut visit: impl FnMut(&Bytes)) {
        match self {
            Self::Request(Request { op: PieceOp::Write { data, .. }, .. })
            | Self::Write(ReplicaWrite { data, .. })
            | Self::Load { report: data }
            | Self::Order(MoveOrder { reason: data, .. }) => visit(data),
            Self::Request(Request { op: PieceOp::CompareAndWrite { expected, data, .. }, .. }) => {
                visit(expected);
                visit(data);
            }
            Self::Reply(Reply { outcome: ReplyOutcome::Done { data }, .. })
            | Self::Copy(RegionCopy { image: RegionImage { data, .. }, .. })
            | Self::Fetched(Fetched { image: Some(RegionImage { data, .. }), .. }) => {
                data.pieces().for_each(visit);
            }
            _ => {}
        }
    }

    /// Puts the payload that came behind a decoded message where it belongs. False if the two do not fit together, or
    /// if the message says something that cannot be: ranges outside an extent, lists beyond their bounds.
    #[must_use]
    pub(crate) fn complete(&mut self, payload: Bytes) -> bool {
        match self {
            Self::Request(Request { op, .. }) => {
                match op {
                    PieceOp::Write { data, .. } => *data = payload,
                    PieceOp::CompareAndWrite { expected, data, .. } => {
                        let half = payload.len() / 2;
                        *expected = payload.slice(..half);
                        *data = payload.slice(half..);
                    }
                    PieceOp::Read { .. } | PieceOp::Zero { .. } if payload.is_empty() => {}
                    _ => return false,
                }
                op.is_valid()
            }
            Self::Reply(Reply { outcome: ReplyOutcome::Done { data }, .. }) => {
                *data = Payload::from(payload);
                true
            }
            Self::Write(write) => {
                write.data = payload;
                write.is_valid()
            }
            Self::Copy(RegionCopy { image, .. }) | Self::Fetched(Fetched { image: Some(image), .. }) => {
                image.data = Payload::from(payload);
                image.is_valid()
            }
            Self::Load { report } => {
                *report = payload;
                report.len() <= LOAD_BYTES_MAX
            }
            Self::Order(order) => {
                order.reason = payload;
                order.reason.len() <= REASON_BYTES_MAX
            }
            _ => payload.is_empty() && self.lists_are_bounded(),
        }
    }

    fn lists_are_bounded(&self) -> bool {
        match self {
            Self::Attach(attach) => attach.replicas.len() <= REPLICAS_MAX,
            Self::Attached(attached) => {
                attached.versions.is_empty() || attached.versions.len() == REGIONS_PER_EXTENT
            }
            Self::Reserve(reserve) => !reserve.regions.is_empty(),
            Self::Current(current) => current.extents.len() <= CURRENT_MAX,
            Self::Heartbeat(heartbeat) => heartbeat.extents.len() <= OLDEST_OPEN_MAX,
            Self::HeartbeatAck(ack) => ack.voided.len() <= VOIDED_MAX,
            Self::InventoryReply(InventoryReply { entries: Some(entries), .. }) => {
                entries.len() <= INVENTORY_PAGE_MAX as usize
            }
            _ => true,
        }
    }
}

impl ReplicaWrite {
    fn is_valid(&self) -> bool {
        let data_bytes = if self.has_data { self.blocks.len_bytes() as usize } else { 0 };
        self.blocks.is_valid()
            && self.data.len() == data_bytes
            && self.replaces.len() == Regions::touched_by(self.blocks).count() as usize
    }
}
