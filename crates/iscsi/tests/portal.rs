//! Several initiators at one portal: what their sessions have to do with one another.

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::initiator::{self, Command, Event, InitiatorConfig, RequestId, Transfer};
use evenkeel_iscsi::pdu::{Isid, TaskFunction, TaskResponse};
use evenkeel_iscsi::target::{
    Authentication, CloseReason, ConnectionId, DiscoveredTarget, Lookup, Portal, TargetConfig, Targets,
    TaskId, Work,
};
use evenkeel_scsi::{LogicalUnit, LunConfig, Status};
use evenkeel_types::{BlockError, BlockOutcome, Payload, Time, VolumeId};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.io.evenkeel:test:v1";

struct Volume(Arc<LogicalUnit>);

impl Targets for Volume {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        Vec::new()
    }
    fn lookup(&mut self, _: &str, _: &str) -> Lookup {
        Lookup::Found { unit: Arc::clone(&self.0), volume: VolumeId(1) }
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        Authentication::None
    }
    fn fill_random(&mut self, _: &mut [u8]) {}
}

struct Host {
    id: ConnectionId,
    connection: initiator::Connection,
    events: Vec<Event>,
}

struct Net {
    portal: Portal,
    volume: Volume,
    now: Time,
    hosts: Vec<Host>,
    /// Operations that have not ended.
    submitted: Vec<(ConnectionId, TaskId)>,
    cancelled: Vec<TaskId>,
    closed: Vec<(ConnectionId, CloseReason)>,
}

impl Net {
    fn new() -> Self {
        let config = LunConfig::new(VolumeId(1), "v1", 16 << 20, [7; 16], TARGET);
        Self {
            portal: Portal::new(TargetConfig::default()),
            volume: Volume(Arc::new(LogicalUnit::new(config).expect("the volume is well-formed"))),
            now: Time(1),
            hosts: Vec::new(),
            submitted: Vec::new(),
            cancelled: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// A host that logs in; its place among the hosts.
    fn connect(&mut self, isid: u8) -> usize {
        let config = InitiatorConfig {
            initiator_name: "iqn.2026-01.test:i".to_owned(),
            isid: Isid([isid; 6]),
            target_name: Some(TARGET.to_owned()),
            settings: Settings::default(),
        };
        let id = self.portal.accept(self.now, "test".to_owned());
        self.hosts.push(Host { id, connection: initiator::Connection::new(config), events: Vec::new() });
        self.run();
        self.hosts.len() - 1
    }

    /// A host with a session, whose unit attention was seen.
    fn log_in(&mut self, isid: u8) -> usize {
        let host = self.connect(isid);
        assert!(matches!(self.hosts[host].events[..], [Event::LoggedIn]), "{:?}", self.hosts[host].events);
        self.hosts[host].events.clear();
        assert_eq!(self.test_unit_ready(host), Some(Status::CheckCondition));
        host
    }

    fn submit(&mut self, host: usize, cdb: [u8; 16], transfer: Transfer) -> RequestId {
        let id = self.hosts[host]
            .connection
            .submit(Command { lun: 0, cdb, transfer })
            .expect("the window is open");
        self.run();
        id
    }

    fn read(&mut self, host: usize) -> RequestId {
        let mut cdb = [0; 16];
        (cdb[0], cdb[8]) = (0x28, 1);
        self.submit(host, cdb, Transfer::In(512))
    }

    fn test_unit_ready(&mut self, host: usize) -> Option<Status> {
        self.submit(host, [0; 16], Transfer::None);
        match self.hosts[host].events.pop() {
            Some(Event::Done(_, done)) => done.status,
            other => panic!("{other:?}"),
        }
    }

    /// Moves bytes until nothing moves any more.
    fn run(&mut self) {
        while (0..self.hosts.len()).any(|host| self.exchange(host)) {
            while let Some(work) = self.portal.poll_work() {
                self.note(&work);
            }
        }
        while let Some(work) = self.portal.poll_work() {
            self.note(&work);
        }
    }

    fn exchange(&mut self, host: usize) -> bool {
        let Host { id, connection, events } = &mut self.hosts[host];
        let mut slices = [IoSlice::new(&[]); 16];
        let used = connection.transmit(&mut slices);
        let there: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = self.portal.receive_space(*id).map_or(0, |space| {
            let n = space.len().min(there.len());
            space[..n].copy_from_slice(&there[..n]);
            n
        });
        connection.transmitted(taken);
        if taken > 0 {
            self.portal.received(self.now, *id, taken, &mut self.volume);
        }
        let mut slices = [IoSlice::new(&[]); 16];
        let used = self.portal.transmit(*id, &mut slices);
        let back: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        let mut given = 0;
        while let (true, Some(space)) = (given < back.len(), connection.receive_space()) {
            let n = space.len().min(back.len() - given);
            space[..n].copy_from_slice(&back[given..given + n]);
            given += n;
            connection.handle_received(n);
        }
        self.portal.transmitted(self.now, *id, given);
        events.extend(std::iter::from_fn(|| connection.poll_event()));
        taken + given > 0
    }

    fn note(&mut self, work: &Work) {
        match *work {
            Work::Submit { connection, task, .. } => self.submitted.push((connection, task)),
            Work::Cancel { task, .. } => self.cancelled.push(task),
            Work::Close { connection, reason } => self.closed.push((connection, reason)),
            Work::Opened(_) => {}
        }
    }

    /// Ends the oldest operation.
    fn complete(&mut self, outcome: BlockOutcome) {
        let (connection, task) = self.submitted.remove(0);
        self.portal.completed(self.now, connection, task, outcome);
        self.run();
    }
}

#[test]
fn a_reset_through_one_session_ends_what_came_through_another_before_it_is_answered() {
    let mut net = Net::new();
    let (one, other) = (net.log_in(1), net.log_in(2));
    assert_eq!(net.portal.sessions(), 2);
    let read = net.read(other);
    let reset = net.hosts[one].connection.manage(TaskFunction::LogicalUnitReset, 0, None).unwrap();
    net.run();
    assert!(net.hosts[one].events.is_empty(), "an operation of the other session is under way");
    assert_eq!(net.cancelled, [net.submitted[0].1]);
    net.complete(Err(BlockError::Aborted));
    let answered = net.hosts[one].events.pop();
    assert!(matches!(answered, Some(Event::Managed(id, _, TaskResponse::FunctionComplete)) if id == reset));
    assert!(net.hosts[other].events.is_empty(), "{read:?} is never answered");
    for host in [one, other] {
        assert_eq!(net.test_unit_ready(host), Some(Status::CheckCondition), "the reset is told");
        assert_eq!(net.test_unit_ready(host), Some(Status::Good));
    }
}

#[test]
fn a_function_without_other_sessions_is_answered_at_once() {
    let mut net = Net::new();
    let host = net.log_in(1);
    net.hosts[host].connection.manage(TaskFunction::ClearTaskSet, 0, None).unwrap();
    net.run();
    assert!(matches!(net.hosts[host].events[..], [Event::Managed(_, _, TaskResponse::FunctionComplete)]));
}

#[test]
fn a_new_session_of_the_same_nexus_waits_until_the_former_and_its_operations_have_ended() {
    let mut net = Net::new();
    let former = net.log_in(1);
    net.read(former);
    let again = net.connect(1);
    assert_eq!(net.closed, [(net.hosts[former].id, CloseReason::Reinstated)]);
    assert!(net.hosts[again].events.is_empty(), "an operation of the former session is under way");
    net.complete(Ok(Payload::zeros(512)));
    assert!(matches!(net.hosts[again].events[..], [Event::LoggedIn]));
    assert_eq!(net.portal.sessions(), 1);
}

#[test]
fn a_connection_that_is_lost_or_silent_leaves_nothing_behind() {
    let mut net = Net::new();
    let (lost, silent, leaving) = (net.log_in(1), net.log_in(2), net.log_in(3));
    net.read(lost);
    net.portal.lost(net.now, net.hosts[lost].id);
    net.run();
    assert_eq!((net.closed.len(), net.portal.sessions()), (1, 3), "its operation is under way");
    net.complete(Err(BlockError::Aborted));
    assert_eq!(net.portal.sessions(), 2);
    assert!(net.portal.connection(net.hosts[lost].id).is_none());
    net.hosts[leaving].connection.logout().unwrap();
    net.run();
    assert_eq!(net.portal.sessions(), 1);
    for _ in 0..2 {
        net.now = net.portal.poll_timeout().expect("a silent connection has a deadline");
        net.portal.handle_timeout(net.now);
    }
    let last = net.portal.poll_work();
    assert!(
        matches!(last, Some(Work::Close { connection, reason: CloseReason::PeerSilent }) if connection == net.hosts[silent].id)
    );
    assert_eq!((net.portal.sessions(), net.portal.poll_timeout()), (0, None));
    assert!(net.now < Time(1) + Duration::from_secs(60));
}
