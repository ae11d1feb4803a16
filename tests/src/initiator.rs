//! The program's own initiator on a blocking socket, for what tools of others cannot show: sense data, digests of data,
//! asynchronous messages, the status of a refused login.

use evenkeel_iscsi::initiator::{Command, Connection, Done, Event, InitiatorConfig, RequestId};
use evenkeel_iscsi::negotiate::Settings;
use evenkeel_iscsi::pdu::{Isid, LoginStatus, TaskFunction, TaskResponse};
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::{Capacity, Request, request};
use evenkeel_scsi::logical_unit::LUN;
use evenkeel_types::Bytes;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Longest time for an answer on a machine that is busy with other tests.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often a wait looks at the time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Slices of one gathering write.
const SLICES_MAX: usize = 64;
/// Unit attentions that a target may have for a new session.
const ATTENTIONS_MAX: usize = 8;
/// Name of the initiator unless a scenario says otherwise.
pub const INITIATOR_NAME: &str = "iqn.2026-01.example.host:scenario";

/// Sessions of one process are told apart by this.
static SESSIONS: AtomicU8 = AtomicU8::new(0);

/// A session, or a discovery session.
#[derive(Debug)]
pub struct Initiator {
    socket: TcpStream,
    connection: Connection,
}

/// Who logs in to what; `None` for discovery.
#[must_use]
pub fn initiator_config(name: &str, target: Option<&str>, settings: Settings) -> InitiatorConfig {
    InitiatorConfig {
        initiator_name: name.to_owned(),
        isid: Isid([0x80, 0x65, 0x6b, 0, 1, SESSIONS.fetch_add(1, Ordering::Relaxed)]),
        target_name: target.map(str::to_owned),
        settings,
    }
}

impl Initiator {
    /// Logs in at a portal, with the status if it is refused.
    ///
    /// # Errors
    /// The status of the refused login.
    ///
    /// # Panics
    /// If there is neither success nor refusal.
    pub fn log_in(portal: &str, config: InitiatorConfig) -> Result<Self, LoginStatus> {
        let socket = TcpStream::connect(portal).unwrap_or_else(|e| panic!("portal {portal}: {e}"));
        socket.set_nodelay(true).expect("a socket takes options");
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("a socket takes options");
        let mut initiator = Self { socket, connection: Connection::new(config) };
        loop {
            match initiator.event(ANSWER_WITHIN) {
                Some(Event::LoggedIn) => return Ok(initiator),
                Some(Event::LoginRefused { status, .. }) => return Err(status),
                Some(_) => {}
                None => panic!("portal {portal} ended the connection in the login"),
            }
        }
    }

    /// Logs in to a volume that everybody may use, and takes the unit attentions that wait for a new session.
    ///
    /// # Panics
    /// If that is not possible.
    #[must_use]
    pub fn open(portal: &str, target: &str) -> Self {
        Self::open_with(portal, target, Settings::default())
    }

    /// The same with what is to be negotiated.
    ///
    /// # Panics
    /// If that is not possible.
    #[must_use]
    pub fn open_with(portal: &str, target: &str, settings: Settings) -> Self {
        let config = initiator_config(INITIATOR_NAME, Some(target), settings);
        let mut initiator = Self::log_in(portal, config)
            .unwrap_or_else(|status| panic!("{target} at {portal} refused the login: {status}"));
        for _ in 0..ATTENTIONS_MAX {
            if initiator.ask(&request::test_unit_ready()).status == Some(Status::Good) {
                return initiator;
            }
        }
        panic!("{target} at {portal} does not become ready")
    }

    /// Sends a command.
    ///
    /// # Panics
    /// If the session takes none.
    pub fn submit(&mut self, request: Request) -> RequestId {
        self.connection.submit(Command::from(request)).expect("the session takes a command")
    }

    /// Sends a command and waits for its end.
    ///
    /// # Panics
    /// If the session ends first.
    #[must_use]
    pub fn ask(&mut self, request: &Request) -> Done {
        let id = self.submit(request.clone());
        loop {
            match self.event(ANSWER_WITHIN) {
                Some(Event::Done(ended, done)) if ended == id => return done,
                Some(Event::Closed(failure)) => panic!("the session was lost: {failure}"),
                Some(_) => {}
                None => panic!("the session ended before the answer to {request:?}"),
            }
        }
    }

    /// Asks for a sign of life; [`Event::Pong`] follows, when everything that was sent before has been taken in.
    ///
    /// # Panics
    /// If the session takes no request.
    pub fn ping(&mut self) -> RequestId {
        self.connection.ping(Bytes::new()).expect("the session takes a ping")
    }

    /// Sends a task management function to logical unit 0, and waits for its answer.
    ///
    /// # Panics
    /// If the session ends first.
    pub fn manage(&mut self, function: TaskFunction) -> TaskResponse {
        let asked = self.connection.manage(function, LUN, None).expect("the session takes a function");
        loop {
            match self.event(ANSWER_WITHIN) {
                Some(Event::Managed(id, _, response)) if id == asked => return response,
                Some(Event::Closed(failure)) => panic!("the session was lost: {failure}"),
                Some(_) => {}
                None => panic!("the session ended before the answer to {function:?}"),
            }
        }
    }

    /// Sends commands that must succeed, as many at once as the target takes.
    ///
    /// # Panics
    /// If one fails, with its sense data, or the session ends first.
    pub fn all_good(&mut self, requests: impl IntoIterator<Item = Request>) {
        let mut requests = requests.into_iter();
        let mut more = true;
        while more || self.connection.open_requests() > 0 {
            while more && self.connection.can_submit() {
                match requests.next() {
                    Some(request) => drop(self.submit(request)),
                    None => more = false,
                }
            }
            if self.connection.open_requests() == 0 {
                continue;
            }
            match self.event(ANSWER_WITHIN) {
                Some(Event::Done(_, done)) => assert_eq!(done.status, Some(Status::Good), "{:?}", done.sense),
                Some(Event::Closed(failure)) => panic!("the session was lost: {failure}"),
                Some(_) => {}
                None => panic!("the session ended before all answers came"),
            }
        }
    }

    /// Sends a command that must succeed; gives what was read.
    ///
    /// # Panics
    /// If it fails, with its sense data.
    pub fn good(&mut self, request: &Request) -> Bytes {
        let done = self.ask(request);
        assert_eq!(done.status, Some(Status::Good), "{:02x?}: {:?}", request.cdb, done.sense);
        done.data
    }

    /// Size of the logical unit in bytes, and of its logical blocks.
    ///
    /// # Panics
    /// If it does not tell.
    pub fn capacity(&mut self) -> (u64, u32) {
        let data = self.good(&request::read_capacity_16());
        let capacity = Capacity::parse_16(&data).expect("READ CAPACITY data");
        (capacity.bytes().expect("a size in bytes"), capacity.block_bytes)
    }

    /// The targets that the initiator may use, each with its portals.
    ///
    /// # Panics
    /// If the target does not answer.
    pub fn discover(&mut self) -> Vec<(String, Vec<String>)> {
        self.connection.send_targets("All").expect("a discovery session takes a text request");
        let pairs = loop {
            match self.event(ANSWER_WITHIN).expect("an answer to SendTargets") {
                Event::Text(_, pairs) => break pairs,
                Event::Closed(failure) => panic!("the session was lost: {failure}"),
                _ => {}
            }
        };
        let mut targets: Vec<(String, Vec<String>)> = Vec::new();
        for (key, value) in pairs {
            match (key.as_str(), targets.last_mut()) {
                ("TargetName", _) => targets.push((value, Vec::new())),
                ("TargetAddress", Some((_, portals))) => portals.push(value),
                _ => panic!("{key}={value} in an answer to SendTargets"),
            }
        }
        targets
    }

    /// Asks for a logout; [`Event::LoggedOut`] follows.
    ///
    /// # Panics
    /// If the session takes no request.
    pub fn begin_logout(&mut self) {
        self.connection.logout().expect("the session takes a logout");
    }

    /// The next event; `None` once the target has closed the connection and nothing more is to come.
    ///
    /// # Panics
    /// If neither comes within the limit.
    pub fn event(&mut self, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.connection.poll_event() {
                return Some(event);
            }
            assert!(Instant::now() < deadline, "nothing came within {limit:?}");
            if !self.send() {
                return None;
            }
            let space = self.connection.receive_space()?;
            match self.socket.read(space) {
                Ok(0) => return None,
                Ok(received) => self.connection.handle_received(received),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends what there is; false if the target takes nothing any more.
    pub fn send(&mut self) -> bool {
        while self.connection.wants_transmit() {
            let sent = {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let used = self.connection.transmit(&mut slices);
                self.socket.write_vectored(&slices[..used])
            };
            match sent {
                Ok(sent) => self.connection.transmitted(sent),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}
