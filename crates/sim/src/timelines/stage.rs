//! A group in which nothing happens but what a script asks for.

use crate::checkers::Violation;
use crate::client::gateway::Client;
use crate::client::workload::Wish;
use crate::coverage::{Coverage, Row};
use crate::log::{Log, LogMode};
use crate::net::{Weather, pair_of};
use crate::rng::Rng;
use crate::scenario::{Scenario, VolumePlan};
use crate::world::{Happening, World};
use evenkeel_engine::{DirectoryEvent, Event, MoveOrder};
use evenkeel_meta::{DirectoryError, MemberState};
use evenkeel_peer::Message;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{ByteRange, ExtentId, ServerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than anything takes that is waited for: marks, takeovers and returns.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module's head. Server `n` is the gateway of client `n - 1`.
pub(super) struct Stage<'a> {
    pub(super) world: World<'a>,
    /// The extent that the script is about; its owner, its other replica, and the server without a copy, as it begins.
    pub(super) extent: ExtentId,
    pub(super) a: ServerId,
    pub(super) b: ServerId,
    pub(super) c: ServerId,
}

/// Runs a script over three servers and a volume with so many copies, then lets everything heal and be looked through.
pub(super) fn play(replicas: u8, script: impl FnOnce(&mut Stage<'_>)) {
    let (mut log, mut coverage) = (Log::new(LogMode::Keep), Coverage::default());
    let outcome = {
        let mut stage = Stage::new(replicas, &mut log, &mut coverage);
        script(&mut stage);
        stage.world.heal().and_then(|()| stage.world.run())
    };
    if let Err(violation) = outcome {
        let events: Vec<&str> = log.last(80, violation.extent).collect();
        panic!("{violation}\n{}", events.join("\n"));
    }
    assert!(coverage.of(Row::Reads) > 0, "nothing was read again");
}

impl<'a> Stage<'a> {
    fn new(replicas: u8, log: &'a mut Log, coverage: &'a mut Coverage) -> Self {
        let calm = Scenario {
            is_scripted: true,
            servers: 3,
            volumes: vec![VolumePlan { bytes: 4 * u64::from(EXTENT_BYTES), replicas }],
            disk_bytes: 96 << 20,
            is_full: false,
            cramped: None,
            weather: Weather::FAIR,
            haze: crate::directory::Haze::default(),
            clients_per_server: 0,
            rebuild_after: Duration::from_secs(600),
            history: 1 << 20,
            operations: u64::MAX,
            ..Scenario::draw(&mut Rng::new(1))
        };
        let mut world = World::of(calm, 1, log, coverage).expect("a sound group");
        for gateway in world.servers.keys().copied().collect::<Vec<_>>() {
            let open = BTreeMap::new();
            let client =
                Client { gateway, depth: 8, open, is_local_reader: false, has_paths: true, is_alive: true };
            world.clients.push(client);
        }
        let extent = ExtentId { volume: world.volumes[0].id, index: 0 };
        let route = world.routing.route(extent).expect("the volume was created");
        let ids: Vec<ServerId> = world.servers.keys().copied().collect();
        let rest: Vec<ServerId> = ids.iter().copied().filter(|id| !route.replicas.contains(id)).collect();
        let a = route.replicas[0];
        let b = if replicas > 1 { route.replicas[1] } else { rest[0] };
        let c = *rest.last().expect("a server without a copy");
        let mut stage = Self { world, extent, a, b, c };
        stage.until("all serve", |stage| stage.world.servers.values().all(|server| server.running.is_some()));
        stage.pass(1000);
        stage
    }

    fn step(&mut self) {
        if let Err(violation) = self.world.step() {
            self.fail(&violation);
        }
    }

    fn fail(&self, violation: &Violation) -> ! {
        let events: Vec<&str> = self.world.log.last(80, violation.extent).collect();
        panic!("{violation}\n{}", events.join("\n"));
    }

    fn must(&self, outcome: Result<(), Violation>) {
        if let Err(violation) = outcome {
            self.fail(&violation);
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.world.now() + Duration::from_millis(ms);
        while self.world.now() < end {
            self.step();
        }
    }

    /// Time passes until something is so.
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.world.now() + PATIENCE;
        while !is_so(self) {
            self.step();
            if self.world.now() > end {
                let what = format!("in {PATIENCE:?} it has not come to this: {what}");
                self.fail(&Violation::new("script", self.extent, what));
            }
        }
    }

    fn client_of(&self, gateway: ServerId) -> usize {
        usize::try_from(gateway.0).expect("few servers") - 1
    }

    fn ask(&mut self, gateway: ServerId, wish: Wish, block: u64) {
        let client = self.client_of(gateway);
        let outcome = self.world.ask(client, wish, self.extent.volume, ByteRange::new(block * 4096, 4096));
        self.must(outcome);
    }

    /// A host writes a block of the extent through a gateway.
    pub(super) fn begin_write(&mut self, gateway: ServerId, block: u64) {
        self.ask(gateway, Wish::Write, block);
    }

    pub(super) fn begin_read(&mut self, gateway: ServerId, block: u64) {
        self.ask(gateway, Wish::Read, block);
    }

    /// Whether anything of that gateway's host has no answer yet.
    pub(super) fn is_open(&self, gateway: ServerId) -> bool {
        !self.world.clients[self.client_of(gateway)].open.is_empty()
    }

    fn answered(&mut self, gateway: ServerId, row: Row) {
        let before = self.world.coverage.of(row);
        self.until("the host has its answer", |stage| !stage.is_open(gateway));
        assert!(self.world.coverage.of(row) > before, "the answer was another one");
    }

    /// The same, to its acknowledgement.
    pub(super) fn write(&mut self, gateway: ServerId, block: u64) {
        self.begin_write(gateway, block);
        self.answered(gateway, Row::Writes);
    }

    /// A host reads a block; the register judge knows what it must see.
    pub(super) fn read(&mut self, gateway: ServerId, block: u64) {
        self.begin_read(gateway, block);
        self.answered(gateway, Row::Reads);
    }

    /// The power of a server fails.
    pub(super) fn crash(&mut self, server: ServerId) {
        let outcome = self.world.crash(server);
        self.must(outcome);
    }

    pub(super) fn start(&mut self, server: ServerId) {
        self.world.clock.after(Duration::from_millis(1), Happening::Start { server });
        self.until("it serves", |stage| stage.world.servers[&server].running.is_some());
    }

    pub(super) fn state_of(&self, server: ServerId) -> MemberState {
        self.world.routing.state_of(server).expect("a member")
    }

    pub(super) fn until_state(&mut self, server: ServerId, state: MemberState) {
        self.until("its state", |stage| stage.state_of(server) == state);
    }

    /// Nothing gets from one to the other any more, and nobody is told.
    pub(super) fn cut(&mut self, one: ServerId, other: ServerId) {
        self.world.net.cut(pair_of(one, other), true);
        self.world.net.break_off(one, other, None);
    }

    /// Nothing gets from one to the other any more, and both notice.
    pub(super) fn part(&mut self, one: ServerId, other: ServerId) {
        self.world.net.cut(pair_of(one, other), true);
        for (server, peer) in [(one, other), (other, one)] {
            if let Some(wire) = self.world.net.wire(server, peer) {
                self.world.clock.after(Duration::from_millis(1), Happening::SideDown { wire, server });
            }
        }
        self.world.net.break_off(one, other, None);
    }

    pub(super) fn mend(&mut self, one: ServerId, other: ServerId) {
        self.world.net.cut(pair_of(one, other), false);
    }

    /// A server neither hears of the directory nor is heard there.
    pub(super) fn leave_in_the_dark(&mut self, server: ServerId, ms: u64) {
        let until = self.world.now() + Duration::from_millis(ms);
        let server = self.world.server(server);
        (server.deaf_until, server.dark_until) = (until, until);
    }

    /// A server hears nothing of the directory.
    pub(super) fn deafen(&mut self, server: ServerId, ms: u64) {
        let until = self.world.now() + Duration::from_millis(ms);
        self.world.server(server).deaf_until = until;
    }

    /// The owner is told to move its copy.
    pub(super) fn begin_move(&mut self, to: ServerId) {
        let (extent, reason) = (self.extent, serde_json::Value::String("script".into()));
        let order = MoveOrder { extent, to, replaces: None, rate: None, reason, first: Vec::new() };
        let owner = self.owner();
        let outcome = self.world.tell(owner, Event::StartMove(order));
        self.must(outcome);
    }

    pub(super) fn owner(&self) -> ServerId {
        self.world.routing.route(self.extent).and_then(|route| route.owner()).expect("an owner")
    }

    /// Moves, and holds the Propose back.
    pub(super) fn move_up_to_propose(&mut self, to: ServerId) {
        self.world.script.holds_proposes = true;
        self.begin_move(to);
        self.until("the owner proposes", |stage| !stage.world.script.proposes.is_empty());
    }

    /// The owner hears that nothing is known of its Propose.
    pub(super) fn lose_the_answer(&mut self) {
        let (life, ticket, _) = self.world.script.proposes[0].clone();
        let outcome = Err(DirectoryError::OutcomeUnknown { reason: "scripted".into() });
        let done = DirectoryEvent::TxnDone { ticket, outcome };
        let outcome = self.world.tell(life.server, Event::Directory(done));
        self.must(outcome);
    }

    /// The Propose that was held back gets to the directory; whether it is taken.
    pub(super) fn let_propose(&mut self, is_answered: bool) -> bool {
        self.world.script.holds_proposes = false;
        let (life, ticket, txn) = self.world.script.proposes.remove(0);
        let before = self.world.routing.moves();
        let answer = is_answered.then_some(Duration::from_millis(1));
        let outcome = self.world.carry_out(life, ticket, &txn, answer);
        self.must(outcome);
        self.world.routing.moves() > before
    }

    pub(super) fn hold(&mut self, holds: fn(ServerId, ServerId, &Message) -> bool) {
        self.world.script.holds = Some(holds);
    }

    /// What was held back stays so, and nothing more is.
    pub(super) fn hold_no_more(&mut self) {
        self.world.script.holds = None;
    }

    /// What was held back arrives after all, over whatever connection there is now.
    pub(super) fn deliver_held(&mut self) -> usize {
        self.world.script.holds = None;
        let held = std::mem::take(&mut self.world.script.messages);
        let count = held.len();
        for (from, to, message) in held {
            let outcome = self.world.tell(to, Event::Message { from, message });
            self.must(outcome);
        }
        count
    }

    /// A server stands still, and its hosts notice.
    pub(super) fn stand_still(&mut self, server: ServerId, ms: u64) {
        let outcome = self.world.stand_still(server, Duration::from_millis(ms));
        self.must(outcome);
    }
}
