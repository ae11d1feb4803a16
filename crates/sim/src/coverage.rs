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
    FoundDown: "members", "servers that found themselves down";
    MarkedDown: "members", "servers marked down";
    Rejoined: "members", "servers that came back up";
    Compared: "members", "comparisons with servers that were away";
    JournalTorn: "store", "journals with a torn tail";
    RecordsReplayed: "store", "journal records replayed";
    Checkpoints: "store", "checkpoints";
    CleanStart: "store", "starts that replayed nothing";
    NoSpace: "store", "requests refused for want of space";
    MediumError: "store", "damaged blocks answered with a medium error";
    BlockMended: "store", "damaged blocks written over";
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
    Freed: "moves", "copies freed";
    ProposeUnknown: "protocol", "Propose without an answer, resolved";
    TakeoverPromised: "protocol", "takeovers with the old owner's promise";
    TakeoverWaited: "protocol", "takeovers after the old owner's lease ran out";
    ReadsWaitedForLease: "protocol", "reads that waited for a lease";
    StaleRefusals: "protocol", "messages refused as stale";
    Duplicates: "protocol", "retries that found their write done or under way";
    Forwarded: "protocol", "pieces of requests forwarded";
    Retried: "protocol", "pieces of requests tried again";
    Proofs: "protocol", "initiators asked for a proof of life";
    Frames: "protocol", "messages sent through the frame encoder and decoder";
    Reads: "clients", "reads answered";
    Writes: "clients", "writes answered";
    Zeros: "clients", "zeroings answered";
    Exchanges: "clients", "compare-and-writes that succeeded";
    Miscompares: "clients", "compare-and-writes that miscompared";
    CrossExtent: "clients", "requests over more than one extent";
    SubBlock: "clients", "writes of parts of blocks";
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
