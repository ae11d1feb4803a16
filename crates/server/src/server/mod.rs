//! One server: everything of it runs on one thread.

mod access;
mod answers;
mod balancer;
mod core;
mod directory_link;
#[cfg(test)]
pub(crate) mod fixture;
mod front_end;
mod move_log;
mod move_records;
mod opening;
mod peers;
mod portal;
mod presence;
mod reach;
mod spin;
mod standstill;
#[cfg(test)]
mod tests;
mod vital;
mod waiters;
mod waits;

use self::balancer::{Balancer, TICK_EVERY};
use self::core::{Core, Parts};
use self::directory_link::{DirectoryLink, News};
use self::front_end::Judge;
use self::opening::Opened;
use self::peers::{JoinDesk, PeerLinks, Security};
use self::portal::Portal;
use self::presence::Presence;
use self::vital::Vital;
use crate::ask::Ask;
use crate::clock;
use crate::config::{ServeConfig, ServerConfig};
use crate::disk;
use crate::error::{ServeError, error};
use crate::membership;
use crate::names::TargetNames;
use crate::security::identity::Identity;
use crate::security::tls::PeerTls;
use evenkeel_engine::config::ScrubConfig;
use evenkeel_engine::{Engine, EngineConfig, Event, MoveOrder};
use evenkeel_meta::change::{Actor, end_lost_moves, next_placing};
use evenkeel_meta::{Directory, Keyspace};
use evenkeel_peer::{Local, Message, MoveOrder as OrderMessage};
use evenkeel_store::Store;
use evenkeel_types::{Incarnation, ServerId};
use std::collections::VecDeque;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long sessions get to log out when the server stops.
const LOGOUT_WITHIN: Duration = Duration::from_millis(1500);
/// How long the store gets to become clean when the server stops; an unclean one only has more to replay.
const CLEAN_WITHIN: Duration = Duration::from_millis(2500);
/// How often a server may start anew within how long.
const RESTARTS_MAX: usize = 3;
const RESTARTS_WITHIN: Duration = Duration::from_secs(600);
/// How long a server tries to start anew, and how often.
const REOPENED_WITHIN: Duration = Duration::from_secs(600);
const REOPEN_EVERY: Duration = Duration::from_secs(1);
/// How long a server that cannot go on tries to leave the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long a host may wait meanwhile until it is turned away.
const TURN_AWAY_EVERY: Duration = Duration::from_millis(50);
/// How long a server runs before its scrub begins: others may be starting too.
const SCRUB_FIRST_AFTER: Duration = Duration::from_secs(600);
/// How often the store is asked whether it wants to tidy up.
const TIDY_EVERY: Duration = Duration::from_millis(500);

/// What a server is made of.
pub(crate) struct Launch {
    pub(crate) config: ServeConfig,
    pub(crate) server: ServerConfig,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) keys: Keyspace,
    pub(crate) group_id: u64,
    /// Of the folder where it lives: see [`crate::own`]; 0 where the directory lives there too.
    pub(crate) mark: u64,
    pub(crate) names: TargetNames,
    pub(crate) portal: TcpListener,
    pub(crate) peer: TcpListener,
    /// What it shows its peers, if the group has an authority.
    pub(crate) identity: Option<Identity>,
    pub(crate) asked: mpsc::Receiver<Ask>,
    /// Where the reason goes if the server stops by itself.
    pub(crate) stopped: Arc<OnceLock<String>>,
}

/// A server whose store is open. It ends without having served if this is dropped.
pub(crate) struct Launched {
    name: String,
    thread: JoinHandle<Result<(), ServeError>>,
    incarnation: Arc<AtomicU64>,
    begin: std::sync::mpsc::Sender<()>,
    entered: std::sync::mpsc::Receiver<Result<ServerId, ServeError>>,
}

/// A server whose start is recorded.
pub(crate) struct Begun {
    pub(crate) thread: JoinHandle<Result<(), ServeError>>,
    pub(crate) id: ServerId,
    /// Its present life, also when it has started anew by itself.
    pub(crate) incarnation: Arc<AtomicU64>,
}

impl Launched {
    /// Has its start recorded, and lets it serve.
    ///
    /// # Errors
    /// One line: the directory does not take the start.
    pub(crate) fn begin(self) -> Result<Begun, ServeError> {
        let Self { name, thread, incarnation, begin, entered } = self;
        // A thread that is gone answers nothing.
        let _ = begin.send(());
        let id = entered.recv().map_err(|_| error(format!("server '{name}' ended while it started")))??;
        Ok(Begun { thread, id, incarnation })
    }
}

/// Starts a server on a thread of its own; returns once its store is open.
///
/// # Errors
/// One line: what is wrong with its store or its place in the group.
pub(crate) fn launch(launch: Launch) -> Result<Launched, ServeError> {
    let (ready, opened) = std::sync::mpsc::channel();
    let (begin, begun) = std::sync::mpsc::channel();
    let (enter, entered) = std::sync::mpsc::channel();
    let name = launch.server.name.clone();
    let incarnation = Arc::new(AtomicU64::new(0));
    let life = Arc::clone(&incarnation);
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let opened = match opening::open(&launch) {
                Ok(opened) => opened,
                Err(e) => {
                    let _ = ready.send(Err(e));
                    return Ok(());
                }
            };
            let _ = ready.send(Ok(()));
            if begun.recv().is_err() {
                return Ok(());
            }
            let outcome = opened.enter(&launch);
            let has_entered = outcome.is_ok();
            life.store(opened.actor.incarnation.0, Ordering::Release);
            let _ = enter.send(outcome.map(|()| opened.actor.server));
            if !has_entered {
                return Ok(());
            }
            let (name, directory, keys) =
                (launch.server.name.clone(), Arc::clone(&launch.directory), launch.keys.clone());
            let server = opened.actor.server;
            // With what it returns from go its ports and connections: peers and hosts see that the server is gone.
            let ran = run(launch, opened, &life);
            if ran.is_err() {
                let actor = Actor { server, incarnation: Incarnation(life.load(Ordering::Acquire)) };
                leave(&name, directory, keys, actor);
            }
            ran
        })
        .map_err(|e| error(format!("server '{name}': no thread: {e}")))?;
    opened.recv().map_err(|_| error(format!("server '{name}' ended while it started")))??;
    Ok(Launched { name, thread, incarnation, begin, entered })
}

/// Takes a server that could not go on out of the group, if the directory answers in time; else others will mark it down.
fn leave(name: &str, directory: Arc<dyn Directory>, keys: Keyspace, actor: Actor) {
    let (left, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(left.send(membership::leave(&*directory, &keys, actor))));
    match outcome.recv_timeout(LEAVE_WITHIN) {
        Ok(Ok(true)) => tracing::info!(server = %name, "left the group: others go on without it"),
        Ok(Ok(false)) => {}
        Ok(Err(why)) => tracing::info!(server = %name, "could not leave the group: {why}"),
        Err(_) => tracing::info!(server = %name, "could not leave the group: the directory does not answer"),
    }
}

/// Runs a server until it is stopped. If the group went on without it, it drops everything and starts anew, as a server
/// that comes back; one to which that happens again and again waits for a person.
fn run(mut launch: Launch, mut opened: Opened, life: &AtomicU64) -> Result<(), ServeError> {
    let mut restarts: VecDeque<Instant> = VecDeque::new();
    loop {
        life.store(opened.actor.incarnation.0, Ordering::Release);
        match run_once(&mut launch, opened)? {
            End::Stopped => return Ok(()),
            End::FoundDown => {}
        }
        let name = &launch.server.name;
        // If the directory does not answer now, it is asked again before the store is opened.
        let gone = membership::gone_for_good(&*launch.directory, &launch.keys, name, launch.mark);
        if let Ok(Some(why)) = gone {
            tracing::info!(server = %name, "stops: {why}");
            let _ = launch.stopped.set(why);
            return Ok(());
        }
        restarts.retain(|at| at.elapsed() < RESTARTS_WITHIN);
        restarts.push_back(Instant::now());
        if restarts.len() > RESTARTS_MAX {
            let why = format!(
                "server '{name}' stops: the group went on without it {} times within {} minutes; see why it does \
                 not answer, then start it again",
                restarts.len(),
                RESTARTS_WITHIN.as_secs() / 60
            );
            tracing::error!(server = %name, "{why}");
            let _ = launch.stopped.set(why.clone());
            return Err(error(why));
        }
        tracing::warn!(server = %name, "the group went on without it: starts anew and catches up");
        opened = open_again(&launch).inspect_err(|why| {
            tracing::error!(server = %name, "{why}");
            let _ = launch.stopped.set(why.to_string());
        })?;
    }
}

/// Opens the store for another life. What made the group go on without it may still keep it from the directory, from its
/// disk, or from the owners of its extents, for a while.
fn open_again(launch: &Launch) -> Result<Opened, ServeError> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let view = membership::read(&*launch.directory, &launch.keys);
        let reached = view.and_then(|view| reach::owners(&view, &launch.server.name));
        let opened = reached.and_then(|()| opening::open(launch));
        match opened.and_then(|opened| opened.enter(launch).map(|()| opened)) {
            Err(why) if began.elapsed() < REOPENED_WITHIN => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(server = %launch.server.name, "cannot start anew yet, tries again: {why}");
                }
                turn_hosts_away(&launch.portal, REOPEN_EVERY);
            }
            opened => return opened,
        }
    }
}

/// Waits so long. Hosts that connect meanwhile are turned away at once, for nobody would answer them: they have other paths.
fn turn_hosts_away(portal: &TcpListener, pause: Duration) {
    let began = Instant::now();
    while began.elapsed() < pause {
        // The port does not block: the end of those that wait is an error.
        while portal.accept().is_ok() {}
        std::thread::sleep(TURN_AWAY_EVERY);
    }
}

/// How a life of a server ended, if it ended well.
enum End {
    Stopped,
    FoundDown,
}

fn run_once(launch: &mut Launch, opened: Opened) -> Result<End, ServeError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|e| error(format!("server '{}': {e}", launch.server.name)))?;
    let (name, stopped) = (launch.server.name.clone(), Arc::clone(&launch.stopped));
    let served = async {
        // Said before anything is put away, which may take a broken disk its time.
        serve(launch, opened).await.inspect_err(|why| {
            tracing::error!(server = %name, "{why}");
            let _ = stopped.set(why.to_string());
        })
    };
    // With the tasks go the listeners and all connections: initiators and peers see that the server is gone.
    tokio::task::LocalSet::new().block_on(&runtime, served)
}

async fn serve(launch: &mut Launch, opened: Opened) -> Result<End, ServeError> {
    let name = launch.server.name.clone();
    opened.log(&name);
    let wrong = |e: std::io::Error| error(format!("server '{name}': {e}"));
    // The ports stay open over the server's lives.
    let portal = launch.portal.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(wrong)?;
    let peer = launch.peer.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(wrong)?;
    let actor = opened.actor;
    let pace = launch.server.capacity.filter(|capacity| capacity.enforce);
    let pace = pace.map(|capacity| disk::Pace::new(capacity.disk_read_iops, capacity.disk_write_iops));
    let driver = disk::drive(opened.file, &launch.config.disk, pace)?;
    let (link, news) = DirectoryLink::open(&launch.directory, launch.keys.prefix().to_owned());
    let presence = Presence::begin(Arc::clone(&launch.directory), launch.keys.clone(), actor);
    let now = clock::now();
    let engine = Engine::new(EngineConfig {
        me: actor.server,
        incarnation: actor.incarnation,
        started_unix_ms: clock::wall_ms(),
        started: now,
        rebuild_after: Duration::from_secs(launch.config.balance.rebuild_after_s),
        scrub: ScrubConfig {
            rate: launch.config.scrub.rate_bytes()?,
            every: Duration::from_secs(3600 * u64::from(launch.config.scrub.every_h)),
            first_after: SCRUB_FIRST_AFTER,
        },
    });
    let local = Local {
        group: launch.config.group.clone(),
        server: actor.server,
        incarnation: actor.incarnation,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let security = match launch.identity.clone() {
        Some(identity) => {
            let desk = Arc::new(JoinDesk {
                group: launch.config.group.clone(),
                directory: Arc::clone(&launch.directory),
                keys: launch.keys.clone(),
                folder: launch.config.secrets(),
                api_token: launch.config.api_token_path(),
            });
            Some(Security { tls: PeerTls::new(identity, launch.config.peer.data)?, desk })
        }
        None => None,
    };
    let balancer = Balancer::new(now, actor, &opened.capacity, &launch.config.balance);
    let core = Rc::new(Core::new(Parts {
        name: name.clone(),
        store_path: launch.config.store_path(&launch.server),
        me: actor.server,
        engine,
        store: opened.store,
        disk: driver,
        directory: link,
        keys: launch.keys.clone(),
        links: PeerLinks::new(local, security),
        balancer,
    }));
    let targets = Portal::new(Rc::clone(&core), actor, launch.names.clone(), launch.group_id);
    let judge: Rc<dyn Judge> = Rc::clone(&targets) as Rc<dyn Judge>;
    core.judge_by(Rc::downgrade(&judge));
    let mut vital = Vital::default();
    vital.spawn("timers", Rc::clone(&core).run_timers());
    vital.spawn("waiting awake", Rc::clone(&core).run_spinner());
    vital.spawn("store", Rc::clone(&core).run_store());
    vital.spawn("disk", Rc::clone(&core).run_disk());
    vital.spawn("peer port", peers::accept(Rc::clone(&core), peer));
    vital.spawn("connections to peers", peers::dial_all(Rc::clone(&core)));
    let accepting = vital.spawn("portal", Rc::clone(&targets).accept(portal));
    vital.spawn("balancing", balance(Rc::clone(&core), presence, actor));
    vital.spawn("tidying", tidy(Rc::clone(&core)));
    vital.spawn("waiting for others", waits::tell(Rc::clone(&core)));
    vital.spawn("standstills", standstill::watch(Rc::clone(&core), Rc::clone(&targets)));
    let about = answers::About {
        portal: launch.server.portal.to_string(),
        peer: launch.server.peer_address().to_string(),
        direct: opened.direct,
    };
    let answer = match attend(&core, &targets, &about, &mut launch.asked, news, &mut vital).await {
        Err(_) if core.found_down() => return Ok(End::FoundDown),
        attended => attended?,
    };
    accepting.abort();
    stop(&core, &targets).await?;
    if let Some(answer) = answer {
        let _ = answer.send(());
    }
    Ok(End::Stopped)
}

/// Takes questions and news of the directory until the server is to stop.
///
/// # Errors
/// The server cannot go on. Whoever it serves must see it gone, not wait for it.
async fn attend(
    core: &Rc<Core>,
    portal: &Rc<Portal>,
    about: &answers::About,
    asked: &mut mpsc::Receiver<Ask>,
    mut news: mpsc::Receiver<News>,
    vital: &mut Vital,
) -> Result<Option<oneshot::Sender<()>>, ServeError> {
    let over = |why: String| error(format!("server '{}' stops: {why}", core.name()));
    loop {
        tokio::select! {
            biased;
            why = core.failure() => return Err(over(why)),
            why = vital.end() => return Err(over(why)),
            ask = asked.recv() => match ask {
                None => return Ok(None),
                Some(Ask::Stop(answer)) => return Ok(Some(answer)),
                Some(ask) => answers::answer(core, portal, about, ask),
            },
            news = news.recv() => match news {
                None => return Err(over("its line to the directory ended".to_owned())),
                Some(news) => {
                    if core.news(news).map_err(over)? {
                        peers::certificates_changed(core).map_err(over)?;
                    }
                    portal.view_changed();
                }
            },
        }
    }
}

/// Logs sessions out, then makes the store clean.
///
/// # Errors
/// The store stopped meanwhile.
async fn stop(core: &Rc<Core>, portal: &Rc<Portal>) -> Result<(), ServeError> {
    portal.log_out_all();
    let began = Instant::now();
    while portal.sessions() > 0 && began.elapsed() < LOGOUT_WITHIN {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    portal.drop_all();
    core.with_store(Store::shutdown);
    let began = Instant::now();
    loop {
        core.pump();
        if core.with_store(|store| store.is_stopped()) {
            let why = core.failure().await;
            return Err(error(format!("server '{}' stops: {why}", core.name())));
        }
        if core.with_store(|store| store.is_quiescent()) {
            tracing::info!(server = %core.name(), "stopped, the store is clean");
            return Ok(());
        }
        if began.elapsed() > CLEAN_WITHIN {
            tracing::warn!(server = %core.name(), "stopped before the store was clean: the next start replays its journal");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets the store tidy up in quiet moments; under load its journal decides.
async fn tidy(core: Rc<Core>) {
    let mut commits = 0;
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let now = core.with_store(|store| store.stats().commits);
        if now == commits {
            core.with_store(Store::maybe_checkpoint);
            core.pump();
        }
        commits = now;
    }
}

/// Measures every second, tells the peers, and has moves made and volumes placed.
async fn balance(core: Rc<Core>, presence: Presence, by: Actor) {
    let mut ticks = tokio::time::interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock::now();
        let space = core.space();
        let is_planner = presence.is_elected();
        let tick =
            core.with_view(|view| core.with_balancer(|balancer| balancer.tick(now, view, is_planner, space)));
        let Some(tick) = tick else { continue };
        if is_planner {
            let unix_ms = clock::wall_ms();
            let next = core.with_view(|view| [end_lost_moves(view, by, unix_ms), next_placing(view, by)]);
            next.into_iter().flatten().flatten().for_each(|txn| core.record(txn));
        }
        let used = core.with_balancer(|balancer| balancer.used(now));
        core.with_engine(|engine| {
            engine.set_used(used);
            engine.set_hot(tick.hot);
        });
        core.with_links(|links| {
            let peers: Vec<_> = links.connected().collect();
            peers.into_iter().for_each(|to| links.send(to, &Message::Load { report: tick.report.clone() }));
        });
        tick.records.into_iter().for_each(|txn| core.record(txn));
        for decision in tick.decisions {
            let reason = serde_json::to_value(&decision.reason).unwrap_or_default();
            if decision.from == core.me() {
                let order = MoveOrder {
                    extent: decision.extent,
                    to: decision.to,
                    replaces: None,
                    rate: None,
                    reason,
                    first: Vec::new(),
                };
                core.event(Event::StartMove(order));
            } else {
                let reason = reason.to_string().into_bytes().into();
                let order = OrderMessage { extent: decision.extent, to: decision.to, reason };
                core.with_links(|links| links.send(decision.from, &Message::Order(order)));
            }
        }
    }
}
