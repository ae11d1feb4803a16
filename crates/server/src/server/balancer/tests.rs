use super::*;
use evenkeel_balance::{Load, MoveReason, Resource, Standing};
use evenkeel_meta::change::{self, NewVolume, PrepareMove};
use evenkeel_meta::records::{
    AccessRecord, FORMAT_VERSION, FormatRecord, MoveRecord, ServerCapacity, ServerRecord, decode_json,
};
use evenkeel_meta::{Directory, KeyRange, MemoryDirectory, MoveId};
use evenkeel_types::{ByteRange, Incarnation, VolumeId};

const MIB: u32 = 1 << 20;
/// The wall clock when the servers' own clock began.
const BEGAN_UNIX_MS: u64 = 1_700_000_000_000;

fn capacity() -> CapacityConfig {
    CapacityConfig {
        disk_read_iops: 1000.0,
        disk_write_iops: 1000.0,
        net_mib_s: 100.0,
        cpu_cores: 1.0,
        enforce: false,
    }
}

fn actor(server: ServerId) -> Actor {
    Actor { server, incarnation: Incarnation(1) }
}

fn balancer(server: ServerId) -> Balancer {
    Balancer::new(Time::ZERO, actor(server), &capacity(), &BalanceConfig::default())
}

/// A directory with two servers and a volume of 16 extents, which `home` owns all; and the monitors of both.
struct Group {
    directory: MemoryDirectory,
    keys: Keyspace,
    volume: VolumeId,
    home: ServerId,
    away: ServerId,
    at_home: Balancer,
    at_away: Balancer,
    second: u64,
}

impl Group {
    fn new() -> Self {
        let directory = MemoryDirectory::default();
        let keys = Keyspace::new("lab").unwrap();
        let change = |make: &dyn Fn(&View) -> Txn| {
            assert!(directory.transact(&make(&view(&directory, &keys))).unwrap().succeeded);
        };
        let format =
            FormatRecord { version: FORMAT_VERSION, group: "lab".to_owned(), group_id: 1, generation: 0 };
        change(&|view| change::begin_group(view, &format));
        for n in 1..=2 {
            let record = ServerRecord {
                name: format!("s{n}"),
                portals: vec!["127.0.0.1:3260".to_owned()],
                peer: "127.0.0.1:7260".to_owned(),
                api: None,
                domain: format!("s{n}"),
                capacity: ServerCapacity { bytes: 1 << 30, ..ServerCapacity::default() },
                store_id: 0,
            };
            change(&|view| change::register_server(view, &record).unwrap().1);
            change(&|view| change::start_server(view, ServerId(n), Incarnation(1)).unwrap());
        }
        change(&|view| {
            let new = NewVolume {
                name: "v1".to_owned(),
                size_bytes: 64 << 20,
                logical_block_bytes: 512,
                replicas: 1,
                seed: 7,
                place: view.place_for_new_volume(evenkeel_meta::Spread::Domains).unwrap(),
                access: AccessRecord::default(),
                created_unix_ms: 0,
            };
            change::create_volume(view, actor(ServerId(1)), &new).unwrap().1
        });
        let now = view(&directory, &keys);
        let volume = now.volume_named("v1").unwrap().record;
        let home = now.route(ExtentId { volume, index: 0 }).unwrap().owner().unwrap();
        let away = ServerId(3 - home.0);
        let (at_home, at_away) = (balancer(home), balancer(away));
        Self { directory, keys, volume, home, away, at_home, at_away, second: 0 }
    }

    const fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    const fn now(&self) -> Time {
        Time(self.second * 1_000_000_000)
    }

    const fn unix_ms(&self) -> u64 {
        BEGAN_UNIX_MS + self.second * 1000
    }

    fn view(&self) -> View {
        view(&self.directory, &self.keys)
    }

    fn change(&self, make: impl FnOnce(&View) -> Txn) {
        assert!(self.directory.transact(&make(&self.view())).unwrap().succeeded);
    }

    /// A second of this many random reads of each extent at its owner. Both servers hear of each other; the one at home
    /// plans.
    fn tick(&mut self, reads: &[(ExtentId, u32)]) -> Tick {
        self.second += 1;
        let view = self.view();
        for (extent, count) in reads {
            let owner = view.route(*extent).unwrap().owner().unwrap();
            for n in 0..*count {
                let offset = u64::from((n * 7919 + self.second as u32 * 31) % 1024) * 4096;
                let at = ByteRange::new(offset, 4096);
                let arrival = Arrival::Owner { extent: *extent, write: false, at, remote: false };
                if owner == self.home { &mut self.at_home } else { &mut self.at_away }.charge(&arrival);
            }
        }
        let space = (0, 1 << 30);
        let there = self.at_away.tick(self.now(), &view, false, space);
        self.at_home.heard(self.now(), self.away, &there.report);
        let here = self.at_home.tick(self.now(), &view, true, space);
        self.at_away.heard(self.now(), self.home, &here.report);
        here
    }

    /// Ticks until something is decided.
    fn decide(&mut self, reads: &[(ExtentId, u32)]) -> Vec<Decision> {
        for _ in 0..30 {
            let decisions = self.tick(reads).decisions;
            if !decisions.is_empty() {
                return decisions;
            }
        }
        panic!("nothing was decided");
    }

    fn begin_move(&self, extent: ExtentId, reason: serde_json::Value) -> MoveId {
        let id = MoveId::new(self.home, Incarnation(1), 1).unwrap();
        self.change(|view| {
            let new = PrepareMove {
                extent,
                epoch: view.route(extent).unwrap().epoch,
                to: self.away,
                replaces: self.home,
                id,
                started_unix_ms: self.unix_ms(),
                reason,
            };
            change::prepare_move(view, actor(self.home), &new).unwrap()
        });
        id
    }

    fn end_move(&self, extent: ExtentId) {
        self.change(|view| {
            let epoch = view.route(extent).unwrap().epoch;
            change::propose_move(view, actor(self.home), extent, epoch, self.unix_ms()).unwrap()
        });
    }

    /// Has a balancer read all of the directory, as at its start.
    fn read(&self, balancer: &mut Balancer) {
        let all = self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap();
        balancer.read(self.now(), self.unix_ms(), &self.keys, all.entries.iter());
    }

    fn read_at_home(&mut self) {
        let mut at_home = std::mem::replace(&mut self.at_home, balancer(self.home));
        self.read(&mut at_home);
        self.at_home = at_home;
    }

    fn reason(&self, id: MoveId) -> MoveReason {
        let key = self.keys.moved(id);
        let all = self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap();
        let entry = all.entries.iter().find(|entry| entry.key == key).unwrap();
        serde_json::from_value(decode_json::<MoveRecord>(&entry.value).unwrap().reason).unwrap()
    }
}

fn view(directory: &MemoryDirectory, keys: &Keyspace) -> View {
    let snapshot = directory.range(&KeyRange::prefix(keys.prefix()), None).unwrap();
    View::from_snapshot(keys.clone(), &snapshot).unwrap()
}

/// What a server's monitor makes of a second with these arrivals: portal work and owner work.
fn charged(arrivals: &[Arrival]) -> (Load, Load) {
    let mut balancer = balancer(ServerId(1));
    arrivals.iter().for_each(|arrival| balancer.charge(arrival));
    let report = balancer.monitor.tick(Time(1_000_000_000));
    let parts = report.utilisation.fast;
    (parts.front_end, parts.owner)
}

#[test]
fn a_forwarded_read_crosses_its_gateways_network_twice_and_its_owners_once() {
    let at = ByteRange::new(0, MIB);
    let extent = ExtentId { volume: VolumeId(1), index: 0 };
    let portal = |forwarded| Arrival::FrontEnd { write: false, bytes: MIB, digest: false, forwarded };
    let owner = |remote| Arrival::Owner { extent, write: false, at, remote };
    // 1 MiB is a hundredth of what the network carries in a second; headers add a little.
    let once = |share: f64| (0.0100..0.0101).contains(&share);
    let none = |share: f64| share < 0.0001;
    let net = |load: Load| (load.of(Resource::NetIn), load.of(Resource::NetOut));

    let (gateway, nothing) = charged(&[portal(true)]);
    assert!(once(net(gateway).0) && once(net(gateway).1) && nothing == Load::ZERO, "{gateway:?}");
    let (nothing, of_owner) = charged(&[owner(true)]);
    assert!(none(net(of_owner).0) && once(net(of_owner).1) && nothing == Load::ZERO, "{of_owner:?}");

    let (gateway, of_owner) = charged(&[portal(false), owner(false)]);
    assert!(none(net(gateway).0) && once(net(gateway).1), "{gateway:?}");
    assert_eq!(net(of_owner), (0.0, 0.0), "a request at its own portal does not cross the owner's network");
}

#[test]
fn digests_and_forwarding_cost_processor_time_at_the_portal() {
    let cpu = |digest, forwarded| {
        let arrival = Arrival::FrontEnd { write: true, bytes: MIB, digest, forwarded };
        charged(&[arrival]).0.of(Resource::Cpu)
    };
    assert!(cpu(true, false) > 1.2 * cpu(false, false));
    assert!(cpu(false, true) > 1.2 * cpu(false, false));
}

#[test]
fn portal_work_is_no_reason_to_move_an_extent() {
    let mut group = Group::new();
    let reads = [(group.extent(0), 60), (group.extent(1), 60)];
    for _ in 0..30 {
        for _ in 0..900 {
            let work = Arrival::FrontEnd { write: false, bytes: 64 << 10, digest: true, forwarded: true };
            group.at_home.charge(&work);
        }
        assert_eq!(group.tick(&reads).decisions, []);
    }
    let table = group.at_home.table(group.now());
    let home = table.iter().find(|row| row.server == group.home).unwrap();
    assert_eq!(home.standing, Standing::FrontEnd, "{home:?}");
    assert!(home.combined.fast > 1.5 * home.mean.fast);
}

#[test]
fn whoever_plans_next_lets_an_extent_rest_that_was_moved_before() {
    let mut group = Group::new();
    let moved = group.extent(3);
    group.second = 1000;
    group.begin_move(moved, serde_json::Value::Null);
    group.end_move(moved);
    // It is moved back by a person, so that it is at home again, and the hottest there.
    let hot: Vec<_> =
        (0..6).map(|index| (group.extent(index), if index == 3 { 170u32 } else { 140 })).collect();
    let decided = |group: &mut Group, reads: bool| {
        group.at_home = balancer(group.home);
        group.at_away = balancer(group.away);
        if reads {
            group.read_at_home();
        }
        let there = group.view();
        assert_eq!(there.route(moved).unwrap().owner(), Some(group.away));
        // The load of all of them is at home, as it would be.
        let mut decided = Vec::new();
        for _ in 0..8 {
            for (extent, count) in &hot {
                for n in 0..*count {
                    let at = ByteRange::new(u64::from(n * 7919 % 1024) * 4096, 4096);
                    group.at_home.charge(&Arrival::Owner {
                        extent: *extent,
                        write: false,
                        at,
                        remote: false,
                    });
                }
            }
            decided.extend(group.tick(&[]).decisions.into_iter().map(|decision| decision.extent));
        }
        decided
    };
    let without = decided(&mut group, false);
    assert!(without.contains(&moved), "{without:?}");
    let with = decided(&mut group, true);
    assert!(!with.contains(&moved) && !with.is_empty(), "{with:?}");
}

#[test]
fn the_effect_of_a_move_is_measured_and_recorded_beside_what_was_predicted() {
    let mut group = Group::new();
    let reads: Vec<_> = (0..6).map(|index| (group.extent(index), 140)).collect();
    let decision = group.decide(&reads).remove(0);
    let id = group.begin_move(decision.extent, serde_json::to_value(&decision.reason).unwrap());
    group.read_at_home();
    group.end_move(decision.extent);
    group.read_at_home();
    let began = group.second;
    let written = loop {
        let written = group.tick(&reads).records;
        if !written.is_empty() {
            break written;
        }
        assert!(group.second < began + 20, "the effect was not measured");
        assert!(group.reason(id).measured.is_none());
    };
    assert_eq!((group.second - began, written.len()), (10, 1), "a half-life of the slow filter later");
    assert!(group.directory.transact(&written[0]).unwrap().succeeded);
    let reason = group.reason(id);
    let (measured, predicted) = (reason.measured.unwrap(), reason.predicted);
    assert_eq!(measured.after_s, 10.0);
    let relief = measured.relief;
    assert!(relief.source_after < relief.source_before - 0.1, "{relief:?}");
    assert!(relief.target_after > relief.target_before + 0.1, "{relief:?}");
    assert!((relief.source_after - predicted.source_after).abs() < 0.15, "{relief:?} {predicted:?}");
    // It is written once.
    group.read_at_home();
    assert!((0..60).all(|_| group.tick(&reads).records.is_empty()));
}

#[test]
fn a_measurement_that_was_not_written_is_written_again_until_it_is_too_late() {
    let mut group = Group::new();
    let reads: Vec<_> = (0..6).map(|index| (group.extent(index), 140)).collect();
    let decision = group.decide(&reads).remove(0);
    group.begin_move(decision.extent, serde_json::to_value(&decision.reason).unwrap());
    group.end_move(decision.extent);
    group.read_at_home();
    let written: Vec<_> = (1..=80).filter(|_| !group.tick(&reads).records.is_empty()).collect();
    assert_eq!(written, [10, 15, 20, 25, 30, 35, 40, 45, 50, 55]);
}

#[test]
fn moves_to_a_server_show_in_its_report() {
    let mut group = Group::new();
    let extent = group.extent(2);
    group.begin_move(extent, serde_json::Value::Null);
    // A report of a server that was not known to belong to the group is not taken.
    group.tick(&[]);
    group.tick(&[]);
    let moves_in = |group: &Group| {
        let table = group.at_home.table(group.now());
        table.iter().find(|row| row.server == group.away).unwrap().moves_in
    };
    assert_eq!(moves_in(&group), 1);
    group.end_move(extent);
    group.tick(&[]);
    assert_eq!(moves_in(&group), 0);
}
