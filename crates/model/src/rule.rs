//! The rules that the model holds, each of which can be left out of a search.
//!
//! The numbers are those of docs/design/0001-the-extent-protocol.md, which has the rules whole; a rule of that page that
//! has several parts has a switch for each part that matters by itself.

use std::fmt::{Display, Formatter};

macro_rules! rules {
    ($($rule:ident $name:literal $number:literal $says:literal;)*) => {
        /// A rule of the extent protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule {
            $(#[doc = $says] $rule,)*
        }

        impl Rule {
            /// All rules, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// What the command line calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// Its number in the specification.
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self { $(Self::$rule => $number,)* }
            }

            /// What it says, in one line.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$rule => $says,)* }
            }
        }
    };
}

rules! {
    EpochOfAllKeys "epoch-of-all-keys" "1"
        "The epoch is the highest revision of all keys of the route: the entry, and the member of each replica and target.";
    LastUp "last-up" "3"
        "If no replica is up, the one that left `up` last is alone in sync and owns; nobody becomes up for want of an owner.";
    LeftOnLeavingUp "left-on-leaving-up" "3"
        "`left` is written on leaving `up` and at no other time.";
    RecordAtStart "record-at-start" "4"
        "A start writes the member record although the state stays `up`: every epoch of the server's extents grows.";
    DurableAnswers "durable-answers" "4"
        "Every answer is given after what it names is durable.";
    GuardWaited "guard-waited" "6"
        "A new owner serves when each owner whose heartbeat it answered has promised, or G has passed since.";
    GuardSurvivesStart "guard-survives-start" "6"
        "After a restart, G counts from the server's own start: what it answered before is not forgotten.";
    EqualBeforeServing "equal-before-serving" "6"
        "A new owner serves when all in-sync copies equal its own.";
    BeginsAgain "begins-again" "7"
        "An owner whose epoch grows accepts, attaches and settles again, and serves nothing in between.";
    AttachKnowsView "attach-knows-view" "8"
        "A replica answers no attach of an epoch below the one that its own view gives.";
    AttachEndsReign "attach-ends-reign" "8"
        "A replica that answers an attach ends its own reign.";
    AttachVoidsPromise "attach-voids-promise" "8"
        "A replica that answers an attach voids the promise that its regions are current.";
    AcceptedFences "accepted-fences" "8"
        "A replica refuses heartbeats, attaches, writes and copies below the epoch that it accepted.";
    UpIsAwaited "up-is-awaited" "9"
        "A server whose transaction to `up` has no answer yet answers no attach.";
    UpNeedsPromise "up-needs-promise" "10"
        "A syncing server becomes up only while it holds the owner's promise that all its regions are current.";
    SyncingRequired "syncing-required" "11"
        "A syncing replica is attached or marked down before anything is acknowledged, and never dropped by the owner alone.";
    VersionsKept "versions-kept" "12"
        "A copy keeps the version that its content has; a new owner stamps nothing anew.";
    NamesPrevious "names-previous" "13"
        "A write and a copy name the version that they replace; a replica that has another refuses.";
    CopyCarriesWrites "copy-carries-writes" "13"
        "The copy of a region does not wait for the writes in flight to it: it carries them.";
    AnswerNamesVersion "answer-names-version" "14"
        "An answer counts only for the version that it names.";
    AcknowledgedByAll "acknowledged-by-all" "15"
        "A write is acknowledged when it is durable on every replica that is not down and has the region current.";
    LeaseShorterThanGuard "lease-shorter-than-guard" "16"
        "A lease ends before the server that gave it stops waiting for it: L < G.";
    LeaseOfSyncing "lease-of-syncing" "16"
        "The owner needs a lease from each replica that is not down, syncing ones too.";
    ReadWaits "read-waits" "16"
        "A read waits for the writes in flight in its range.";
    FreeOnNewView "free-on-new-view" "18"
        "A copy is freed only on a view whose epoch is not below the one that the server accepted last.";
    AcceptedOutlivesCopy "accepted-outlives-copy" "18"
        "An accepted epoch is forgotten only on a view that has reached it and names the server neither replica nor target.";
    ProposeComparesAll "propose-compares-all" "M1"
        "Propose compares all keys of the route with the epoch.";
    TargetAcknowledges "target-acknowledges" "M2"
        "From Propose until its outcome is known nothing is acknowledged without the target, and it is not dropped.";
    TargetLease "target-lease" "M2"
        "From Propose until its outcome is known nothing is read without the target's lease.";
    ReplacedStaysRequired "replaced-stays-required" "M2"
        "From Propose until its outcome is known the replica that is replaced stays required.";
    OutcomeNotRead "outcome-not-read" "M3"
        "The outcome of a Propose is never told by reading an unchanged entry: its intent is cleared, or the epoch has grown.";
    AnswerNamesPropose "answer-names-propose" "M3"
        "The directory's answer settles only the Propose that it names.";
    SwitchComparesEntry "switch-compares-entry" "M4"
        "An owner switch compares the route entry that it rewrites.";
    RetryIsFound "retry-is-found" "G1"
        "The retry of a write that was applied is answered, and not applied again.";
    IdentitiesTravel "identities-travel" "G2"
        "The copy of a region brings the identities of the writes that it holds.";
}

impl Rule {
    /// The rule with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    const fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The rules that hold in a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules(u64);

impl Rules {
    /// All of them.
    pub const ALL: Self = Self((1 << Rule::ALL.len()) - 1);

    /// These without one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !rule.bit())
    }

    /// Whether the rule holds.
    #[must_use]
    pub const fn have(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }

    /// The rules that are left out.
    pub fn omitted(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.iter().copied().filter(move |rule| !self.have(*rule))
    }
}
