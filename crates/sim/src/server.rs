//! A server: an engine and a store over a disk, and the glue between them, the network and the directory; what the daemon
//! does with sockets and files, in virtual time.

use crate::checkers::{Violation, space};
use crate::coverage::Row;
use crate::directory::{MoveStep, SimDirectory, TxnFate, move_step};
use crate::disk::DiskBay;
use crate::faults::Fault;
use crate::log::About;
use crate::moves::Planner;
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_engine::{DirectoryEvent, Engine, EngineConfig, Event, Output, TxnTicket};
use evenkeel_meta::records::{AccessRecord, ServerCapacity, ServerRecord};
use evenkeel_meta::{DirectoryError, Place, PlacedServer, Txn, TxnOutcome, Watch, change};
use evenkeel_store::{CheckDepth, Finding, FindingKind, FormatOptions, IoId, IoKind, OpenOptions, Store};
use evenkeel_types::store_op::{StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket};
use evenkeel_types::{Epoch, ExtentId, Incarnation, Region, ServerId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// The wall clock at the beginning of every run.
const UNIX_MS_AT_START: u64 = 1_800_000_000_000;
/// How long everything is left alone once nothing is under way: leases run out and copies are freed.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// Memory of a store for extent records: a few of them, so that they come and go.
const CACHE_BYTES: u64 = 256 << 10;
/// Memory of a store for journaled blocks.
const OVERLAY_BYTES: u64 = 512 << 10;
const GROUP: &str = "sim";

/// A server and its disk, whether it runs or not.
pub(crate) struct SimServer {
    pub(crate) id: ServerId,
    pub(crate) bay: DiskBay,
    life: u64,
    /// Opened and not yet known to the directory.
    starting: Option<Store>,
    pub(crate) running: Option<Running>,
    asleep_until: Time,
    /// It crashes after so many more outputs of its engine.
    pub(crate) fuse: Option<u32>,
    /// Until then nothing new of the directory gets here.
    pub(crate) deaf_until: Time,
    /// It crashes while one of its next disk writes is under way, after so many others.
    pub(crate) trap: Option<u32>,
    clock: SkewedClock,
}

/// What lives only as long as the process.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    watch: Box<dyn Watch>,
    timer_at: Option<Time>,
    notes: BTreeMap<StoreTicket, OpNote>,
    pub(crate) planner: Planner,
    store_idles_at: Time,
}

/// What the judges want to know of a store operation when it ends.
#[derive(Clone, Copy, Debug)]
enum OpNote {
    Accept { extent: ExtentId, epoch: Epoch },
    Describe { extent: ExtentId },
    ReadRegion { extent: ExtentId, region: Region },
    Read { extent: ExtentId },
    Free { extent: ExtentId },
    Forget { extent: ExtentId },
}

/// A server's own clock: it began at another time and runs a little faster or slower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkewedClock {
    offset: u64,
    /// Parts per million that it runs fast (or, negative, slow).
    drift_ppm: i64,
}

impl SkewedClock {
    /// Clocks run up to 4 % apart: far more than any real one, and less than the leases allow for.
    fn draw(rng: &mut Rng) -> Self {
        Self { offset: rng.below(1_000_000_000_000), drift_ppm: rng.below(40_001) as i64 - 20_000 }
    }

    pub(crate) fn local(&self, now: Time) -> Time {
        let drift = i128::from(now.0) * i128::from(self.drift_ppm) / 1_000_000;
        Time((i128::from(now.0) + drift) as u64 + self.offset)
    }

    /// The earliest moment at which this clock shows at least `local`.
    fn global(&self, local: Time) -> Time {
        let since = i128::from(local.0.saturating_sub(self.offset));
        let mut at = Time((since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64);
        while self.local(at) < local {
            at = at + Duration::from_nanos(1);
        }
        at
    }
}

/// Registers the servers, formats their disks and creates the volumes.
pub(crate) fn found(
    scenario: &Scenario,
    directory: &mut SimDirectory,
    rng: &Rng,
) -> (BTreeMap<ServerId, SimServer>, Vec<crate::client::workload::SimVolume>) {
    let mut servers = BTreeMap::new();
    for n in 1..=scenario.servers {
        let record = ServerRecord {
            name: format!("s{n}"),
            portals: vec![],
            peer: format!("s{n}"),
            api: None,
            domain: format!("machine{n}"),
            capacity: ServerCapacity { bytes: scenario.disk_bytes, ..ServerCapacity::default() },
            store_id: u64::from(n),
        };
        let (id, txn) = change::register_server(&directory.view(), &record).expect("names differ");
        assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
        let mut rng = rng.split("server", u64::from(n));
        let mut bay = DiskBay::new(scenario.disk_bytes, rng.split("disk", 0));
        let options = FormatOptions {
            store_id: u128::from(n),
            group: GROUP.into(),
            server: id,
            journal_bytes: scenario.journal_bytes,
        };
        Store::format(&mut bay.disk, &options).expect("the disk is large enough");
        let clock = SkewedClock::draw(&mut rng);
        let server = SimServer {
            id,
            bay,
            life: 0,
            starting: None,
            running: None,
            asleep_until: Time::ZERO,
            fuse: None,
            trap: None,
            deaf_until: Time::ZERO,
            clock,
        };
        servers.insert(id, server);
    }
    // The first server is up for a moment, to create the volumes.
    let first = *servers.keys().next().expect("there are servers");
    let incarnation = Incarnation(1);
    let (mut store, _) = Store::open(&mut servers.get_mut(&first).expect("first").bay.disk, &options(first))
        .expect("a fresh store opens");
    assert_eq!(store.incarnation(), incarnation);
    store.shutdown();
    evenkeel_store::run_io(&mut store, &mut servers.get_mut(&first).expect("first").bay.disk);
    let txn = change::start_server(&directory.view(), first, incarnation).expect("a first start");
    assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
    let mut rng = rng.split("volumes", 0);
    let volumes = scenario.volumes.iter().enumerate();
    let volumes =
        volumes.map(|(n, bytes)| create_volume(directory, first, incarnation, &servers, n, *bytes, &mut rng));
    let volumes = volumes.collect();
    (servers, volumes)
}

fn create_volume(
    directory: &mut SimDirectory,
    by: ServerId,
    incarnation: Incarnation,
    servers: &BTreeMap<ServerId, SimServer>,
    n: usize,
    bytes: u64,
    rng: &mut Rng,
) -> crate::client::workload::SimVolume {
    let placed = |(domain, server): (u32, &ServerId)| PlacedServer { server: *server, weight: 1, domain };
    let new = change::NewVolume {
        name: format!("v{n}"),
        size_bytes: bytes,
        logical_block_bytes: 512,
        replicas: 1,
        seed: rng.draw(),
        place: Place::new((0..).zip(servers.keys()).map(placed).collect())
            .expect("servers with distinct ids"),
        access: AccessRecord { any: true, ..AccessRecord::default() },
        created_unix_ms: UNIX_MS_AT_START,
    };
    let by = change::Actor { server: by, incarnation };
    let (id, txn) = change::create_volume(&directory.view(), by, &new).expect("a sound volume");
    assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
    crate::client::workload::SimVolume { id, bytes }
}

pub(crate) fn options(server: ServerId) -> OpenOptions {
    OpenOptions { group: GROUP.into(), server, cache_bytes: CACHE_BYTES, overlay_bytes_max: OVERLAY_BYTES }
}

impl SimServer {
    pub(crate) const fn life(&self) -> Life {
        Life { server: self.id, number: self.life }
    }

    pub(crate) fn life_running(&self) -> Option<Life> {
        self.running.as_ref().map(|_| self.life())
    }

    /// Whether it has neither started nor begun to.
    pub(crate) const fn is_down(&self) -> bool {
        self.running.is_none() && self.starting.is_none()
    }

    pub(crate) fn asleep_until(&self, now: Time) -> Option<Time> {
        (self.asleep_until > now).then_some(self.asleep_until)
    }

    /// Until when it stood still last.
    pub(crate) const fn last_slept(&self) -> Time {
        self.asleep_until
    }

    pub(crate) fn sleep_until(&mut self, until: Time) {
        self.asleep_until = until;
    }

    pub(crate) fn end_trouble(&mut self) {
        self.fuse = None;
        self.trap = None;
        self.deaf_until = Time::ZERO;
        self.bay.slow_until = Time::ZERO;
    }

    pub(crate) fn local(&self, now: Time) -> Time {
        self.clock.local(now)
    }
}

impl World<'_> {
    pub(crate) fn server(&mut self, id: ServerId) -> &mut SimServer {
        self.servers.get_mut(&id).expect("servers neither come nor go")
    }

    fn is_over(&self, life: Life) -> bool {
        self.servers[&life.server].life != life.number
    }

    /// Opens the store; now and then the machine fails again while it does.
    pub(crate) fn start(&mut self, id: ServerId) -> Result<(), Violation> {
        if !self.servers[&id].is_down() {
            return Ok(());
        }
        if self.phase == Phase::Faults && self.rng.chance(150) {
            let writes = self.rng.between(1, 12);
            let server = self.server(id);
            if server.bay.open_and_fail(writes, &options(id)) {
                self.coverage.count(Row::CrashInOpen);
                self.note(About::Group, format_args!("{id} fails again while it opens its store"));
            }
        }
        let opened = Store::open(&mut self.server(id).bay.disk, &options(id));
        let (store, report) = opened.map_err(|fault| {
            Violation::new("store", None, format!("the store of {id} does not open after a crash: {fault}"))
        })?;
        self.note(About::Group, format_args!("{id} opens {report:?}"));
        self.coverage.add(Row::RecordsReplayed, report.records_replayed);
        self.coverage.add(Row::JournalTorn, report.torn_tail.into());
        self.coverage.add(Row::CleanStart, u64::from(report.clean && report.mount > 1));
        let server = self.server(id);
        server.life += 1;
        server.starting = Some(store);
        let life = server.life();
        if self.rng.chance(400) {
            self.look_through(id)?;
        }
        let delay = self.rng.millis(1, 20);
        self.clock.after(delay, Happening::Register { life });
        Ok(())
    }

    /// Compares every region of a store that is not serving with what other copies had in the same version.
    fn look_through(&mut self, id: ServerId) -> Result<(), Violation> {
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let is_rotten = server.bay.is_rotten();
        let store = server.starting.as_mut().or(server.running.as_mut().map(|running| &mut running.store));
        let store = store.expect("a store is looked through while it is open");
        for entry in store.inventory() {
            let (extent, ticket) = (entry.extent, StoreTicket(u64::MAX));
            let mut ask = |op| {
                store.submit(ticket, op);
                evenkeel_store::run_io(store, &mut server.bay.disk);
                store.poll_done().map(|(_, outcome)| outcome)
            };
            let Some(Ok(StoreReply::Description(Some(found)))) = ask(StoreOp::Describe { extent }) else {
                return Err(Violation::new("store", extent, format!("{id} cannot describe what it lists")));
            };
            self.routing.accepted(id, extent, found.accepted)?;
            for region in found.allocated.iter() {
                match ask(StoreOp::ReadRegion { extent, region }) {
                    Some(Ok(StoreReply::Image(image))) => {
                        self.versions.saw(id, extent, region, &image)?;
                        self.coverage.count(Row::RegionsHashed);
                    }
                    Some(Err(StoreError::BadBlock { .. })) if is_rotten => {}
                    other => {
                        let what = format!("{id} cannot read region {region}: {other:?}");
                        return Err(Violation::new("store", extent, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells the directory of the start, until it is certain that the directory knows.
    pub(crate) fn register(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let incarnation = self.servers[&life.server].starting.as_ref().map(Store::incarnation);
        let incarnation = incarnation.expect("it registers after it opened its store");
        let view = self.directory.view();
        let done = view.member(life.server).is_some_and(|kept| kept.record.incarnation == incarnation);
        let fate = self.directory.fate();
        let retry = self.rng.millis(5, 200);
        let txn = change::start_server(&view, life.server, incarnation);
        let certain = match (done, fate) {
            (true, _) => true,
            (false, TxnFate::Unavailable { .. } | TxnFate::Unknown { at: None, .. }) => false,
            (false, fate) => {
                let txn = txn.map_err(|error| Violation::new("directory", None, error.to_string()))?;
                let outcome = self.directory.carry_out(&txn);
                self.follow_directory()?;
                outcome.is_ok_and(|outcome| outcome.succeeded) && matches!(fate, TxnFate::Answered { .. })
            }
        };
        let next = if certain { Happening::Serve { life } } else { Happening::Register { life } };
        self.clock.after(retry, next);
        Ok(())
    }

    /// The server begins to serve.
    pub(crate) fn serve(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let id = life.server;
        let view = self.directory.view();
        let now = self.now();
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let store = server.starting.take().expect("it serves after it opened its store");
        let local = server.clock.local(now);
        let config = EngineConfig {
            me: id,
            incarnation: store.incarnation(),
            started_unix_ms: UNIX_MS_AT_START + now.0 / 1_000_000,
            started: local,
        };
        let mut engine = Engine::new(config);
        let watch = self.directory.watch(view.revision());
        engine.handle(local, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
        let planner = Planner::new(local, id, store.incarnation(), self.servers.keys().copied());
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        server.running = Some(Running {
            engine,
            store,
            watch,
            timer_at: None,
            notes: BTreeMap::new(),
            planner,
            store_idles_at: Time::ZERO,
        });
        self.note(About::Group, format_args!("{id} serves"));
        self.clock.after(Duration::from_millis(1), Happening::News { life });
        self.clock.after(crate::moves::MONITOR_EVERY, Happening::MonitorTick { life });
        self.after_start(id);
        self.pump(id)
    }

    /// Hands an event to a server's engine, and carries out what follows.
    pub(crate) fn tell(&mut self, id: ServerId, event: Event) -> Result<(), Violation> {
        let now = self.now();
        let server = self.server(id);
        let local = server.clock.local(now);
        let Some(running) = &mut server.running else { return Ok(()) };
        running.engine.handle(local, event);
        self.pump(id)
    }

    /// Carries out everything that engine and store of a server want done.
    pub(crate) fn pump(&mut self, id: ServerId) -> Result<(), Violation> {
        loop {
            let server = self.servers.get_mut(&id).expect("servers neither come nor go");
            let Some(running) = &mut server.running else { return Ok(()) };
            if let Some(output) = running.engine.poll_output() {
                if let Some(fuse) = &mut server.fuse {
                    if *fuse == 0 {
                        self.coverage.count(Row::CrashWithinStep);
                        return self.crash(id);
                    }
                    *fuse -= 1;
                }
                self.output(id, output)?;
            } else if let Some(io) = running.store.poll_io() {
                self.issue_io(id, io);
            } else if let Some((ticket, outcome)) = running.store.poll_done() {
                self.store_done(id, ticket, outcome)?;
            } else {
                break;
            }
        }
        self.plan_timers(id);
        Ok(())
    }

    fn plan_timers(&mut self, id: ServerId) {
        let now = self.now();
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let (clock, life) = (server.clock, server.life());
        let Some(running) = &mut server.running else { return };
        let wanted = running.engine.poll_timeout().map(|local| clock.global(local).max(now));
        if let Some(at) = wanted
            && running.timer_at.is_none_or(|planned| at < planned)
        {
            running.timer_at = Some(at);
            self.clock.at(at, Happening::EngineTimer { life });
        }
        // An idle store makes its changes final after a while.
        if running.store_idles_at <= now {
            let delay = self.rng.millis(200, 3000);
            running.store_idles_at = now + delay;
            self.clock.after(delay, Happening::StoreIdle { life });
        }
    }

    fn output(&mut self, id: ServerId, output: Output) -> Result<(), Violation> {
        match output {
            Output::Complete { id: request, outcome } => {
                self.completed(id, request, outcome);
                Ok(())
            }
            Output::Prove { id: request } => {
                self.prove(id, request);
                Ok(())
            }
            Output::Send { to, message } => self.send(id, to, message),
            Output::Disconnect { server } => {
                self.disconnect(id, server);
                Ok(())
            }
            Output::Store { ticket, op } => self.store_op(id, ticket, op),
            Output::Transact { ticket, txn } => {
                self.transact(id, ticket, txn);
                Ok(())
            }
            Output::Arrived(arrival) => {
                self.server(id).running.as_mut().expect("it just spoke").planner.charge(&arrival);
                Ok(())
            }
            Output::LoadReport { from, report } => {
                self.load_report(id, from, &report);
                Ok(())
            }
            Output::InventoryPage { .. } => Ok(()),
            Output::Event(event) => self.engine_event(id, event),
        }
    }

    fn store_op(&mut self, id: ServerId, ticket: StoreTicket, op: StoreOp) -> Result<(), Violation> {
        let (extent, note) = match &op {
            StoreOp::Write(write) => {
                self.routing.given(id, write.extent, write.version)?;
                self.note(
                    About::Extent(write.extent),
                    format_args!(
                        "{id} writes {} blocks {}+{} version {} replacing {}",
                        write.extent,
                        write.blocks.first,
                        write.blocks.count,
                        write.version,
                        write.replaces.first().copied().unwrap_or_default()
                    ),
                );
                (write.extent, None)
            }
            StoreOp::Accept { extent, epoch, .. } => {
                (*extent, Some(OpNote::Accept { extent: *extent, epoch: *epoch }))
            }
            StoreOp::Describe { extent } => (*extent, Some(OpNote::Describe { extent: *extent })),
            StoreOp::ReadRegion { extent, region } => {
                (*extent, Some(OpNote::ReadRegion { extent: *extent, region: *region }))
            }
            StoreOp::Read { extent, .. } => (*extent, Some(OpNote::Read { extent: *extent })),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                if *replaces == image.version {
                    let what = format!("{id} gets region {region} again, which it has in version {replaces}");
                    return Err(Violation::new("versions", *extent, what));
                }
                self.versions.saw(id, *extent, *region, image)?;
                self.coverage.count(Row::RegionsHashed);
                (*extent, None)
            }
            StoreOp::Free { extent } => {
                self.routing.freed(id, *extent)?;
                (*extent, Some(OpNote::Free { extent: *extent }))
            }
            StoreOp::Forget { extent } => {
                self.routing.freed(id, *extent)?;
                (*extent, Some(OpNote::Forget { extent: *extent }))
            }
            StoreOp::Reserve { extent, .. } => (*extent, None),
            StoreOp::List { from, .. } => (*from, None),
        };
        if !matches!(op, StoreOp::Write(_)) {
            self.note(About::Extent(extent), format_args!("{id} store {}", Brief(&op)));
        }
        let running = self.server(id).running.as_mut().expect("it just spoke");
        if let Some(note) = note {
            running.notes.insert(ticket, note);
        }
        running.store.submit(ticket, op);
        Ok(())
    }

    fn store_done(
        &mut self,
        id: ServerId,
        ticket: StoreTicket,
        outcome: StoreOutcome,
    ) -> Result<(), Violation> {
        let running = self.server(id).running.as_mut().expect("its store just spoke");
        let note = running.notes.remove(&ticket);
        match (note, &outcome) {
            (Some(OpNote::Accept { extent, epoch }), Ok(_)) => self.routing.accepted(id, extent, epoch)?,
            (Some(OpNote::Describe { extent }), Ok(StoreReply::Description(Some(found)))) => {
                self.routing.accepted(id, extent, found.accepted)?;
            }
            (Some(OpNote::ReadRegion { extent, region }), Ok(StoreReply::Image(image))) => {
                self.versions.saw(id, extent, region, image)?;
                self.coverage.count(Row::RegionsHashed);
            }
            (
                Some(OpNote::ReadRegion { extent, .. } | OpNote::Read { extent }),
                Err(StoreError::BadBlock { block }),
            ) => {
                if !self.server(id).bay.is_rotten() {
                    let what = format!("{id} finds block {block} damaged, and nothing has damaged it");
                    return Err(Violation::new("store", extent, what));
                }
                self.bad_blocks.insert((extent, *block));
            }
            (Some(OpNote::Forget { extent }), Ok(_)) => self.routing.forgotten(id, extent),
            (Some(OpNote::Free { extent }), Ok(_)) => {
                self.note(About::Extent(extent), format_args!("{id} freed {extent}"));
            }
            (_, Err(StoreError::Stopped)) => {
                return Err(Violation::new(
                    "store",
                    None,
                    format!("the store of {id} stopped without an I/O error"),
                ));
            }
            _ => {}
        }
        if let Err(error) = &outcome {
            let error = format!("{error:?}");
            self.note(About::Routine, format_args!("{id} store operation {ticket:?} ends with {error}"));
        }
        let now = self.now();
        let server = self.server(id);
        let local = server.clock.local(now);
        let running = server.running.as_mut().expect("its store just spoke");
        running.engine.handle(local, Event::Store { ticket, outcome });
        Ok(())
    }

    fn issue_io(&mut self, id: ServerId, io: evenkeel_store::DiskIo) {
        let now = self.now();
        let server = self.server(id);
        let life = server.life();
        let is_write = matches!(io.kind, IoKind::Write { .. });
        let (io, delay) = server.bay.issue(now, io);
        if is_write && let Some(trap) = &mut server.trap {
            if *trap == 0 {
                server.trap = None;
                let nanos = u64::try_from(delay.as_nanos()).expect("a short time");
                let within = Duration::from_nanos(self.rng.below(nanos));
                self.clock.after(within, Happening::Fault(Fault::CrashOf(id)));
            } else {
                *trap -= 1;
            }
        }
        self.clock.after(delay, Happening::DiskDone { life, io });
    }

    pub(crate) fn disk_done(&mut self, life: Life, io: IoId) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let server = self.server(life.server);
        let result = server.bay.complete(io);
        if let Some(running) = &mut server.running {
            running.store.handle_io(io, result);
        }
        self.pump(life.server)
    }

    pub(crate) fn store_idle(&mut self, life: Life) -> Result<(), Violation> {
        if !self.is_over(life)
            && let Some(running) = &mut self.server(life.server).running
        {
            running.store.maybe_checkpoint();
        }
        self.pump(life.server)
    }

    pub(crate) fn engine_timer(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        if let Some(running) = &mut self.server(life.server).running {
            running.timer_at = None;
        }
        self.tell(life.server, Event::Timer)
    }

    fn transact(&mut self, id: ServerId, ticket: TxnTicket, txn: Txn) {
        let life = self.servers[&id].life();
        let fate = self.directory.fate();
        let step = move_step(self.directory.keys(), &txn);
        let about = step.map_or(About::Group, |(extent, _)| About::Extent(extent));
        self.note(about, format_args!("{id} transacts {ticket:?} {step:?}: {fate:?}"));
        let answered = |outcome| Happening::TxnAnswered { life, ticket, outcome };
        let unavailable = || DirectoryError::Unavailable { reason: "simulated".into() };
        let unknown = || DirectoryError::OutcomeUnknown { reason: "simulated".into() };
        let txn = Box::new(txn);
        match fate {
            TxnFate::Answered { at, answer, is_late } => {
                self.coverage.add(Row::TxnLate, is_late.into());
                self.clock.after(at, Happening::TxnCarriedOut { life, ticket, txn, answer: Some(answer) });
            }
            TxnFate::Unavailable { answer } => {
                self.coverage.count(Row::TxnUnavailable);
                self.clock.after(answer, answered(Err(unavailable())));
            }
            TxnFate::Unknown { at, answer } => {
                let row = match at {
                    None => Row::TxnUnknownNever,
                    Some(at) if at < answer => Row::TxnUnknownApplied,
                    Some(_) => Row::TxnUnknownLater,
                };
                self.coverage.count(row);
                if let Some((extent, MoveStep::Propose)) = step {
                    self.motion.propose_unanswered(extent);
                }
                if let Some(at) = at {
                    self.clock.after(at, Happening::TxnCarriedOut { life, ticket, txn, answer: None });
                }
                self.clock.after(answer, answered(Err(unknown())));
            }
        }
    }

    /// The directory carries a transaction out, whatever has become of who asked for it.
    pub(crate) fn carry_out(
        &mut self,
        life: Life,
        ticket: TxnTicket,
        txn: &Txn,
        answer: Option<Duration>,
    ) -> Result<(), Violation> {
        let outcome = self.directory.carry_out(txn);
        let took = outcome.as_ref().is_ok_and(|outcome| outcome.succeeded);
        self.note(
            About::Routine,
            format_args!("directory carries out {ticket:?} of {}: {took}", life.server),
        );
        self.follow_directory()?;
        if let Some(answer) = answer {
            self.clock.after(answer, Happening::TxnAnswered { life, ticket, outcome });
        }
        Ok(())
    }

    pub(crate) fn txn_answered(
        &mut self,
        life: Life,
        ticket: TxnTicket,
        outcome: Result<TxnOutcome, DirectoryError>,
    ) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        self.tell(life.server, Event::Directory(DirectoryEvent::TxnDone { ticket, outcome }))
    }

    /// One revision more gets to a server.
    pub(crate) fn news(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let deaf_until = self.servers[&life.server].deaf_until;
        if deaf_until > self.now() {
            self.clock.at(deaf_until, Happening::News { life });
            return Ok(());
        }
        let id = life.server;
        let gap = self.phase == Phase::Faults && self.rng.chance(5);
        let Some(running) = &mut self.servers.get_mut(&id).expect("servers neither come nor go").running
        else {
            return Ok(());
        };
        if gap {
            let view = self.directory.view();
            running.watch = self.directory.watch(view.revision());
            self.coverage.count(Row::WatchGap);
            return self.tell(id, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
        }
        match SimDirectory::next_batch(running.watch.as_mut()) {
            Some(batch) => self.tell(id, Event::Directory(DirectoryEvent::Batch(batch))),
            None => Ok(()),
        }
    }

    /// The process dies: what it had in memory is gone, what the disk did not yet have may be.
    pub(crate) fn crash(&mut self, id: ServerId) -> Result<(), Violation> {
        if self.servers[&id].is_down() {
            return Ok(());
        }
        self.tally.crashes += 1;
        self.coverage.count(Row::Crash);
        let server = self.server(id);
        server.life += 1;
        server.fuse = None;
        server.trap = None;
        server.asleep_until = Time::ZERO;
        server.starting = None;
        let running = server.running.take();
        let lost = server.bay.crash();
        self.coverage.add(Row::WriteCaught, lost.torn + lost.lost);
        self.note(About::Group, format_args!("{id} crashes: {lost:?}"));
        if let Some(running) = running {
            self.count_life(&running);
        }
        self.motion_cut(id);
        self.versions.crashed(id);
        self.connections_die(id);
        self.plan_return(id);
        self.clients_lose(id)
    }

    pub(crate) fn count_life(&mut self, running: &Running) {
        let counters = running.engine.counters();
        let moves = counters.moves;
        for (row, count) in [
            (Row::MovesAborted, counters.moves_aborted),
            (Row::MovesResumed, counters.moves_resumed),
            (Row::RegionsSent, moves.regions_sent),
            (Row::RegionsEqual, moves.regions_equal),
            (Row::RegionsReceived, counters.regions_received),
            (Row::WritesMirrored, moves.writes_mirrored),
            (Row::WritesWaited, moves.writes_waited),
            (Row::WritesNotYetCopied, moves.writes_not_yet_copied),
            (Row::CompletedAfterCutOver, moves.completed_after_cut_over),
            (Row::AnsweredMoved, moves.answered_moved),
            (Row::Freed, counters.freed),
            (Row::ReadsWaitedForLease, counters.reads_waited_for_lease),
            (Row::StaleRefusals, counters.stale_refusals),
            (Row::Duplicates, counters.duplicates),
            (Row::Forwarded, counters.forwarded),
            (Row::Retried, counters.retried),
            (Row::Checkpoints, running.store.stats().checkpoints),
        ] {
            self.coverage.add(row, count);
        }
    }

    /// With nothing under way any more, the stores themselves are looked through, closed, checked and opened again.
    pub(crate) fn judge_at_rest(&mut self) -> Result<(), Violation> {
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        let mut inventories = BTreeMap::new();
        for id in &ids {
            self.drain_disk(*id);
            self.look_through(*id)?;
            let running = self.server(*id).running.take().expect("all servers run at the end");
            let inventory = running.store.inventory();
            space::adds_up(*id, &running.store.stats(), &inventory)?;
            inventories.insert(*id, inventory);
            self.count_life(&running);
            self.close(*id, running.store)?;
        }
        let extents = self.routing.at_rest(&inventories)?;
        self.coverage.add(Row::CopiesAtRest, extents);
        Ok(())
    }

    /// Lets what the disk has under way end at once.
    fn drain_disk(&mut self, id: ServerId) {
        let server = self.server(id);
        let running = server.running.as_mut().expect("all servers run at the end");
        for io in server.bay.in_flight() {
            let result = server.bay.complete(io);
            running.store.handle_io(io, result);
        }
        evenkeel_store::run_io(&mut running.store, &mut server.bay.disk);
        while running.store.poll_done().is_some() {}
    }

    fn close(&mut self, id: ServerId, mut store: Store) -> Result<(), Violation> {
        store.shutdown();
        let bay = &mut self.server(id).bay;
        evenkeel_store::run_io(&mut store, &mut bay.disk);
        let refuse = |what: String| Err(Violation::new("store", None, what));
        if !store.is_quiescent() {
            return refuse(format!("the store of {id} does not close"));
        }
        let report = evenkeel_store::check(&bay.disk, Some((GROUP, id)), CheckDepth::Data);
        let is_rotten = bay.is_rotten();
        let expected = |finding: &&Finding| is_rotten && finding.kind == FindingKind::BadBlock;
        if let Some(finding) = report.findings.iter().find(|finding| !expected(finding)) {
            return refuse(format!("the closed store of {id} has a finding: {}", finding.line));
        }
        let opened = Store::open(&mut bay.disk, &options(id));
        match opened {
            Ok((_, report)) if report.clean && report.records_replayed == 0 => {}
            Ok((_, report)) => return refuse(format!("the closed store of {id} was not clean: {report:?}")),
            Err(fault) => return refuse(format!("the closed store of {id} does not open: {fault}")),
        }
        self.coverage.count(Row::StoresChecked);
        Ok(())
    }
}

/// A store operation in a few words, for the log.
struct Brief<'a>(&'a StoreOp);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            StoreOp::Read { extent, blocks } => write!(f, "read {extent} {}+{}", blocks.first, blocks.count),
            StoreOp::Write(write) => write!(f, "write {} {}", write.extent, write.version),
            StoreOp::ReadRegion { extent, region } => write!(f, "read-region {extent} {region}"),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                write!(f, "install {extent} {region} {replaces} -> {}", image.version)
            }
            StoreOp::Accept { extent, epoch, live, reserve_all, .. } => {
                write!(f, "accept {extent} epoch {epoch} live {live} reserve {reserve_all}")
            }
            StoreOp::Reserve { extent, blocks } => {
                write!(f, "reserve {extent} {}+{}", blocks.first, blocks.count)
            }
            StoreOp::Describe { extent } => write!(f, "describe {extent}"),
            StoreOp::Free { extent } => write!(f, "free {extent}"),
            StoreOp::Forget { extent } => write!(f, "forget {extent}"),
            StoreOp::List { from, max } => write!(f, "list {from} {max}"),
        }
    }
}
