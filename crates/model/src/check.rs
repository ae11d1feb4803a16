//! What must hold in every state.

use crate::rule::Rules;
use crate::server::{REGIONS, RegionCopy};
use crate::set::{SERVERS_MAX, ServerId};
use crate::state::{Flaw, State};
use std::fmt::{Display, Formatter};

/// A property of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// A read shows every write acknowledged before, and nothing older than an earlier read.
    ReadsAreCurrent,
    /// At most one server would answer reads.
    OneOwner,
    /// Copies of a region with equal versions have equal content.
    EqualVersionsEqualContent,
    /// Copies with equal content are not found under different versions: what is current is not sent again.
    EqualContentEqualVersions,
    /// Every in-sync copy has every acknowledged write.
    InSyncHasAcknowledged,
    /// A write that was repeated does not come back after a later one.
    AppliedOnce,
    /// From every state there is a way back to a group that serves, with all replicas up, and to one that serves with
    /// the servers that run, if one of them has an in-sync copy.
    Heals,
}

impl Property {
    /// What it says, as the reason why a state is wrong.
    #[must_use]
    pub const fn broken(self) -> &'static str {
        match self {
            Self::ReadsAreCurrent => "a read shows less than was acknowledged or read before",
            Self::OneOwner => "two servers answer reads",
            Self::EqualVersionsEqualContent => "copies with equal versions differ",
            Self::EqualContentEqualVersions => "equal copies have different versions, and are sent again",
            Self::InSyncHasAcknowledged => "an in-sync copy lacks an acknowledged write",
            Self::AppliedOnce => "a write is applied again after a later one",
            Self::Heals => "there is no way back to a group that serves",
        }
    }
}

impl Display for Property {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.broken())
    }
}

/// The property that a state breaks. Whether it heals is searched for elsewhere.
pub(crate) fn check(state: &State, rules: Rules) -> Option<Property> {
    match state.flaw {
        Some(Flaw::Read) => return Some(Property::ReadsAreCurrent),
        Some(Flaw::Version) => return Some(Property::EqualContentEqualVersions),
        None => {}
    }
    let servers = || (0..SERVERS_MAX as u8).map(ServerId);
    if servers().filter(|server| state.server(*server).serves(*server, rules)).nth(1).is_some() {
        return Some(Property::OneOwner);
    }
    if has_clash(state) {
        return Some(Property::EqualVersionsEqualContent);
    }
    for server in state.directory.in_sync(rules).iter().filter(|server| state.is_present(*server)) {
        let copies = &state.server(server).copies;
        let has =
            |region: usize| state.clients.acknowledged[region].is_subset_of(copies[region].content.set());
        if !(0..REGIONS).all(has) {
            return Some(Property::InSyncHasAcknowledged);
        }
    }
    let repeated =
        |server: ServerId| state.server(server).copies.iter().any(|copy| copy.content.has_repeat());
    servers().any(repeated).then_some(Property::AppliedOnce)
}

fn has_clash(state: &State) -> bool {
    let servers = &state.servers;
    (0..REGIONS).any(|region| {
        servers.iter().enumerate().any(|(n, one)| {
            let one = one.copies[region];
            let clashes = |other: RegionCopy| other.version == one.version && other.content != one.content;
            one.version != RegionCopy::NONE.version
                && servers[n + 1..].iter().any(|other| clashes(other.copies[region]))
        })
    })
}
