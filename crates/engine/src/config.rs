//! Who the server is, and the bounds of everything that the engine keeps.

use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{Incarnation, ServerId, Time};
use std::time::Duration;

/// How long a lease lasts, counted from when the heartbeat was sent whose answer gave it.
pub const LEASE: Duration = Duration::from_millis(2000);
/// How long a new owner waits after it last answered a heartbeat of the one before, if that one does not promise. More
/// than [`LEASE`], so that clocks may run 20 % apart.
pub const LEASE_GUARD: Duration = Duration::from_millis(2500);
/// How often heartbeats are sent to every peer.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(400);
/// How long a peer may be silent before its connection is given up.
pub const PEER_SILENCE_MAX: Duration = LEASE;
/// How long a server may answer no heartbeat before it is marked down.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long an operation of the store may take, before its server says that others had better go on without it.
pub const STORE_STALL_MAX: Duration = Duration::from_secs(3);
/// A server with an operation of the store that takes longer marks nobody: it may be no better off.
pub const STORE_SLOW_MAX: Duration = Duration::from_secs(1);
/// The same as [`SILENCE_MAX`] for a server that has not answered yet in its present life, or in this server's: where all start together,
/// not all are there at once.
pub const START_PATIENCE: Duration = Duration::from_secs(5);
/// How recently a server must have answered to count as reached.
pub const REACHED_WITHIN: Duration = Duration::from_millis(1200);
/// How long others may take to say whether they reach a silent server.
pub const PROBE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a server that others reach, or all others together, may be silent before one of the two sides goes.
pub const LINK_CUT_PATIENCE: Duration = Duration::from_secs(4);
/// How long after a mark the next one needs a majority, or that the server's hint of life has expired.
pub const MARK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a mark without an answer is waited for.
pub const MARK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a syncing server waits after the directory could not be asked to make it up.
pub const REJOIN_PAUSE: Duration = Duration::from_secs(2);
/// Extents that are brought up to date at a syncing server at once.
pub const RESYNC_EXTENTS_MAX: usize = 32;
/// Extents that are compared in one step.
pub const RESYNC_PAGE: u32 = 128;
/// Moves that make lost copies anew, or empty a server, under way at each owner.
pub const REBUILDS_MAX: usize = 2;
/// Extents that are noted for that at once.
pub const REBUILDS_NOTED_MAX: usize = 256;
/// How long an owner rests after it found nothing to be made anew.
pub const REBUILD_REST: Duration = Duration::from_secs(5);
/// Bytes per second of all such moves of an owner together: at first, where hosts feel them all the same, and where they
/// feel nothing.
pub const REBUILD_RATE_START: u64 = 16 << 20;
/// See [`REBUILD_RATE_START`].
pub const REBUILD_RATE_MIN: u64 = 4 << 20;
/// See [`REBUILD_RATE_START`].
pub const REBUILD_RATE_MAX: u64 = 1 << 30;
/// What each such move counts at least when it begins, in bytes of that rate: however little it copies, it has transactions of
/// the directory and durable writes at all copies, which hosts feel too.
pub const REBUILD_MOVE_COST: u64 = EXTENT_BYTES as u64;
/// How long it is watched what hosts' requests take, before that rate is changed.
pub const FOREGROUND_WINDOW: Duration = Duration::from_secs(1);
/// Fewer requests in that time say nothing.
pub const FOREGROUND_SAMPLES_MIN: u32 = 50;
/// A store that is fuller than this share takes no such copy.
pub const REBUILD_FULL_AT: f64 = 0.925;
/// How long a server may be away by default before its copies are made anew elsewhere.
pub const REBUILD_AFTER: Duration = Duration::from_secs(600);
/// Extents that are noted at once because they need a route entry before their volume gets another place.
pub const PLACING_NOTED_MAX: usize = 1024;
/// How long the owner of an extent is waited for to give it a route entry before a server with a copy in which something was
/// written does.
pub const OTHERS_ENTERED_AFTER: Duration = Duration::from_secs(5);
/// From how many extents on that have no entry of their own one is made for all of a run, if they are all written to: what was
/// never written to has no record, and no move would take it off a server that is emptied later.
pub const RUN_ENTERED_FROM: usize = 8;
/// How old the proof that an initiator's connection lives may be when its write is sequenced.
pub const PROOF_AGE_MAX: Duration = Duration::from_millis(2000);
/// How long a host's request is retried inside before it is answered with an error.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// The first wait before a request is tried again; doubled each time up to [`RETRY_DELAY_MAX`].
pub const RETRY_DELAY: Duration = Duration::from_millis(2);
/// The longest wait before a request is tried again.
pub const RETRY_DELAY_MAX: Duration = Duration::from_millis(200);
/// How often open requests are looked at for their age, while there are any.
pub const PATIENCE_TICK: Duration = Duration::from_millis(250);

/// How many servers may pass a request on. The gateway does; whom it is passed to executes it or says who would.
pub const HOPS_MAX: u8 = 1;
/// Requests of front ends open at once; more are answered BUSY at once.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 8192;
/// Bytes of data that a gateway has under way at one owner, to be written there or read from there: with those of the
/// others they are what may pile up before a connection. More wait at the gateway. A piece of a request alone may have
/// more.
pub const FORWARDED_BYTES_MAX: u64 = 32 << 20;
/// Barriers of one server that are waited for at once.
pub const BARRIERS_MAX: usize = 1024;
/// Operations on one extent that wait or run at its owner; more are answered "busy" and retried by their gateways.
pub const OPERATIONS_PER_EXTENT_MAX: usize = 1024;
/// Extents with state in memory; idle ones beyond this are forgotten and looked up in the store on their next use.
/// Each takes about 3 KiB.
pub const ACTIVE_EXTENTS_MAX: usize = if cfg!(test) { 16 } else { 4096 };
/// Moves away from this server at once.
pub const MOVES_OUT_MAX: usize = 8;
/// Copies that this server receives at once.
pub const MOVES_IN_MAX: usize = 8;
/// Moves that wait for their turn.
pub const MOVES_QUEUED_MAX: usize = 1024;
/// Regions of one move that are on their way at once; what is sent again after a crash is at most as much.
pub const REGION_COPIES_IN_FLIGHT_MAX: usize = 8;
/// Regions on their way to one server at once, from all extents together, at first.
pub const COPY_WINDOW_START: usize = 8;
/// However busy the server is: what lacks a copy does not wait for ever.
pub const COPY_WINDOW_MIN: usize = 4;
/// However fast it is.
pub const COPY_WINDOW_MAX: usize = MOVES_OUT_MAX * REGION_COPIES_IN_FLIGHT_MAX;
/// Answers within this time are in time, however fast the server is without copies.
pub const FELT_FROM: Duration = Duration::from_millis(2);
/// Answers to copies that take longer are late, however slow it is without them: writes are held for them.
pub const FELT_MAX: Duration = Duration::from_millis(25);
/// How long it is remembered, at least, how fast a server answered.
pub const USUAL_FOR: Duration = Duration::from_secs(10);
/// How long writes to a region may be held while it is copied.
pub const REGION_HOLD_MAX: Duration = Duration::from_millis(50);
/// How often a region is read ahead in vain, because it was written to in the meantime, before writes to it are held for
/// the read too.
pub const READS_AHEAD_MAX: u8 = 8;
/// A region whose copy took longer than the hold this many times ends the move.
pub const REGION_TRIES_MAX: u8 = 3;
/// How long a copy that had no space is not asked again.
pub const SPACE_REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long a move waits for a target that cannot be reached or is busy, before it is given up.
pub const TARGET_PATIENCE: Duration = Duration::from_secs(10);
/// How long a target that is not required may leave a client's write or the identities unanswered, before the move is
/// given up: its disk may hang while its server goes on answering heartbeats.
pub const TARGET_ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long the owner waits for its view before it asks the directory again about a move.
pub const DIRECTORY_PATIENCE: Duration = Duration::from_millis(500);
/// Records of the store that are looked through at once for copies to be freed.
pub const SWEEP_PAGE: u32 = 256;

/// How long after a block was found to be good nowhere it may be copied as an error: a device may have had one that passes.
pub const DAMAGE_CONFIRMED_AFTER: Duration = Duration::from_secs(1);
/// How long the scrub waits for one extent, before it goes on with the next.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(60);

/// How everything is read and compared before somebody needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubConfig {
    /// Bytes of its own copies per second that the server reads; 0 for no scrub. The copies at other servers are read as
    /// fast.
    pub rate: u64,
    /// How long it rests between two passes over everything.
    pub every: Duration,
    /// How long it rests after a start.
    pub first_after: Duration,
}

impl ScrubConfig {
    /// No scrub, until it is asked for.
    pub const OFF: Self =
        Self { rate: 0, every: Duration::from_secs(7 * 86_400), first_after: Duration::from_secs(600) };
}

/// Who the server is.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// This server.
    pub me: ServerId,
    /// In this life; the directory has it in this server's member record already.
    pub incarnation: Incarnation,
    /// The wall clock at the engine's start, in milliseconds since 1970; only for what people read.
    pub started_unix_ms: u64,
    /// The engine's clock at its start.
    pub started: Time,
    /// How long a server may be away before its copies are made anew elsewhere.
    pub rebuild_after: Duration,
    /// The scrub.
    pub scrub: ScrubConfig,
}
