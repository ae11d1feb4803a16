//! The state of one server, owned by its thread, and the pump that connects its parts.
//!
//! ```text
//!   front ends ──requests──▶ engine ──operations──▶ store ──I/O──▶ disk
//!        ◀──completions──      │ ◀────outcomes───      ◀──────────
//!                              ├──messages──▶ peers
//!                              └──transactions──▶ directory
//! ```
//!
//! Everything runs to completion in the server's one thread: an event goes into the engine, and [`Core::pump`] carries
//! what comes out from part to part until nothing is left to do. What goes to peers and to the store at the same time
//! goes to the peers first. Nothing in here waits, and no borrow of the state lives longer than a call.

use super::balancer::Balancer;
use super::directory_link::{DirectoryLink, News};
use super::front_end::{FrontEnd, Judge};
use super::move_log::MoveLog;
use super::peers::PeerLinks;
use super::spin::Spinner;
use super::standstill::Standstill;
use super::waiters::{Waiter, Waiters};
use crate::clock;
use crate::disk::{self, Completion, DiskDriver};
use evenkeel_engine::{
    BarrierId, DirectoryEvent, Engine, EngineEvent, Event, MoveOrder, Output, RequestId, TxnTicket,
};
use evenkeel_meta::records::ParsedKey;
use evenkeel_meta::{DirectoryError, Keyspace, Revision, Txn, TxnOutcome, View, ViewError};
use evenkeel_peer::{Message, MoveOrder as MoveOrderMessage, Peer};
use evenkeel_store::{DiskError, StopReason, Store};
use evenkeel_types::store_op::{InventoryEntry, StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket};
use evenkeel_types::{BlockOp, BlockOutcome, ExtentId, Incarnation, ServerId, Time, VolumeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};

/// One server.
pub(crate) struct Core {
    name: String,
    store_path: PathBuf,
    me: ServerId,
    state: RefCell<State>,
    links: RefCell<PeerLinks>,
    balancer: RefCell<Balancer>,
    moves: RefCell<MoveLog>,
    standstill: Standstill,
    /// When the timer task wakes next, and the way to wake it earlier.
    armed: Cell<Option<Time>>,
    rearm: Notify,
    /// The store's turn has come, see [`Self::pump`].
    store_turn: Notify,
    /// Whoever takes requests of hosts; it has the core, which must end with it.
    judge: RefCell<Option<Weak<dyn Judge>>>,
    /// Why the server cannot go on, once it cannot.
    failure: RefCell<Option<String>>,
    failed: Notify,
    /// News of the directory came.
    heard_news: Notify,
    /// The directory says that this server is down: it is to start anew.
    found_down: Cell<bool>,
    spinner: Spinner,
}

/// The parts that the pump connects.
struct State {
    engine: Engine,
    store: Store,
    disk: Box<dyn DiskDriver>,
    directory: DirectoryLink,
    keys: Keyspace,
    waiters: Waiters,
    barriers: BTreeMap<BarrierId, oneshot::Sender<bool>>,
    /// Own transactions whose answers are awaited.
    transactions: BTreeMap<u64, oneshot::Sender<Result<TxnOutcome, DirectoryError>>>,
    last_barrier: u64,
    last_transaction: u64,
    last_change: u64,
    backlog: VecDeque<(StoreTicket, StoreOp)>,
    lists: BTreeMap<StoreTicket, ListAnswer>,
    last_list: u64,
    reaped: Vec<Completion>,
}

/// Whether one of the descriptors has become readable; each is then watched for the next time.
fn any_ready(watched: &[AsyncFd<OwnedFd>], cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
    let mut is_ready = false;
    for fd in watched {
        if let Poll::Ready(guard) = fd.poll_read_ready(cx) {
            guard?.clear_ready();
            is_ready = true;
        }
    }
    if is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
}

/// A planner's order is carried out like a person's.
fn order_event(order: &MoveOrderMessage) -> Event {
    let reason = serde_json::from_slice(&order.reason).unwrap_or_default();
    let (extent, to) = (order.extent, order.to);
    Event::StartMove(MoveOrder { extent, to, replaces: None, rate: None, reason, first: Vec::new() })
}

/// What to do about a store that stopped.
const fn remedy(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Disk { source: DiskError::NoSpace { .. }, .. } => {
            "make room on the file system that it lies on, then start again"
        }
        StopReason::Disk { .. } => "repair or replace its disk, then start again",
        StopReason::DamagedRecord { .. } => "see what evenkeel check finds in it",
    }
}

/// Tickets from here on are the core's own, not the engine's.
const OWN_TICKETS: u64 = 1 << 63;

/// Where a page of the store's inventory goes.
type ListAnswer = oneshot::Sender<Result<Vec<InventoryEntry>, StoreError>>;

fn inventory_page(outcome: StoreOutcome) -> Result<Vec<InventoryEntry>, StoreError> {
    match outcome? {
        StoreReply::Inventory(entries) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

/// What has to be told to others once the state is free again.
enum Told {
    Completed(Waiter, BlockOutcome),
    Prove(Waiter),
    Disconnect(ServerId),
    ViewGap(ViewError),
    Admit(VolumeId, Revision),
}

/// A barrier that nobody waits for any more, when it goes.
struct GiveUp<'a> {
    core: &'a Core,
    id: BarrierId,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        let mut state = self.core.state.borrow_mut();
        if state.barriers.remove(&self.id).is_some() {
            state.engine.handle(clock::now(), Event::EndBarrier { id: self.id });
        }
    }
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) store_path: PathBuf,
    pub(crate) me: ServerId,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) disk: Box<dyn DiskDriver>,
    pub(crate) directory: DirectoryLink,
    pub(crate) keys: Keyspace,
    pub(crate) links: PeerLinks,
    pub(crate) balancer: Balancer,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let state = State {
            engine: parts.engine,
            store: parts.store,
            disk: parts.disk,
            directory: parts.directory,
            keys: parts.keys,
            waiters: Waiters::default(),
            barriers: BTreeMap::new(),
            transactions: BTreeMap::new(),
            last_barrier: 0,
            last_transaction: OWN_TICKETS,
            last_change: 0,
            backlog: VecDeque::new(),
            lists: BTreeMap::new(),
            last_list: OWN_TICKETS,
            reaped: Vec::new(),
        };
        Self {
            name: parts.name,
            store_path: parts.store_path,
            me: parts.me,
            state: RefCell::new(state),
            links: RefCell::new(parts.links),
            balancer: RefCell::new(parts.balancer),
            moves: RefCell::new(MoveLog::default()),
            standstill: Standstill::new(clock::now()),
            armed: Cell::new(None),
            rearm: Notify::new(),
            store_turn: Notify::new(),
            judge: RefCell::new(None),
            failure: RefCell::new(None),
            failed: Notify::new(),
            heard_news: Notify::new(),
            found_down: Cell::new(false),
            spinner: Spinner::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn me(&self) -> ServerId {
        self.me
    }

    /// What is to be looked at before anything is read from a connection.
    pub(crate) const fn standstill(&self) -> &Standstill {
        &self.standstill
    }

    // ---- the end ----

    /// The server cannot go on, for this reason; the first one counts.
    fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
        self.failed.notify_one();
    }

    /// Whether it cannot go on because others went on without it.
    pub(crate) const fn found_down(&self) -> bool {
        self.found_down.get()
    }

    /// Waits until the server cannot go on; says why.
    pub(crate) async fn failure(&self) -> String {
        loop {
            if let Some(why) = self.failure.borrow().clone() {
                return why;
            }
            self.failed.notified().await;
        }
    }

    // ---- front ends ----

    /// Gives a request to the engine, with the time when its initiator was last known to live; [`Self::pump`] sets it
    /// going.
    pub(crate) fn submit(
        &self,
        front_end: &Rc<dyn FrontEnd>,
        task: u64,
        volume: VolumeId,
        op: BlockOp,
        proof_at: Time,
        digest: bool,
    ) -> RequestId {
        let mut state = self.state.borrow_mut();
        let id = state.waiters.insert(Waiter { front_end: Rc::clone(front_end), task });
        state.engine.handle(clock::now(), Event::Request { id, volume, op, proof_at, digest });
        id
    }

    /// The front end wants a request no longer; it is completed all the same.
    pub(crate) fn cancel(&self, id: RequestId) {
        self.state.borrow_mut().engine.handle(clock::now(), Event::Cancel { id });
    }

    /// The initiator of a request has shown that it lived at a time.
    pub(crate) fn proof(&self, id: RequestId, at: Time) {
        self.state.borrow_mut().engine.handle(clock::now(), Event::Proof { id, at });
    }

    /// Who judges the open requests of hosts when it changes who may do what with a volume.
    pub(crate) fn judge_by(&self, judge: Weak<dyn Judge>) {
        *self.judge.borrow_mut() = Some(judge);
    }

    /// Waits until nobody acts any more on what held before a volume's access record of this revision. False if too many
    /// wait for such.
    pub(crate) async fn barrier(&self, volume: VolumeId, revision: Revision) -> bool {
        let (passed, has_passed) = oneshot::channel();
        let id = {
            let mut state = self.state.borrow_mut();
            state.last_barrier += 1;
            let id = BarrierId(state.last_barrier);
            state.barriers.insert(id, passed);
            id
        };
        let _given_up = GiveUp { core: self, id };
        self.event(Event::Barrier { id, volume, revision });
        has_passed.await.unwrap_or(false)
    }

    // ---- the engine from outside ----

    /// Gives the engine an event and does what follows.
    pub(crate) fn event(&self, event: Event) {
        self.state.borrow_mut().engine.handle(clock::now(), event);
        self.pump();
    }

    /// Looks at the view of the directory.
    pub(crate) fn with_view<T>(&self, look: impl FnOnce(&View) -> T) -> Option<T> {
        self.state.borrow().engine.view().map(look)
    }

    /// Looks at the engine.
    pub(crate) fn with_engine<T>(&self, look: impl FnOnce(&mut Engine) -> T) -> T {
        look(&mut self.state.borrow_mut().engine)
    }

    /// Looks at the store.
    pub(crate) fn with_store<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.state.borrow_mut().store)
    }

    /// Bytes of the store in use, and in all.
    pub(crate) fn space(&self) -> (u64, u64) {
        let stats = self.with_store(|store| store.stats());
        let unit = u64::from(evenkeel_types::geometry::REGION_BYTES);
        (stats.units_used * unit, stats.units * unit)
    }

    /// Reads a page of the store's records.
    pub(crate) fn list_store(&self, from: ExtentId, max: u32, answer: ListAnswer) {
        {
            let mut state = self.state.borrow_mut();
            state.last_list += 1;
            let ticket = StoreTicket(state.last_list);
            state.lists.insert(ticket, answer);
            state.backlog.push_back((ticket, StoreOp::List { from, max }));
        }
        self.pump();
    }

    /// The connections to the peers.
    pub(crate) fn with_links<T>(&self, look: impl FnOnce(&mut PeerLinks) -> T) -> T {
        look(&mut self.links.borrow_mut())
    }

    /// The load monitor and the planner.
    pub(crate) fn with_balancer<T>(&self, look: impl FnOnce(&mut Balancer) -> T) -> T {
        look(&mut self.balancer.borrow_mut())
    }

    /// The moves that this server led.
    pub(crate) fn with_moves<T>(&self, look: impl FnOnce(&mut MoveLog) -> T) -> T {
        look(&mut self.moves.borrow_mut())
    }

    /// The name of the disk's engine.
    pub(crate) fn disk_name(&self) -> &'static str {
        self.state.borrow().disk.name()
    }

    // ---- peers ----

    /// The servers that this one dials: those with higher ids.
    pub(crate) fn servers_to_dial(&self) -> Vec<ServerId> {
        let higher = |view: &View| view.servers().map(|(id, _)| id).filter(|id| *id > self.me).collect();
        self.with_view(higher).unwrap_or_default()
    }

    pub(crate) fn peer_address(&self, server: ServerId) -> Option<String> {
        self.with_view(|view| view.server(server).map(|kept| kept.record.peer.clone())).flatten()
    }

    pub(crate) fn server_name(&self, server: ServerId) -> Option<String> {
        self.with_view(|view| view.server(server).map(|kept| kept.record.name.clone())).flatten()
    }

    pub(crate) fn known_incarnation(&self, server: ServerId) -> Option<Incarnation> {
        self.with_view(|view| view.member(server).map(|kept| kept.record.incarnation)).flatten()
    }

    pub(crate) fn peer_up(&self, peer: Peer) {
        self.event(Event::PeerUp { server: peer.server, incarnation: peer.incarnation });
    }

    pub(crate) fn peer_down(&self, server: ServerId) {
        self.event(Event::PeerDown { server });
    }

    /// Messages that came over the present connection, in order.
    pub(crate) fn peer_messages(&self, now: Time, from: ServerId, messages: Vec<Message>) {
        self.spinner.worked(messages.len());
        {
            let mut state = self.state.borrow_mut();
            for message in messages {
                let event = match message {
                    Message::Order(order) => order_event(&order),
                    message => Event::Message { from, message },
                };
                state.engine.handle(now, event);
            }
        }
        self.pump();
    }

    // ---- directory ----

    /// Takes news of the directory; says whether certificates may have changed.
    ///
    /// # Errors
    /// A record of the directory cannot be understood, or there will be no more news: the server must stop.
    pub(crate) fn news(&self, news: News) -> Result<bool, String> {
        let mut certificates = false;
        let event = match news {
            News::Listed(snapshot) => {
                let keys = self.state.borrow().keys.clone();
                self.balancer.borrow_mut().read(
                    clock::now(),
                    clock::wall_ms(),
                    &keys,
                    snapshot.entries.iter(),
                );
                certificates = true;
                let view = View::from_snapshot(keys, &snapshot).map_err(|e| e.to_string())?;
                DirectoryEvent::Snapshot(Box::new(view))
            }
            News::Changed(batch) => {
                let entries = batch.changes.iter().filter_map(|change| change.entry.as_ref());
                let keys = &self.state.borrow().keys;
                certificates = batch
                    .changes
                    .iter()
                    .any(|change| matches!(keys.parse(&change.key), ParsedKey::Certificate(_)));
                self.balancer.borrow_mut().read(clock::now(), clock::wall_ms(), keys, entries);
                DirectoryEvent::Batch(batch)
            }
            News::Done(ticket, outcome) if ticket >= OWN_TICKETS => {
                let awaited = self.state.borrow_mut().transactions.remove(&ticket);
                match awaited {
                    // Who waited may be gone.
                    Some(answer) => drop(answer.send(outcome)),
                    None => {
                        tracing::debug!(server = %self.name, "the effect of a move was recorded: {outcome:?}");
                    }
                }
                return Ok(false);
            }
            News::Done(ticket, outcome) => DirectoryEvent::TxnDone { ticket: TxnTicket(ticket), outcome },
            News::Ended(what) => return Err(format!("its {what} ended")),
        };
        self.event(Event::Directory(event));
        self.heard_news.notify_waiters();
        Ok(certificates)
    }

    /// Waits for the next news of the directory.
    pub(crate) async fn heard_news(&self) {
        self.heard_news.notified().await;
    }

    /// Asks the directory for something that nothing depends on; if it does not happen it is asked again by whoever
    /// wants it.
    pub(crate) fn record(&self, txn: Txn) {
        if !self.state.borrow().directory.transact(OWN_TICKETS, txn) {
            tracing::debug!(server = %self.name, "too many transactions wait for a record to be written");
        }
    }

    /// A number for a change that this server makes.
    pub(crate) fn next_change(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.last_change += 1;
        state.last_change
    }

    /// Asks the directory for something, and waits for its answer.
    ///
    /// # Errors
    /// As the directory has them.
    pub(crate) async fn transact(&self, txn: Txn) -> Result<TxnOutcome, DirectoryError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            state.last_transaction += 1;
            let ticket = state.last_transaction;
            if !state.directory.transact(ticket, txn) {
                return Err(DirectoryError::Unavailable { reason: "too many transactions wait".to_owned() });
            }
            state.transactions.insert(ticket, answer);
        }
        let stops = || DirectoryError::OutcomeUnknown { reason: "the server stops".to_owned() };
        answered.await.unwrap_or_else(|_| Err(stops()))
    }

    // ---- the pump ----

    /// Carries everything on until nothing is left to do. What peers are sent goes first: a write that goes to several
    /// copies is on its way to the others when this server begins with its own, in [`Self::run_store`]. Where the store
    /// is in memory its part of the work is done right then, and the others would wait for it.
    pub(crate) fn pump(&self) {
        self.carry_on(true);
    }

    /// Gives the store its turn behind what is sent to peers; never ends.
    pub(crate) async fn run_store(self: Rc<Self>) {
        loop {
            self.store_turn.notified().await;
            self.carry_on(false);
        }
    }

    fn carry_on(&self, sends_first: bool) {
        let mut told = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            // The clock is read anew each time: the engine judges leases by it.
            while self.turn(&mut state, clock::now(), &mut told, sends_first) {}
            self.arm(&mut state);
            if let Some(reason) = state.store.stop_reason() {
                self.fail(format!("store '{}': {reason}; {}", self.store_path.display(), remedy(reason)));
            }
        }
        let mut again = false;
        for told in told {
            match told {
                Told::Completed(waiter, outcome) => waiter.front_end.complete(waiter.task, outcome),
                Told::Prove(waiter) => waiter.front_end.prove(),
                Told::Disconnect(server) => {
                    if self.links.borrow_mut().close(server) {
                        self.state.borrow_mut().engine.handle(clock::now(), Event::PeerDown { server });
                        again = true;
                    }
                }
                Told::Admit(volume, revision) => {
                    let judge = self.judge.borrow().as_ref().and_then(Weak::upgrade);
                    if let Some(judge) = judge {
                        judge.judge(volume);
                    }
                    let admitted = Event::Admitted { volume, revision };
                    self.state.borrow_mut().engine.handle(clock::now(), admitted);
                    again = true;
                }
                Told::ViewGap(why @ ViewError::NewerFormat { .. }) => self.fail(why.to_string()),
                Told::ViewGap(why @ ViewError::OutOfOrder { .. }) => {
                    tracing::warn!(server = %self.name, "{why}: listing the directory again");
                    self.state.borrow().directory.list_again();
                }
            }
        }
        if again {
            self.pump();
        }
    }

    /// One round: true if anything happened.
    fn turn(&self, state: &mut State, now: Time, told: &mut Vec<Told>, sends_first: bool) -> bool {
        let mut busy = false;
        let mut sent = false;
        while let Some(output) = state.engine.poll_output() {
            busy = true;
            sent |= matches!(output, Output::Send { .. });
            self.carry_out(state, now, output, told);
        }
        if sends_first && sent && !state.backlog.is_empty() {
            self.store_turn.notify_one();
            return false;
        }
        // The engine bounds what is open; what the store has no room for yet waits here, in order.
        while state.store.has_room()
            && let Some((ticket, op)) = state.backlog.pop_front()
        {
            busy = true;
            state.store.submit(ticket, op);
        }
        while let Some(io) = state.store.poll_io() {
            busy = true;
            state.disk.submit(now, io);
        }
        state.disk.kick();
        state.disk.reap(now, &mut state.reaped);
        for completion in state.reaped.drain(..) {
            busy = true;
            state.store.handle_io(completion.id, completion.result);
        }
        while let Some((ticket, outcome)) = state.store.poll_done() {
            busy = true;
            match state.lists.remove(&ticket) {
                Some(answer) => drop(answer.send(inventory_page(outcome))),
                None => state.engine.handle(now, Event::Store { ticket, outcome }),
            }
        }
        busy
    }

    fn carry_out(&self, state: &mut State, now: Time, output: Output, told: &mut Vec<Told>) {
        match output {
            Output::Complete { id, outcome } => {
                if let Some(waiter) = state.waiters.remove(id) {
                    told.push(Told::Completed(waiter, outcome));
                }
            }
            Output::Prove { id } => told.extend(state.waiters.get(id).cloned().map(Told::Prove)),
            Output::Admit { volume, revision } => told.push(Told::Admit(volume, revision)),
            Output::BarrierDone { id, passed } => {
                if let Some(waiter) = state.barriers.remove(&id) {
                    let _ = waiter.send(passed);
                }
            }
            Output::Send { to, message } => self.links.borrow_mut().send(to, &message),
            Output::Disconnect { server } => told.push(Told::Disconnect(server)),
            Output::Store { ticket, op } => state.backlog.push_back((ticket, op)),
            Output::Transact { ticket, txn } => {
                if !state.directory.transact(ticket.0, txn) {
                    let reason = "too many transactions wait".to_owned();
                    let outcome = Err(DirectoryError::Unavailable { reason });
                    let done = DirectoryEvent::TxnDone { ticket, outcome };
                    state.engine.handle(now, Event::Directory(done));
                }
            }
            Output::Arrived(arrival) => self.balancer.borrow_mut().charge(&arrival),
            Output::LoadReport { from, report } => self.balancer.borrow_mut().heard(now, from, &report),
            Output::InventoryPage { .. } => {}
            Output::Event(EngineEvent::ViewGap { why }) => told.push(Told::ViewGap(why)),
            Output::Event(EngineEvent::FoundDown) => {
                self.found_down.set(true);
                self.fail("the group went on without it".to_owned());
            }
            Output::Event(EngineEvent::CannotKeepUp { extent }) => {
                self.fail(format!(
                    "store '{}': there is no room for what other copies of {extent} may have taken; make room on the file \
                     system that it lies on, then start again",
                    self.store_path.display()
                ));
            }
            Output::Event(event) => {
                let name_of = |id: ServerId| {
                    let kept = state.engine.view().and_then(|view| view.server(id));
                    kept.map_or_else(|| id.to_string(), |kept| kept.record.name.clone())
                };
                self.moves.borrow_mut().note(now, &self.name, &name_of, &event);
                self.balancer.borrow_mut().note(now, &event);
            }
        }
    }

    // ---- time ----

    /// So many requests or messages have just come.
    pub(crate) fn worked(&self, batch: usize) {
        self.spinner.worked(batch);
    }

    /// Waits awake for more where that is worth while; never ends.
    pub(crate) async fn run_spinner(self: Rc<Self>) {
        self.spinner.run(|| self.state.borrow().disk.is_at_work()).await;
    }

    fn arm(&self, state: &mut State) {
        let next = [state.engine.poll_timeout(), state.disk.next_due()].into_iter().flatten().min();
        let earlier = match (next, self.armed.get()) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if earlier {
            self.armed.set(next);
            self.rearm.notify_one();
        }
    }

    /// Wakes the engine and the disk when their time has come; never ends.
    pub(crate) async fn run_timers(self: Rc<Self>) {
        loop {
            let Some(due) = self.armed.get() else {
                self.rearm.notified().await;
                continue;
            };
            let wait = due.since(clock::now());
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.rearm.notified() => continue,
                }
            }
            self.armed.set(None);
            self.state.borrow_mut().engine.handle(clock::now(), Event::Timer);
            self.pump();
        }
    }

    /// Carries on what the disk has finished; never ends.
    pub(crate) async fn run_disk(self: Rc<Self>) {
        let Err(e) = self.watch_disk().await;
        self.fail(format!("store '{}': cannot wait for its disk: {e}", self.store_path.display()));
    }

    async fn watch_disk(&self) -> std::io::Result<Infallible> {
        let watched: std::io::Result<Vec<_>> = {
            let state = self.state.borrow();
            let fds = state.disk.wake_fds().into_iter();
            fds.map(|fd| disk::watch(fd.try_clone_to_owned()?)).collect()
        };
        // Where there is none, nothing of this disk ends later than it is asked for.
        let watched = watched?;
        loop {
            poll_fn(|cx| any_ready(&watched, cx)).await?;
            self.spinner.worked(1);
            self.pump();
        }
    }
}
