//! One iSCSI session on a socket. The protocol is `evenkeel-iscsi`'s; here are only the socket and the steps of a login
//! as a host makes them. Nothing blocks but [`Session::exchange`].

use evenkeel_iscsi::initiator::{Command, Connection, Done, Event, InitiatorConfig, RequestId, Transfer};
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::{Capacity, Request, request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::io::IoSlice;
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
/// How long [`Session::exchange`] waits at most.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);

/// A session with a logical unit.
#[derive(Debug)]
pub struct Session {
    socket: TcpStream,
    connection: Connection,
    address: SocketAddr,
    /// The LUN field of its commands.
    lun: u64,
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
    /// Logs in at a portal and asks for the size of a logical unit, below 256.
    ///
    /// # Errors
    /// One line with the portal and what it did.
    pub fn open(address: SocketAddr, lun: u8, config: InitiatorConfig) -> Result<Self, String> {
        let wrong = |what: String| format!("portal {address}: {what}");
        let socket = TcpStream::connect_timeout(&address, OPEN_TIMEOUT).map_err(|e| wrong(e.to_string()))?;
        socket
            .set_nodelay(true)
            .and_then(|()| socket.set_read_timeout(Some(EXCHANGE_TIMEOUT)))
            .map_err(|e| wrong(e.to_string()))?;
        let capacity =
            Capacity { blocks: 0, block_bytes: 512, blocks_per_physical: 1, thin: false, reads_zeros: false };
        // Peripheral addressing (SAM-5 section 4.7.6): the number is in the second byte.
        let lun = u64::from(lun) << 48;
        let connection = Connection::new(config);
        let mut session = Self { socket, connection, address, lun, capacity, lost: None };
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
    pub fn volume_bytes(&self) -> u64 {
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
        self.connection.submit(Command { lun: self.lun, cdb: request.cdb, transfer }).ok()
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
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &slices[..used], &mut SendAncillaryBuffer::default(), flags) {
                Ok(sent) => self.connection.transmitted(sent),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(e) => self.lost = Some(e.to_string()),
            }
        }
    }

    /// Receives what there is.
    pub(crate) fn receive(&mut self) {
        for _ in 0..RECEIVES_MAX {
            if !self.receive_once(RecvFlags::DONTWAIT) {
                return;
            }
        }
    }

    /// Sends what there is to send, then waits until something comes, for a short time at most: a call of the kernel
    /// each, as long as the socket takes all.
    pub(crate) fn exchange(&mut self) {
        self.send();
        if self.connection.wants_transmit() {
            wait(&mut [self.poll_fd()], EXCHANGE_TIMEOUT);
            self.receive();
        } else if self.receive_once(RecvFlags::empty()) {
            self.receive();
        }
    }

    /// One receive; true if there may be more.
    fn receive_once(&mut self, flags: RecvFlags) -> bool {
        let Some(space) = self.connection.receive_space().filter(|_| self.lost.is_none()) else {
            return false;
        };
        let wanted = space.len();
        match recv(&self.socket, space, flags) {
            Ok((0, _)) => self.lost = Some("the target closed the connection".to_owned()),
            Ok((received, _)) => {
                self.connection.handle_received(received);
                return received == wanted;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(e) => self.lost = Some(e.to_string()),
        }
        false
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
    pub fn close(mut self) {
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
