//! Answers to what the rest of the process asks a server: from its own view, store and sessions alone.

use super::core::Core;
use super::portal::Portal;
use super::waits;
use crate::ask::{Ask, MoveAsk, Ordered, Progress, Status, next_extent};
use crate::clock;
use evenkeel_api::{
    LoadTable, MovesTable, ResourceLoad, RouteRow, RouteTable, ScrubRow, ServerCounters, ServerLoadRow,
    ServerRow, ServerState, StartScrub,
};
use evenkeel_balance::{Resource, ServerLoad, Standing};
use evenkeel_engine::{Event, MoveEvent, MoveOrder, MoveStage};
use evenkeel_meta::View;
use evenkeel_meta::records::MemberState;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{ExtentId, ServerId};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::oneshot;

/// What does not change while the server runs.
pub(super) struct About {
    pub(super) portal: String,
    pub(super) peer: String,
    pub(super) direct: bool,
}

/// Answers one question. An asker that went away is no matter.
pub(super) fn answer(core: &Rc<Core>, portal: &Rc<Portal>, about: &About, ask: Ask) {
    match ask {
        Ask::Load(answer) => drop(answer.send(load(core))),
        Ask::Route(volume, answer) => {
            drop(answer.send(core.with_view(|view| route(core, view, &volume)).flatten()));
        }
        Ask::Status(answer) => drop(answer.send(status(core, portal, about))),
        Ask::Sessions(answer) => drop(answer.send(portal.session_rows())),
        Ask::Inventory(from, max, answer) => {
            let core = Rc::clone(core);
            tokio::task::spawn_local(async move { drop(answer.send(inventory(&core, from, max).await)) });
        }
        Ask::Look(look) => drop(core.with_view(look)),
        Ask::Move(ask, answer) => drop(answer.send(start_move(core, &ask))),
        Ask::Refusal(ordered, answer) => {
            drop(answer.send(core.with_moves(|log| log.refusal_of(ordered.extent, ordered.refused_before))));
        }
        Ask::EnableBalancing(enabled, answer) => {
            core.with_balancer(|balancer| balancer.enable(enabled));
            let _ = answer.send(());
        }
        Ask::Scrub(start, answer) => drop(answer.send(scrub(core, start))),
        Ask::Moves(answer) => drop(answer.send(moves(core))),
        Ask::Progress(answer) => drop(answer.send(progress(core))),
        Ask::Stop(answer) => {
            let _ = answer.send(());
        }
    }
}

fn name(view: &View, server: ServerId) -> String {
    view.server(server).map_or_else(|| server.to_string(), |kept| kept.record.name.clone())
}

fn load(core: &Core) -> LoadTable {
    let table = core.with_balancer(|balancer| balancer.table(clock::now()));
    let servers =
        core.with_view(|view| table.iter().map(|load| load_row(view, load)).collect()).unwrap_or_default();
    // The mean is that of the servers that are judged; the others do not count for it, nor against it.
    let judged = || table.iter().filter(|load| load.standing != Standing::Unknown);
    let mean = judged().next().map_or(0.0, |load| load.mean.fast);
    let highest = judged().map(|load| load.combined.fast).fold(0.0, f64::max);
    LoadTable {
        seen_by: core.name().to_owned(),
        mean_load: mean,
        imbalance: (mean > 0.0).then(|| highest / mean),
        servers,
    }
}

fn load_row(view: &View, load: &ServerLoad) -> ServerLoadRow {
    let parts = &load.utilisation.fast;
    let resources = Resource::ALL.iter().map(|resource| ResourceLoad {
        name: resource_name(*resource).to_owned(),
        front_end: parts.front_end.of(*resource),
        extents: parts.owner.of(*resource),
        copies: parts.copy.of(*resource),
    });
    ServerLoadRow {
        server: name(view, load.server),
        age_ms: load.report_age_ms,
        stale: load.is_stale,
        storage_load: load.storage_load.fast,
        server_load: load.server_load.fast,
        load: load.combined.fast,
        load_slow: load.combined.slow,
        state: standing(load.standing).to_owned(),
        resources: resources.collect(),
        random_reads: load.pattern.random_reads.into(),
        sequential_reads: load.pattern.sequential_reads.into(),
        random_writes: load.pattern.random_writes.into(),
        sequential_writes: load.pattern.sequential_writes.into(),
        allocated_bytes: load.allocated_bytes,
        total_bytes: load.total_bytes,
        moves_out: load.moves_out.into(),
        moves_in: load.moves_in.into(),
    }
}

/// The API's name of a resource.
const fn resource_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "cpu",
        Resource::NetIn => "net_in",
        Resource::NetOut => "net_out",
        Resource::DiskRead => "disk_read",
        Resource::DiskWrite => "disk_write",
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Unknown => "unknown",
        Standing::Idle => "idle",
        Standing::Even => "even",
        Standing::Watched => "watched",
        Standing::Disproportionate => "disproportionate",
        Standing::Urgent => "urgent",
        Standing::FrontEnd => "front-end",
        Standing::Swinging => "swinging",
    }
}

fn route(core: &Core, view: &View, volume: &str) -> Option<RouteTable> {
    let id = view.volume_named(volume)?.record;
    let count = view.volume(id)?.record.extents();
    let rows = (0..count).filter_map(|index| {
        let route = view.route(ExtentId { volume: id, index })?;
        let replicas: Vec<String> =
            (0..route.replicas.len()).map(|n| name(view, route.replicas[n])).collect();
        Some(RouteRow {
            extent: index,
            epoch: route.epoch.0,
            owner: route.owner().map_or_else(
                || if route.is_lost { "lost" } else { "nobody" }.to_owned(),
                |owner| name(view, owner),
            ),
            replicas,
            moved: route.entry_revision.is_some(),
            moving_to: route.intent.map(|intent| name(view, intent.to)),
        })
    });
    Some(RouteTable {
        volume: volume.to_owned(),
        seen_by: core.name().to_owned(),
        revision: view.revision().0,
        extents: rows.collect(),
    })
}

fn status(core: &Core, portal: &Portal, about: &About) -> Status {
    let connected: Vec<ServerId> = core.with_links(|links| links.connected().collect());
    let (allocated_bytes, total_bytes) = core.space();
    let direct = if about.direct { "direct" } else { "cached" };
    let mut row = ServerRow {
        server: core.name().to_owned(),
        state: ServerState::Down,
        draining: false,
        routed: None,
        drained: false,
        incarnation: 0,
        portal: about.portal.clone(),
        peer: about.peer.clone(),
        allocated_bytes,
        total_bytes,
        sessions: u32::try_from(portal.sessions()).unwrap_or(u32::MAX),
        connected: Vec::new(),
        disk: format!("{} {direct}", core.disk_name()),
        reason: None,
        waiting_for: waits::waits_for(core),
        counters: Some(counters(core)),
    };
    let waiting_for = core.with_view(|view| {
        row.connected = connected.iter().map(|server| name(view, *server)).collect();
        if let Some(member) = view.member(core.me()) {
            row.incarnation = member.record.incarnation.0;
            row.draining = member.record.draining;
            row.state = match member.record.state {
                MemberState::Up => ServerState::Up,
                MemberState::Syncing => ServerState::Syncing,
                MemberState::Down => ServerState::Down,
            };
        }
        if row.state != ServerState::Up {
            let missing = row.waiting_for.as_ref();
            return Some(missing.map_or_else(
                || "its place in the group".to_owned(),
                |missing| format!("{missing}, which has what was written last"),
            ));
        }
        let missing = view.members().find(|(id, kept)| {
            *id != core.me() && kept.record.state == MemberState::Up && !connected.contains(id)
        });
        missing.map(|(id, _)| format!("a connection with {}", name(view, id)))
    });
    let waiting_for = match waiting_for {
        None => Some("the directory".to_owned()),
        Some(waiting_for) => waiting_for,
    };
    Status { row, waiting_for }
}

fn counters(core: &Core) -> ServerCounters {
    let counters = core.with_engine(|engine| *engine.counters());
    ServerCounters {
        regions_compared: core.with_moves(|moves| moves.regions_compared()),
        regions_sent: counters.resync.regions_sent,
        bytes_sent: counters.resync.bytes_sent,
        regions_received: counters.regions_received,
        regions_mended: counters.mended,
        takeovers: counters.takeovers,
        marked_down: counters.marked_down,
        retried: counters.retried,
        found_applied: counters.duplicates,
    }
}

async fn inventory(core: &Rc<Core>, from: ExtentId, max: usize) -> Result<Vec<InventoryEntry>, String> {
    let mut all: Vec<InventoryEntry> = Vec::new();
    loop {
        let from = all.last().map_or(from, |last| next_extent(last.extent));
        let wanted = INVENTORY_PAGE.min(max - all.len());
        let (answer, answered) = oneshot::channel();
        core.list_store(from, wanted as u32, answer);
        let page = answered.await.map_err(|_| "the server stops".to_owned())?;
        let page = page.map_err(|e| format!("its store does not answer: {e:?}"))?;
        let is_last = page.len() < wanted;
        all.extend(page);
        if is_last || all.len() >= max {
            return Ok(all);
        }
    }
}

/// Records read from the store at a time.
const INVENTORY_PAGE: usize = 512;

fn scrub(core: &Core, start: Option<StartScrub>) -> ScrubRow {
    if let Some(start) = start {
        core.event(Event::StartScrub { rate: start.rate });
    }
    core.with_engine(|engine| {
        let counters = engine.counters();
        ScrubRow {
            server: core.name().to_owned(),
            rate: engine.scrub_rate(),
            running: engine.is_scrubbing(),
            passes: counters.scrub_passes,
            regions: counters.scrubbed,
            mended: counters.mended,
            copies_mended: counters.copies_mended,
            diverged: counters.diverged,
            unreadable: counters.unreadable,
        }
    })
}

fn start_move(core: &Core, ask: &MoveAsk) -> Result<Ordered, String> {
    let found = core.with_view(|view| {
        let volume = view.volume_named(&ask.volume).ok_or("the volume does not exist")?.record;
        let extent = ExtentId { volume, index: ask.extent };
        let to = view.server_named(&ask.to).ok_or_else(|| {
            let known: Vec<&str> = view.servers().map(|(_, kept)| kept.record.name.as_str()).collect();
            format!("there is no server '{}', the servers are {}", ask.to, known.join(", "))
        })?;
        let route = view.route(extent).ok_or("it has no route")?;
        if let Some(intent) = route.intent {
            return Err(format!("it is being moved to {}", name(view, intent.to)));
        }
        if route.replicas.contains(&to) {
            return Err(format!("{} holds a copy already", ask.to));
        }
        Ok((extent, to))
    });
    let (extent, to) = found.ok_or("the server does not know the directory yet")??;
    let refused_before = core.with_moves(|log| log.refusals());
    let reason = serde_json::json!({ "ordered": "by the command move" });
    core.event(Event::StartMove(MoveOrder {
        extent,
        to,
        replaces: None,
        rate: ask.rate,
        reason,
        first: Vec::new(),
    }));
    Ok(Ordered { extent, refused_before })
}

/// The counters of this server; the moves themselves are in the directory.
fn moves(core: &Core) -> MovesTable {
    let counters = core.with_engine(|engine| *engine.counters());
    MovesTable {
        moves: Vec::new(),
        writes_mirrored: counters.moves.writes_mirrored,
        writes_waited: counters.moves.writes_waited,
        writes_not_yet_copied: counters.moves.writes_not_yet_copied,
        pinned_over_cutover: counters.moves.completed_after_cut_over,
        answered_moved: counters.moves.answered_moved,
        regions_sent: counters.moves.regions_sent,
        bytes_sent: counters.moves.bytes_sent,
        completed: counters.moves_done,
        aborted: counters.moves_aborted,
    }
}

/// How far the moves are that this server led. What one under way has counted since its last step, the engine knows; an
/// extent whose move is over may be in another one.
fn progress(core: &Core) -> BTreeMap<u64, Progress> {
    let last_steps: Vec<MoveEvent> = core.with_moves(|log| log.last_steps().cloned().collect());
    let of = |step: MoveEvent| {
        let is_over = matches!(step.stage, MoveStage::Released | MoveStage::Aborted);
        let now = (!is_over).then(|| core.with_engine(|engine| engine.move_progress(step.extent))).flatten();
        let counters = now.unwrap_or(step.counters);
        let progress =
            Progress { regions_sent: counters.regions_sent, regions_equal: counters.regions_equal };
        (step.id.0, progress)
    };
    last_steps.into_iter().map(of).collect()
}
