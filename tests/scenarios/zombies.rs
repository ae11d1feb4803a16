//! A server stands still with writes of hosts in its buffers. The hosts leave it and write something else through others.
//! When it wakes, nothing of what lay in its buffers is carried out.

use evenkeel_tests::{Ended, Register, Session, Stage, StopAtEnd, comes_true, count_of, in_own_network};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EXTENTS: u64 = 4;
const EXTENT_BYTES: u64 = 4 << 20;
const BLOCK: usize = 4096;
/// Ports of each server, for hosts and for other servers.
const PORTAL_PORT: u16 = 3260;
const PEER_PORT: u16 = 7260;
/// Writes that lie in each buffer.
const WRITES: u64 = 8;
/// More than the proof lasts that a host lives: one that leaves sooner is not allowed for anywhere.
const STANDSTILL_MIN: Duration = Duration::from_millis(2300);
/// A path on which nothing comes for this long is left.
const PATIENCE: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(60);
/// How often a server starts anew by itself before it waits for a person.
const STARTS_ANEW_MAX: usize = 3;

const EXPECTED: [&str; 5] = [
    "has not answered for",
    "the directory cannot be reached",
    "the group went on without it",
    "cannot start anew yet",
    "stood still for",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// It owns the extents, and others may take its place.
    Owner,
    /// It came after the volume was made and has no copy of it: nobody misses it, however long it stands still.
    Gateway,
}

fn content(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK / 8)
}

/// Bytes that a process has received and not read on connections with this port at one of the two ends.
fn unread(process: u32, port: u16) -> u64 {
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("the process runs");
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local and remote address; then bytes that wait to be sent, and to be read.
        let has_port =
            |field: usize| fields.get(field).is_some_and(|end| end.ends_with(&format!(":{port:04X}")));
        let waiting = fields.get(4)?.rsplit(':').next()?;
        (has_port(1) || has_port(2)).then(|| u64::from_str_radix(waiting, 16).unwrap_or(0))
    };
    table.lines().skip(1).filter_map(of).sum()
}

/// Owner, other copy, and the server without one, from 0.
fn places(stage: &Stage) -> [usize; 3] {
    let table = stage.servers[0].api().route("v1", "s1").expect("the route");
    let number = |name: &String| name[1..].parse::<usize>().expect("servers are named s1, s2, ...") - 1;
    let (owner, other) = (number(&table.extents[0].owner), table.extents[0].replicas.iter().map(number));
    let other = other.into_iter().find(|server| *server != owner).expect("two copies");
    [owner, other, 3 - owner - other]
}

/// Sends writes of one content to blocks from `first` on, and waits for no answer.
fn send(session: &mut Session, first: u64, number: u64) {
    for block in first..first + WRITES {
        session.write(block * BLOCK as u64, content(number).into());
    }
    let ended = session.wait_end_within(Duration::from_millis(20)).expect("the session lives");
    assert!(ended.is_none(), "a server that stands still answers nothing: {ended:?}");
}

/// Writes one content to blocks from 0 on, as a host with two paths does that makes sure of each.
fn write(portals: [&String; 2], target: &str, blocks: u64, number: u64) {
    let began = Instant::now();
    let mut open: Vec<u64> = (0..blocks).collect();
    for portal in portals.into_iter().cycle() {
        assert!(began.elapsed() < WITHIN, "blocks {open:?} cannot be written");
        let Ok(mut session) = Session::open_with(portal, target, PATIENCE) else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        while let Some(block) = open.last().copied() {
            session.write(block * BLOCK as u64, content(number).into());
            match session.wait_end() {
                Ok((_, Ended::Good(_))) => drop(open.pop()),
                Ok((_, Ended::Busy)) => {}
                Ok((_, ended)) => panic!("a write through {portal}: {ended:?}"),
                Err(_) => break,
            }
        }
        if open.is_empty() {
            return;
        }
    }
}

/// The numbers in blocks from 0 on, through a portal.
fn read(portal: &str, target: &str, blocks: u64) -> Result<Vec<u64>, String> {
    let mut session = Session::open_with(portal, target, PATIENCE)?;
    let read = |block: u64| {
        session.read(block * BLOCK as u64, BLOCK as u32);
        match session.wait_end()?.1 {
            Ended::Good(data) => Ok(u64::from_le_bytes(data[..8].try_into().expect("eight bytes"))),
            ended => Err(format!("{ended:?}")),
        }
    };
    (0..blocks).map(read).collect()
}

/// One standstill. Gives how many writes lay in buffers.
fn standstill(stage: &mut Stage, target: &str, victim: Victim, round: u64) -> u64 {
    let portals = stage.portals();
    let [owner, other, third] = places(stage);
    let stopped = if victim == Victim::Owner { owner } else { third };
    let logged = stage.servers[stopped].log().len();
    let (stale, later) = (2 * round + 1, 2 * round + 2);
    let mut direct = Session::open(&portals[stopped], target).expect("a session");
    // Through a gateway that goes on, to the owner that does not.
    let mut forwarded =
        (victim == Victim::Owner).then(|| Session::open(&portals[third], target).expect("a session"));
    stage.servers[stopped].pause();
    let began = Instant::now();
    send(&mut direct, 0, stale);
    if let Some(session) = &mut forwarded {
        send(session, WRITES, stale);
    }
    let process = stage.servers[stopped].pid();
    let ports = if forwarded.is_some() { &[PORTAL_PORT, PEER_PORT][..] } else { &[PORTAL_PORT] };
    for port in ports {
        let lie_there = || unread(process, *port) >= WRITES * BLOCK as u64;
        let lay = comes_true(WITHIN, lie_there);
        assert!(lay, "port {port}: {} bytes lie in buffers", unread(process, *port));
    }
    let blocks = if forwarded.is_some() { 2 * WRITES } else { WRITES };
    // The host leaves; in every other round it tells so, and the end lies behind the writes.
    drop(forwarded);
    let direct = round.is_multiple_of(2).then_some(direct);
    // A gateway that nobody misses sleeps for different times.
    let slept = STANDSTILL_MIN + Duration::from_millis(round % 5 * 400);
    let through = if victim == Victim::Owner {
        [&portals[other], &portals[third]]
    } else {
        [&portals[owner], &portals[other]]
    };
    std::thread::sleep(slept.saturating_sub(began.elapsed()));
    write(through, target, blocks, later);
    stage.servers[stopped].resume();
    let woke = || {
        let log = stage.servers[stopped].log().split_off(logged);
        log.contains("stood still for") || log.contains("the group went on without it")
    };
    let mut stale_reads = 0;
    let mut judge = |portal: &String| {
        let numbers = read(portal, target, blocks).unwrap_or_default();
        stale_reads += numbers.iter().filter(|number| **number != later).count();
        numbers.len()
    };
    let woken = comes_true(WITHIN, || {
        for portal in &portals {
            judge(portal);
        }
        woke()
    });
    assert!(woken, "s{} does not notice that it stood still", stopped + 1);
    drop(direct);
    let starts = stage.servers[stopped].log_since_start().matches("starts anew and catches up").count();
    assert!(victim == Victim::Owner || starts == 0, "a gateway without copies was missed");
    if starts == STARTS_ANEW_MAX {
        stage.servers[stopped].kill();
        stage.servers[stopped].spawn();
    }
    stage.all_are_up();
    for portal in &portals {
        let all = comes_true(WITHIN, || judge(portal) as u64 == blocks);
        assert!(all, "{portal} does not answer");
    }
    println!(
        "round {}: s{} stood still for {:.1?} with {blocks} writes in its buffers; {stale_reads} of them landed",
        round + 1,
        stopped + 1,
        began.elapsed()
    );
    assert_eq!(stale_reads, 0, "writes from before the standstill landed after later ones");
    blocks
}

fn servers_stand_still(victim: Victim) {
    let mut stage = Stage::start(2, "--balance false");
    let size = format!("{}MiB", EXTENTS * 4);
    let target = if victim == Victim::Gateway {
        let target = stage.create_volume("v1", &size, 2);
        stage.add_server();
        // It is to be a gateway and nothing else: of what will be written for the first time nothing goes there either.
        let _ = stage.servers[0].evenkeel(&["server", "drain", "s3"]).ok();
        let is_drained = || stage.servers[0].evenkeel(&["server", "list"]).ok().stdout.contains(" drained");
        assert!(comes_true(WITHIN, is_drained), "s3 is not drained");
        target
    } else {
        stage.add_server();
        stage.create_volume("v1", &size, 2)
    };
    let portals = stage.portals();
    // Another extent is read and written through all of it, through all servers.
    let register = Register::new(&target, EXTENT_BYTES);
    let stop = AtomicBool::new(false);
    let mut lay = 0;
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        let (register, stop) = (&register, &stop);
        for portal in &portals {
            scope.spawn(move || register.read(portal, stop));
        }
        let through = portals.clone();
        scope.spawn(move || register.write(&through, stop));
        for round in 0..count_of("ROUNDS", 1) {
            lay += standstill(&mut stage, &target, victim, round);
        }
        drop(stop_at_end);
    });
    println!(
        "{lay} writes lay in buffers, 0 landed; meanwhile {} writes, reads {:?}",
        register.known(),
        register.reads()
    );
    assert_eq!(register.wrong(), None);
    assert!(
        register.known() > 0 && register.reads().len() == 3,
        "the other extent was used through every portal"
    );
    let _ = stage.servers[0].evenkeel(&["route", "v1", "--verify"]).ok();
    assert_eq!(stage.warnings_but(&EXPECTED), [""; 0]);
}

#[test]
fn nothing_lands_of_what_lay_at_an_owner_that_stood_still() {
    in_own_network("nothing_lands_of_what_lay_at_an_owner_that_stood_still", || {
        servers_stand_still(Victim::Owner);
    });
}

#[test]
fn nothing_lands_of_what_lay_at_a_gateway_that_stood_still() {
    in_own_network("nothing_lands_of_what_lay_at_a_gateway_that_stood_still", || {
        servers_stand_still(Victim::Gateway);
    });
}
