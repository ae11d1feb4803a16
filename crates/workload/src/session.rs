//! One iSCSI session on a socket that never blocks. The protocol is `evenkeel-iscsi`'s; here are only the socket and
//! the steps of a login as a host makes them.

use evenkeel_iscsi::initiator::{Command, Connection, Done, Event, InitiatorConfig, RequestId, Transfer};
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::{Capacity, Request, request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Time for connection, login and the first commands.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a logout.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(1);
/// Slices of one gathering write.
const SLICES_MAX: usize = 64;
/// Unit attentions that a target may have for a new session.
const ATTENTIONS_MAX: usize = 8;
/// Receives in a row from one session before others get their turn.
const RECEIVES_MAX: usize = 16;

/// A session with a logical unit.
#[derive(Debug)]
pub(crate) struct Session {
    socket: TcpStream,
    connection: Connection,
    address: SocketAddr,
    capacity: Capacity,
    /// Why it is no longer open.
    lost: Option<String>,
}

/// What came of the socket and the protocol.
pub(crate) enum News {
    /// A command ended.
    Done(RequestId, Done),
    /// The session is lost, and with it the outcome of all open commands.
    Lost(String),
}

impl Session {
    /// Logs in at a portal and asks for the size of LUN 0.
    ///
    /// # Errors
    /// One line with the portal and what it did.
    pub(crate) fn open(address: SocketAddr, config: InitiatorConfig) -> Result<Self, String> {
        let wrong = |what: String| format!("portal {address}: {what}");
        let socket = TcpStream::connect_timeout(&address, OPEN_TIMEOUT).map_err(|e| wrong(e.to_string()))?;
        socket
            .set_nodelay(true)
            .and_then(|()| socket.set_nonblocking(true))
            .map_err(|e| wrong(e.to_string()))?;
        let capacity =
            Capacity { blocks: 0, block_bytes: 512, blocks_per_physical: 1, thin: false, reads_zeros: false };
        let mut session = Self { socket, connection: Connection::new(config), address, capacity, lost: None };
        session.begin(Instant::now() + OPEN_TIMEOUT).map_err(wrong)?;
        Ok(session)
    }

    fn begin(&mut self, deadline: Instant) -> Result<(), String> {
        loop {
            match self.wait_event(deadline)? {
                Event::LoggedIn => break,
                Event::LoginRefused { status, .. } => {
                    return Err(format!("the login was refused: {status:?}"));
                }
                _ => {}
            }
        }
        // A new nexus is told of everything that happened before it; that is not the load's business.
        for _ in 0..ATTENTIONS_MAX {
            if self.ask(&request::test_unit_ready(), deadline)?.status == Some(Status::Good) {
                let data = self.ask(&request::read_capacity_16(), deadline)?.data;
                self.capacity = Capacity::parse_16(&data).map_err(|e| e.to_string())?;
                return Ok(());
            }
        }
        Err("the logical unit does not become ready".to_owned())
    }

    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Done, String> {
        let id = self.submit(request).ok_or("the session takes no command")?;
        loop {
            if let Event::Done(ended, done) = self.wait_event(deadline)?
                && ended == id
            {
                return Ok(done);
            }
        }
    }

    /// The next event, waiting for it; only while nothing else is going on.
    fn wait_event(&mut self, deadline: Instant) -> Result<Event, String> {
        loop {
            match self.connection.poll_event() {
                Some(Event::Closed(failure)) => return Err(failure.to_string()),
                Some(event) => return Ok(event),
                None => {}
            }
            if let Some(why) = &self.lost {
                return Err(why.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("no answer in time".to_owned());
            }
            self.send();
            wait(&mut [self.poll_fd()], left);
            self.receive();
        }
    }

    /// Size of the logical unit in bytes.
    pub(crate) fn volume_bytes(&self) -> u64 {
        self.capacity.bytes().unwrap_or(u64::MAX)
    }

    /// Where the portal is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a command would be taken now.
    pub(crate) fn can_submit(&self) -> bool {
        self.lost.is_none() && self.connection.can_submit()
    }

    /// A read of whole blocks. Gives the number under which it ends.
    pub(crate) fn read(&mut self, offset: u64, len: u32) -> Option<RequestId> {
        let block = self.capacity.block_bytes;
        self.submit(&request::read_16(offset / u64::from(block), len / block, block))
    }

    /// A write of whole blocks. Gives the number under which it ends.
    pub(crate) fn write(&mut self, offset: u64, data: evenkeel_types::Bytes) -> Option<RequestId> {
        let block = self.capacity.block_bytes;
        self.submit(&request::write_16(offset / u64::from(block), data, block))
    }

    fn submit(&mut self, request: &Request) -> Option<RequestId> {
        let transfer = match request.data_in_len {
            0 if request.data_out.is_empty() => Transfer::None,
            0 => Transfer::Out(request.data_out.clone().into()),
            len => Transfer::In(len),
        };
        self.connection.submit(Command { lun: 0, cdb: request.cdb, transfer }).ok()
    }

    /// What the session waits for on its socket.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        let sends = if self.connection.wants_transmit() { PollFlags::OUT } else { PollFlags::empty() };
        PollFd::new(&self.socket, PollFlags::IN | sends)
    }

    /// Sends as much as the socket takes.
    pub(crate) fn send(&mut self) {
        while self.lost.is_none() && self.connection.wants_transmit() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = self.connection.transmit(&mut slices);
            match (&self.socket).write_vectored(&slices[..used]) {
                Ok(sent) => self.connection.transmitted(sent),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.lost = Some(e.to_string()),
            }
        }
    }

    /// Receives what there is.
    pub(crate) fn receive(&mut self) {
        for _ in 0..RECEIVES_MAX {
            let Some(space) = self.connection.receive_space().filter(|_| self.lost.is_none()) else { return };
            let wanted = space.len();
            match (&self.socket).read(space) {
                Ok(0) => self.lost = Some("the target closed the connection".to_owned()),
                Ok(received) => {
                    self.connection.handle_received(received);
                    if received < wanted {
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.lost = Some(e.to_string()),
            }
        }
    }

    /// What happened.
    pub(crate) fn news(&mut self) -> Option<News> {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Done(id, done) => return Some(News::Done(id, done)),
                Event::Closed(failure) => drop(self.lost.get_or_insert_with(|| failure.to_string())),
                Event::LoggedOut => drop(self.lost.get_or_insert_with(|| "logged out".to_owned())),
                Event::Rejected { reason } => {
                    self.lost = Some(format!("the target rejected a PDU (reason {reason:02x}h)"));
                }
                _ => {}
            }
        }
        self.lost.clone().map(News::Lost)
    }

    /// Logs out, if the session is open and the target answers in time.
    pub(crate) fn close(mut self) {
        if self.lost.is_none() && self.connection.logout().is_ok() {
            let deadline = Instant::now() + LOGOUT_TIMEOUT;
            while self.wait_event(deadline).is_ok_and(|event| !matches!(event, Event::LoggedOut)) {}
        }
    }
}

/// Waits until a socket is ready or the time is over. A signal ends it early, which does no harm.
pub(crate) fn wait(fds: &mut [PollFd<'_>], at_most: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(at_most.subsec_nanos()),
    };
    let _ = poll(fds, Some(&timeout));
}
