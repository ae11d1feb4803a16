//! What the runs came across. A row that stays zero over many seeds means that the simulator does not test what it
//! claims to: then the run fails.

use std::fmt::Write;

macro_rules! rows {
    ($($row:ident: $group:literal, $name:literal;)*) => {
        /// A row of the coverage table.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the names in the table say it")]
        pub enum Row { $($row,)* }

        /// All rows with their groups and names, in the order of the table.
        const ROWS: &[(Row, &str, &str)] = &[$((Row::$row, $group, $name),)*];
    };
}

rows! {
    Crash: "faults", "servers crashed";
    CrashWithinStep: "faults", "servers crashed between two outputs of one step";
    CrashInOpen: "faults", "servers crashed again while they replayed";
    Pause: "faults", "servers stood still for longer than a lease lasts";
    ConnectionBroken: "faults", "connections broken";
    SilentLoss: "faults", "connections that went silent";
    LinkCut: "faults", "links cut for seconds";
    MessageLost: "faults", "messages lost with their connection";
    MessageLate: "faults", "messages delayed by more than 20 ms";
    WriteCaught: "faults", "disk writes that a crash caught under way";
    SlowDisk: "faults", "spells of a slow disk";
    BitRot: "faults", "blocks damaged on a disk";
    TxnLate: "faults", "directory transactions delayed by more than 100 ms";
    TxnUnavailable: "faults", "directory transactions refused as unavailable";
    TxnUnknownApplied: "faults", "transactions that happened and whose answer was lost";
    TxnUnknownLater: "faults", "transactions that happened after their answer was given up";
    TxnUnknownNever: "faults", "transactions that never happened and whose answer was lost";
    WatchLate: "faults", "directory news delayed by more than 100 ms";
    Deaf: "faults", "servers cut off from the directory's news for seconds";
    Isolated: "faults", "sources of moves cut off from target and news while the directory decided";
    LeaseForgotten: "faults", "of them with a target that started anew unnoticed";
    WatchGap: "faults", "watches begun anew with a list";
    Compacted: "faults", "watches that fell behind what the directory keeps";
    LiveRanOut: "faults", "live keys that ran out while their server ran";
    LiveOutlived: "faults", "live keys that were still there when their server was marked down";
    LeaseProlonged: "faults", "leases of crashed servers that began anew";
    Restored: "faults", "directories restored from a backup";
    RoutesRebuilt: "faults", "routes that differed from the backup's, rebuilt from the stores";
    CountedAgain: "faults", "servers that were away at a backup, and counted again";
    FoundBehind: "faults", "servers that were behind at a restore, and had to be brought up to date";
    RebuildCutShort: "faults", "rebuilds of routes that were cut short and begun again";
    Stopped: "faults", "servers stopped in an orderly way";
    OneWay: "faults", "links cut in one direction";
    CutOff: "faults", "servers cut off from everybody";
    Blackout: "faults", "power failures of all servers at once";
    PathGivenUp: "faults", "silent paths given up by their hosts";
    PathRetried: "faults", "writes sent again through another gateway";
    UnreadDropped: "faults", "requests never read by a gateway that stood still for long";
    UnreadTaken: "faults", "requests read late by a gateway that stood still";
    Cramped: "faults", "servers that alone had too little room";
    ClocksApart: "faults", "pairs of servers whose clocks ran 1 % apart or more";
    Drained: "faults", "servers to be emptied";
    Reweighed: "faults", "servers that got another weight, for which volumes are to be placed anew";
    BarrierDone: "barriers", "barriers that were done";
    ResetRequests: "barriers", "requests that a reset ended at their gateways";
    Sealed: "barriers", "writes without a certain end that a barrier made too late";
    EpochByMember: "rules", "1: epochs raised by a member record alone";
    TxnRefused: "rules", "2: transactions refused because a record had changed";
    LastUp: "rules", "3: extents with no replica up, owned by the one that was last";
    StayedUp: "rules", "4: starts that stayed up, in a new epoch";
    MarkedDown: "rules", "5: servers marked down";
    MarkedByMajority: "rules", "5: marks soon after another one, by a majority";
    MarkedWithoutHint: "rules", "5: marks soon after another one, behind a live key that had run out";
    TakeoverPromised: "rules", "6: takeovers with the promise of all others";
    TakeoverWaited: "rules", "6: takeovers after others' leases ran out";
    MadeEqual: "rules", "6: regions made equal at copies in sync";
    SameOwner: "rules", "7: new epochs with the same owner";
    AttachStale: "rules", "8: attaches of too low an epoch refused";
    StaleRefusals: "rules", "8: messages refused as stale";
    AttachAwaitsUp: "rules", "9: attaches refused while it was open whether the server is up";
    Rejoined: "rules", "10: servers that became up by their owners' promises";
    WritesSyncing: "rules", "11: writes that a syncing copy had to have";
    VersionsKept: "rules", "12: regions copied with the version of an earlier epoch";
    OtherVersion: "rules", "13: writes and regions refused by a copy with another version";
    SpaceAsked: "rules", "13: space reserved at a copy before a write";
    AnswersOver: "rules", "14: answers for an attachment that was over";
    WritesInSync: "rules", "15: writes that a copy in sync had to have";
    ReadsWaitedForLease: "rules", "16: reads that waited for a lease";
    SubBlock: "rules", "17: writes of parts of blocks";
    Freed: "rules", "18: copies freed";
    FoundDown: "members", "servers that found themselves down";
    MadeAnew: "members", "copies to be made anew elsewhere";
    Compared: "members", "comparisons with servers that were away";
    JournalTorn: "store", "journals with a torn tail";
    RecordsReplayed: "store", "journal records replayed";
    Checkpoints: "store", "checkpoints";
    CleanStart: "store", "starts that replayed nothing";
    NoSpace: "store", "requests refused for want of space";
    MediumError: "store", "damaged blocks answered with a medium error";
    BlockMended: "store", "damaged blocks written over";
    Scrubbed: "store", "regions read and compared by the scrub";
    MendedByScrub: "store", "regions that the scrub mended at another server";
    MendedByCopy: "store", "regions mended from another copy";
    MovesDone: "moves", "moves carried out";
    MovesByBalance: "moves", "moves carried out that decide() asked for";
    MovesAborted: "moves", "moves given up";
    MovesResumed: "moves", "moves taken up again by an owner that found them";
    CutPreparingSource: "moves", "source crashed while the move was prepared";
    CutPreparingTarget: "moves", "target crashed while the move was prepared";
    CutCopyingSource: "moves", "source crashed while regions were copied";
    CutCopyingTarget: "moves", "target crashed while regions were copied";
    CutProposingSource: "moves", "source crashed while the directory decided";
    CutProposingTarget: "moves", "target crashed while the directory decided";
    CutHandoverSource: "moves", "source crashed while it handed over";
    CutHandoverTarget: "moves", "target crashed while it took over";
    RegionsSent: "moves", "regions copied";
    RegionsEqual: "moves", "regions found equal and not copied";
    RegionsReceived: "moves", "regions received";
    WritesMirrored: "moves", "writes to both copies";
    WritesWaited: "moves", "writes that waited for a region in motion";
    WritesNotYetCopied: "moves", "writes to regions not yet copied";
    CompletedAfterCutOver: "moves", "requests pinned before the cut-over and completed after it";
    AnsweredMoved: "moves", "requests answered \"moved\"";
    PlacementSwapped: "places", "placement swaps: volumes that got another place";
    Rerouted: "places", "extents that another place re-routed without a copy";
    Entered: "places", "extents entered because another place would re-route them";
    RunEntered: "places", "entries of a run, made for all that is left of it";
    PlaceWithdrawn: "places", "places withdrawn before they came";
    ProposeUnknown: "protocol", "Propose without an answer, resolved";
    Duplicates: "protocol", "retries that found their write done or under way";
    Forwarded: "protocol", "pieces of requests forwarded";
    Retried: "protocol", "pieces of requests tried again";
    ProofTooOld: "protocol", "writes refused because nobody had shown that their initiator lives";
    Proofs: "protocol", "initiators asked for a proof of life";
    Frames: "protocol", "messages sent through the frame encoder and decoder";
    Reads: "clients", "reads answered";
    Writes: "clients", "writes answered";
    Zeros: "clients", "zeroings answered";
    Exchanges: "clients", "compare-and-writes that succeeded";
    Miscompares: "clients", "compare-and-writes that miscompared";
    CrossExtent: "clients", "requests over more than one extent";
    Busy: "clients", "requests answered BUSY";
    Unknown: "clients", "writes answered \"outcome unknown\"";
    LostWithGateway: "clients", "writes whose gateway crashed";
    Cancelled: "clients", "requests cancelled";
    SectorsChecked: "checks", "sectors judged";
    RegionsHashed: "checks", "regions compared by version";
    CopiesAtRest: "checks", "extents with exactly the routed copy at rest";
    StoresChecked: "checks", "stores checked offline";
}

/// Seeds from which on a row that stayed zero fails the run.
pub const SEEDS_FOR_COVERAGE: u64 = 50;

/// Counts for all rows.
#[derive(Clone, Debug)]
pub struct Coverage {
    counts: [u64; ROWS.len()],
}

impl Default for Coverage {
    fn default() -> Self {
        Self { counts: [0; ROWS.len()] }
    }
}

impl Coverage {
    pub(crate) fn count(&mut self, row: Row) {
        self.add(row, 1);
    }

    pub(crate) fn add(&mut self, row: Row, count: u64) {
        self.counts[row as usize] += count;
    }

    /// The count of a row.
    #[must_use]
    pub const fn of(&self, row: Row) -> u64 {
        self.counts[row as usize]
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
    }

    /// Names of the rows that stayed zero.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        ROWS.iter().filter(|(row, ..)| self.of(*row) == 0).map(|(.., name)| *name)
    }

    /// The same for the rows of one group.
    pub fn missing_of(&self, group: &str) -> impl Iterator<Item = &'static str> {
        let of_group = ROWS.iter().filter(move |(_, of, _)| *of == group);
        of_group.filter(|(row, ..)| self.of(*row) == 0).map(|(.., name)| *name)
    }

    /// The table, as text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut group = "";
        for (row, of, name) in ROWS {
            let shown = if *of == group { "" } else { of };
            group = of;
            writeln!(out, "{shown:<9} {:>11}  {name}", self.of(*row))
                .expect("writing to a string does not fail");
        }
        out
    }
}
