//! What the rest of the process may ask a server's thread. A server answers from its own view alone.

use evenkeel_api::{LoadTable, MovesTable, RouteTable, ScrubRow, ServerRow, SessionRow, StartScrub};
use evenkeel_meta::View;
use evenkeel_meta::change::Actor;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{ExtentId, Incarnation, ServerId, VolumeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait at a server; more are refused.
pub(crate) const ASKS_MAX: usize = 64;

/// How long a server is given to say how it is. One whose thread waits for a disk that hangs does not.
pub(crate) const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// A question, with the place for the answer.
pub(crate) enum Ask {
    /// The load of the group in this server's view.
    Load(oneshot::Sender<LoadTable>),
    /// A volume's routes in this server's view; `None` if it knows no such volume.
    Route(String, oneshot::Sender<Option<RouteTable>>),
    /// Its own row of the servers' table, and whether it serves.
    Status(oneshot::Sender<Status>),
    /// The sessions on its portal.
    Sessions(oneshot::Sender<Vec<SessionRow>>),
    /// The extent records in its store, from one on, at most so many.
    Inventory(ExtentId, usize, oneshot::Sender<Result<Vec<InventoryEntry>, String>>),
    /// A look at its view of the directory; as long as it has none, nothing is looked at.
    Look(Look),
    /// Move an extent that it owns. The answer says that the move is to be begun, or why not.
    Move(MoveAsk, oneshot::Sender<Result<Ordered, String>>),
    /// Why a move that it was to begin was not begun, if that is certain.
    Refusal(Ordered, oneshot::Sender<Option<String>>),
    /// Whether it moves extents by itself from now on.
    EnableBalancing(bool, oneshot::Sender<()>),
    /// Its scrub; one that is asked for begins.
    Scrub(Option<StartScrub>, oneshot::Sender<ScrubRow>),
    /// Its counters of moves.
    Moves(oneshot::Sender<MovesTable>),
    /// How far the moves are that it led in this life, by number.
    Progress(oneshot::Sender<BTreeMap<u64, Progress>>),
    /// End: log sessions out, make the store clean, answer, stop.
    Stop(oneshot::Sender<()>),
}

/// What is done with a view; it brings the place for the answer along.
pub(crate) type Look = Box<dyn FnOnce(&View) + Send>;

/// Where an inventory begins.
pub(crate) const FIRST_EXTENT: ExtentId = ExtentId { volume: VolumeId(0), index: 0 };

/// Where an inventory goes on behind an extent.
pub(crate) const fn next_extent(extent: ExtentId) -> ExtentId {
    match extent.index.checked_add(1) {
        Some(index) => ExtentId { volume: extent.volume, index },
        None => ExtentId { volume: VolumeId(extent.volume.0 + 1), index: 0 },
    }
}

/// A move as a person orders it.
pub(crate) struct MoveAsk {
    pub(crate) volume: String,
    pub(crate) extent: u32,
    pub(crate) to: String,
    pub(crate) rate: Option<u64>,
}

/// A move that a server is to begin.
#[derive(Clone, Copy)]
pub(crate) struct Ordered {
    pub(crate) extent: ExtentId,
    /// Moves that it could not begin before this one was ordered.
    pub(crate) refused_before: u64,
}

/// How far a move is.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) regions_sent: u64,
    pub(crate) regions_equal: u64,
}

/// What a server says of itself.
pub(crate) struct Status {
    pub(crate) row: ServerRow,
    /// What it waits for before it serves.
    pub(crate) waiting_for: Option<String>,
}

/// The way to a server of this process.
#[derive(Clone)]
pub(crate) struct ServerHandle {
    pub(crate) name: String,
    pub(crate) id: ServerId,
    /// Its present life: it starts anew by itself if others went on without it.
    pub(crate) incarnation: Arc<AtomicU64>,
    pub(crate) asks: mpsc::Sender<Ask>,
    /// Why it stopped by itself, if it did: then it answers nothing any more.
    pub(crate) stopped: Arc<OnceLock<String>>,
}

impl ServerHandle {
    /// The server in its present life.
    pub(crate) fn actor(&self) -> Actor {
        Actor { server: self.id, incarnation: Incarnation(self.incarnation.load(Ordering::Acquire)) }
    }

    /// Asks how it is; `None` if it does not answer soon.
    pub(crate) async fn status(&self) -> Option<Status> {
        tokio::time::timeout(STATUS_WITHIN, self.ask(Ask::Status)).await.ok().flatten()
    }

    /// Asks and waits for the answer; `None` if the server has stopped or has too much to do.
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(question(answer)).ok()?;
        answered.await.ok()
    }
}
