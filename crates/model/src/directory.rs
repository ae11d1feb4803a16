//! The directory, and a server's view of it: what it says about one extent.

use crate::rule::{Rule, Rules};
use crate::set::{SERVERS_MAX, ServerId, Servers};

/// Replicas of an extent at most.
pub(crate) const REPLICAS_MAX: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) enum MemberState {
    #[default]
    Up,
    Syncing,
    Down,
}

impl MemberState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Syncing => "syncing",
            Self::Down => "down",
        }
    }
}

/// The record of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Member {
    pub(crate) state: MemberState,
    pub(crate) incarnation: u8,
    /// In which revision it was written.
    pub(crate) revision: u8,
    /// In which revision the server left `up` last.
    pub(crate) left: u8,
}

/// A move that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Intent {
    pub(crate) to: ServerId,
    pub(crate) replaces: ServerId,
}

/// The route entry of the extent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Entry {
    /// In the order in which they would own the extent.
    pub(crate) replicas: [Option<ServerId>; REPLICAS_MAX],
    pub(crate) intent: Option<Intent>,
    /// The owner that was replaced last.
    pub(crate) from: Option<ServerId>,
    pub(crate) revision: u8,
}

/// All keys that concern the extent, as of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Directory {
    pub(crate) members: [Member; SERVERS_MAX],
    pub(crate) entry: Entry,
    pub(crate) revision: u8,
}

impl Directory {
    /// A new group: all servers up, the first `replicas` of them with a copy.
    pub(crate) fn founded(replicas: u8) -> Self {
        let member = Member { incarnation: 1, revision: 1, ..Member::default() };
        let mut entry = Entry { revision: 1, ..Entry::default() };
        for (place, server) in entry.replicas.iter_mut().zip(0..replicas) {
            *place = Some(ServerId(server));
        }
        Self { members: [member; SERVERS_MAX], entry, revision: 1 }
    }

    /// Begins the next revision.
    ///
    /// # Panics
    /// After 250 revisions: far more than the bounds of any search allow.
    pub(crate) fn next_revision(&mut self) -> u8 {
        assert!(self.revision < 250, "a search without end in the directory's revisions");
        self.revision += 1;
        self.revision
    }

    pub(crate) fn member(&self, server: ServerId) -> &Member {
        &self.members[server.index()]
    }

    pub(crate) fn member_mut(&mut self, server: ServerId) -> &mut Member {
        &mut self.members[server.index()]
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = ServerId> {
        self.entry.replicas.into_iter().flatten()
    }

    pub(crate) fn replica_set(&self) -> Servers {
        self.replicas().collect()
    }

    /// Whether the server holds a copy or is getting one.
    pub(crate) fn names(&self, server: ServerId) -> bool {
        self.target() == Some(server) || self.replicas().any(|replica| replica == server)
    }

    pub(crate) fn target(&self) -> Option<ServerId> {
        self.entry.intent.map(|intent| intent.to)
    }

    fn state(&self, server: ServerId) -> MemberState {
        self.member(server).state
    }

    pub(crate) fn is_up(&self, server: ServerId) -> bool {
        self.state(server) == MemberState::Up
    }

    pub(crate) fn up(&self) -> Servers {
        self.replicas().filter(|replica| self.is_up(*replica)).collect()
    }

    /// The replicas that are not down.
    pub(crate) fn present(&self) -> Servers {
        self.replicas().filter(|replica| self.state(*replica) != MemberState::Down).collect()
    }

    /// The replica that left `up` last: with none up it is alone in sync, even before it is back.
    fn last_up(&self) -> Option<ServerId> {
        self.replicas().max_by_key(|replica| self.member(*replica).left)
    }

    pub(crate) fn owner(&self, rules: Rules) -> Option<ServerId> {
        let first = self.replicas().find(|replica| self.is_up(*replica));
        if first.is_none() && rules.have(Rule::LastUp) { self.last_up() } else { first }
    }

    pub(crate) fn in_sync(&self, rules: Rules) -> Servers {
        let up = self.up();
        if up.is_empty() { self.owner(rules).into_iter().collect() } else { up }
    }

    pub(crate) fn epoch(&self, rules: Rules) -> u8 {
        if !rules.have(Rule::EpochOfAllKeys) {
            return self.entry.revision;
        }
        let named = self.replicas().chain(self.target());
        named.fold(self.entry.revision, |epoch, server| epoch.max(self.member(server).revision))
    }

    /// Puts a server in the place of another.
    pub(crate) fn replace(&mut self, intent: Intent) {
        for place in &mut self.entry.replicas {
            if *place == Some(intent.replaces) {
                *place = Some(intent.to);
            }
        }
    }

    /// Puts a replica first, so that it owns; the others keep their order.
    pub(crate) fn put_first(&mut self, owner: ServerId) {
        let mut order: Vec<Option<ServerId>> = vec![Some(owner)];
        order.extend(self.replicas().filter(|replica| *replica != owner).map(Some));
        order.resize(REPLICAS_MAX, None);
        self.entry.replicas.copy_from_slice(&order);
    }
}
