//! Links between servers that are cut, lead one way only, lose or delay: hosts read nothing wrong and get no errors, and the
//! group is whole again afterwards.

use evenkeel_engine::config::MARK_AGAIN_AFTER;
use evenkeel_tests::{
    Blocks, Place, Register, Session, Stage, StopAtEnd, Waits, Writer, comes_true, count_of, in_own_network,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Each with a register; behind them are the blocks of a host with much under way.
const REGISTERS: u64 = 3;
const EXTENTS: u64 = 6;
const EXTENT_BYTES: u64 = 4 << 20;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// A host leaves a path on which nothing comes for this long.
const PATIENCE: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(60);
/// How long a fault lasts whose effect is looked for in what hosts see alone.
const LASTS: Duration = Duration::from_secs(4);
/// How long a login may take at most.
const LOGIN_PATIENCE: Duration = Duration::from_secs(15);
/// How long links are watched after somebody was marked down, with the cut as it was: one that comes back too early would
/// show here.
const STAYS_CUT: Duration = Duration::from_secs(8);

/// What a server says that found itself down, and how often it may within ten minutes before it waits for a person.
const STARTS_ANEW: &str = "the group went on without it: starts anew";
const STARTS_ANEW_MAX: usize = 3;

const EXPECTED: [&str; 4] = [
    "has not answered for",
    "the directory cannot be reached",
    "the group went on without it",
    "cannot start anew yet",
];

/// A group under load.
struct Group<'a> {
    stage: &'a mut Stage,
    registers: &'a [Register],
    target: &'a str,
    waits: Arc<Waits>,
    /// Bytes of each server's log at the beginning of the fault.
    logged: Vec<usize>,
}

impl Group<'_> {
    /// Owner, other copy, and the server without one, from 0.
    fn places(&self) -> [usize; 3] {
        let table = self.stage.servers[0].api().route("v1", "s1").expect("the route");
        let number = |name: &String| name[1..].parse::<usize>().expect("servers are named s1, s2, ...") - 1;
        let owner = number(&table.extents[0].owner);
        let mut copies = table.extents[0].replicas.iter().map(number);
        let other = copies.find(|server| *server != owner).expect("two copies");
        [owner, other, 3 - owner - other]
    }

    /// Begins a fault. A mark soon after another one takes a majority, which two that do not reach each other have not.
    fn begin(&mut self, round: u64) {
        if round > 0 {
            std::thread::sleep(MARK_AGAIN_AFTER);
        }
        let _ = self.waits.take_longest();
        self.logged = self.stage.servers.iter().map(|server| server.log().len()).collect();
    }

    fn log(&self, server: usize) -> String {
        self.stage.servers[server].log().split_off(self.logged[server])
    }

    /// The server that others marked down since the beginning of the fault.
    fn marked(&self) -> Option<usize> {
        let is_marked = |n: &usize| self.log(*n).contains(STARTS_ANEW);
        (0..3).find(is_marked)
    }

    /// Waits until somebody was marked down and knows it; gives who.
    fn wait_marked(&self) -> usize {
        let mut marked = None;
        let is_so = comes_true(WITHIN, || {
            marked = self.marked();
            marked.is_some()
        });
        assert!(is_so, "nobody was marked down");
        marked.expect("just seen")
    }

    /// Everything passes again: waits until all are up, and all registers are written through whomever.
    fn heal(&mut self, what: &str) {
        self.stage.heal();
        self.stage.all_are_up();
        let known: Vec<u64> = self.registers.iter().map(Register::known).collect();
        let go_on = || {
            let mut all = self.registers.iter().zip(&known);
            all.all(|(register, known)| register.known() > known + 20 || register.wrong().is_some())
        };
        assert!(comes_true(WITHIN, go_on), "{what}: hosts do not go on");
        for register in self.registers {
            assert_eq!(register.wrong(), None, "{what}");
        }
        let marks: Vec<usize> = (0..3).map(|n| self.log(n).matches(STARTS_ANEW).count()).collect();
        let waited = self.waits.take_longest();
        println!(
            "{what}: all are up again; a host waited for {waited:.1?}; servers that started anew: {marks:?}"
        );
        for server in &mut self.stage.servers {
            if server.log_since_start().matches(STARTS_ANEW).count() >= STARTS_ANEW_MAX {
                server.kill();
                server.spawn();
                server.wait();
            }
        }
    }
}

/// Runs `faults` on a group of three whose volume has two copies, with hosts at every portal.
fn under_load(faults: impl FnOnce(&mut Group<'_>)) {
    let mut stage = Stage::start(3, "--balance false");
    let target = stage.create_volume("v1", &format!("{}MiB", EXTENTS * 4), 2);
    let registers: Vec<Register> =
        (0..REGISTERS).map(|extent| Register::new(&target, extent * EXTENT_BYTES)).collect();
    let portals = stage.portals();
    let blocks =
        Blocks::new(REGISTERS * BLOCKS_PER_EXTENT, ((EXTENTS - REGISTERS) * BLOCKS_PER_EXTENT) as usize);
    let mut host = Writer::new(portals.clone(), &target, blocks, 8, 99).with_paths(PATIENCE);
    host.fill(&portals[0]).expect("the volume is written");
    host = host.paced(Duration::from_millis(2));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        let stop = &stop;
        for (n, register) in registers.iter().enumerate() {
            let mut portals = portals.clone();
            portals.rotate_left(n % 3);
            for portal in portals.clone() {
                scope.spawn(move || register.read(&portal, stop));
            }
            scope.spawn(move || register.write(&portals, stop));
        }
        let waits = host.waits();
        scope.spawn(|| host.run(stop));
        let written = || registers.iter().all(|register| register.known() > 0);
        assert!(comes_true(WITHIN, written), "hosts cannot write");
        let logged = vec![0; 3];
        faults(&mut Group { stage: &mut stage, registers: &registers, target: &target, waits, logged });
        drop(stop_at_end);
    });
    for (extent, register) in registers.iter().enumerate() {
        println!(
            "extent {extent}: {} writes, reads {:?}, {} busy",
            register.known(),
            register.reads(),
            register.busy()
        );
        assert_eq!((register.wrong(), register.busy()), (None, 0), "extent {extent}");
        assert_eq!(register.reads().len(), 3, "every portal answered some");
    }
    let tally = &host.tally;
    println!("the host with 8 requests: {tally:?}");
    assert_eq!((&tally.wrong, tally.busy), (&None, 0));
    assert!(tally.writes > 100 && tally.reads > 50, "{tally:?}");
    for portal in &portals {
        assert!(host.verify(portal).expect("all is there") > 0);
    }
    let _ = stage.servers[0].evenkeel(&["route", "v1", "--verify"]).ok();
    assert_eq!(stage.warnings_but(&EXPECTED), [""; 0]);
}

/// Each direction between the owner and the other copy, and between the owner and a gateway, one in each round.
fn one_way() {
    under_load(|group| {
        for round in 0..count_of("ROUNDS", 1) {
            let [owner, other, third] = group.places();
            let ways = [(owner, other), (other, owner), (third, owner), (owner, third)];
            let (from, to) = ways[round as usize % ways.len()];
            group.begin(round);
            group.stage.cut_one_way(Place::Server(from), Place::Server(to));
            let marked = group.wait_marked();
            assert!(marked == from || marked == to, "s{} is marked down", marked + 1);
            group.heal(&format!("nothing from s{} to s{}", from + 1, to + 1));
        }
    });
}

/// Only the link between the owner and the other copy: of two with as many links the higher number goes, and it does not
/// come back to stand in the way before it reaches the owner again.
fn between_two() {
    under_load(|group| {
        for round in 0..count_of("ROUNDS", 1) {
            let [owner, other, _] = group.places();
            group.begin(round);
            group.stage.cut(Place::Server(owner), &[Place::Server(other)]);
            let marked = group.wait_marked();
            assert_eq!(marked, owner.max(other), "the higher number goes");
            let known: Vec<u64> = group.registers.iter().map(Register::known).collect();
            std::thread::sleep(STAYS_CUT);
            let started = group.log(marked).matches("store open after").count();
            println!("s{} was marked down, and started {started} times while the link was cut", marked + 1);
            assert_eq!(started, 0, "it stands in the way of an owner that it does not reach");
            let answer =
                Session::open_with(&group.stage.portals()[marked], group.target, LOGIN_PATIENCE).err();
            let answer = answer.expect("a server that is down takes no host");
            assert!(!answer.contains("no answer"), "hosts that come to it are kept waiting: {answer}");
            for (register, known) in group.registers.iter().zip(known) {
                assert!(register.known() > known, "nothing was written for {STAYS_CUT:?}");
            }
            group.heal("a link between two");
        }
    });
}

/// A server with no link to others goes, whatever its number, though it reaches the directory.
fn without_links() {
    under_load(|group| {
        for round in 0..count_of("ROUNDS", 1) {
            let [owner, other, third] = group.places();
            group.begin(round);
            group.stage.cut(Place::Server(owner), &[Place::Server(other), Place::Server(third)]);
            assert_eq!(group.wait_marked(), owner, "the one without links goes");
            group.heal("the owner without links to servers");
        }
    });
}

/// Packets are lost, and what is sent comes late.
fn loss_and_delay() {
    under_load(|group| {
        for round in 0..count_of("ROUNDS", 1) {
            let [owner, other, third] = group.places();
            group.begin(round);
            group.stage.lose(Place::Server(owner), Place::Server(other), 3);
            group.stage.lose(Place::Server(owner), Place::Server(third), 3);
            std::thread::sleep(LASTS);
            group.heal("3 % of packets lost");

            group.begin(round);
            // Servers with lower numbers dial.
            let (dials, is_dialled) = (owner.min(other), owner.max(other));
            let relay = group.stage.delay(dials, is_dialled, Duration::from_millis(100));
            assert!(comes_true(WITHIN, || relay.connections() > 0), "nothing goes through the long line");
            let known = group.registers[0].known();
            std::thread::sleep(LASTS);
            let made = group.registers[0].known() - known;
            println!(
                "with 100 ms on the way from s{} to s{}: {made} writes in {LASTS:?}",
                dials + 1,
                is_dialled + 1
            );
            assert!(made > 0, "a long line carries writes");
            assert_eq!(group.marked(), None, "a long line is no silence");
            drop(relay);
            group.heal("100 ms between owner and other copy");
        }
    });
}

#[test]
fn links_that_lead_one_way_only_show_hosts_nothing_wrong() {
    in_own_network("links_that_lead_one_way_only_show_hosts_nothing_wrong", one_way);
}

#[test]
fn of_two_servers_whose_link_is_cut_the_higher_number_goes_and_does_not_stand_in_the_way() {
    in_own_network(
        "of_two_servers_whose_link_is_cut_the_higher_number_goes_and_does_not_stand_in_the_way",
        between_two,
    );
}

#[test]
fn a_server_without_links_to_others_goes_though_it_reaches_the_directory() {
    in_own_network("a_server_without_links_to_others_goes_though_it_reaches_the_directory", without_links);
}

#[test]
fn links_that_lose_and_delay_show_hosts_nothing_wrong() {
    in_own_network("links_that_lose_and_delay_show_hosts_nothing_wrong", loss_and_delay);
}
