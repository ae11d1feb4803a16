//! A blocking iSCSI session on Evenkeel's own initiator side, with several commands under way.

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::initiator::{Connection, Event, InitiatorConfig, RequestId};
use evenkeel_iscsi::pdu::Isid;
use evenkeel_scsi::initiator::{Request, request};
use evenkeel_scsi::{SenseKey, Status};
use evenkeel_types::Bytes;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time in which anything must come of a session that waits: more than the servers' own patience with a request.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(40);
/// Time in which a portal must take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Unit attentions that a target may have for a new session.
const ATTENTIONS_MAX: usize = 8;
/// Bytes of a logical block.
const LOGICAL_BLOCK: u32 = 512;

/// How a command ended.
#[derive(Debug)]
pub enum Ended {
    /// With success, and with what was read.
    Good(Bytes),
    /// The target took no notice of it: BUSY or TASK SET FULL.
    Busy,
    /// A COMPARE AND WRITE found something else.
    Miscompare,
    /// It failed.
    Failed(String),
}

/// One session with one volume.
pub struct Session {
    socket: TcpStream,
    connection: Connection,
    /// A silence longer than this ends it.
    patience: Duration,
}

impl Session {
    /// Logs in at a portal and waits until the volume is ready.
    ///
    /// # Errors
    /// What the portal did instead.
    pub fn open(portal: &str, target: &str) -> Result<Self, String> {
        Self::open_with(portal, target, SILENCE_MAX)
    }

    /// The same for a host that gives a session up after a silence as long as this.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(portal: &str, target: &str, patience: Duration) -> Result<Self, String> {
        static SESSIONS: AtomicU32 = AtomicU32::new(0);
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let config = InitiatorConfig {
            initiator_name: format!("iqn.2026-01.io.evenkeel.test:{}", std::process::id()),
            // The random format of RFC 7143 section 11.12.5, numbered.
            isid: Isid([0x80, 0, number[0], number[1], number[2], number[3]]),
            target_name: Some(target.to_owned()),
            settings: Settings::default(),
        };
        let address = portal.parse().map_err(|e| format!("portal '{portal}': {e}"))?;
        let socket = TcpStream::connect_timeout(&address, CONNECT_WITHIN).map_err(|e| e.to_string())?;
        socket
            .set_nodelay(true)
            .and_then(|()| socket.set_write_timeout(Some(patience)))
            .map_err(|e| e.to_string())?;
        let mut session = Self { socket, connection: Connection::new(config), patience };
        loop {
            match session.event_within(patience)?.ok_or("no answer to the login")? {
                Event::LoggedIn => break,
                Event::LoginRefused { status, .. } => return Err(format!("login refused: {status:?}")),
                _ => {}
            }
        }
        for _ in 0..ATTENTIONS_MAX {
            let asked = session.submit(request::test_unit_ready());
            match session.wait_end()? {
                (ended, Ended::Good(_)) if ended == asked => return Ok(session),
                _ => {}
            }
        }
        Err("the logical unit does not become ready".to_owned())
    }

    /// Asks for bytes; whole logical blocks.
    pub fn read(&mut self, offset: u64, len: u32) -> RequestId {
        let block = LOGICAL_BLOCK;
        self.submit(request::read_16(offset / u64::from(block), len / block, block))
    }

    /// Sends bytes; whole logical blocks.
    pub fn write(&mut self, offset: u64, data: Bytes) -> RequestId {
        self.submit(request::write_16(offset / u64::from(LOGICAL_BLOCK), data, LOGICAL_BLOCK))
    }

    /// Puts bytes where others are expected, of the same number: whole logical blocks within one of 4 KiB.
    pub fn compare_and_write(&mut self, offset: u64, expected: &[u8], data: &[u8]) -> RequestId {
        let block = LOGICAL_BLOCK;
        self.submit(request::compare_and_write(offset / u64::from(block), expected, data, block))
    }

    fn submit(&mut self, request: Request) -> RequestId {
        self.connection.submit(request.into()).expect("the window has room for what a scenario has under way")
    }

    /// Waits for the end of the next command.
    ///
    /// # Errors
    /// The session is lost, and with it the outcome of all that was under way.
    pub fn wait_end(&mut self) -> Result<(RequestId, Ended), String> {
        let patience = self.patience;
        self.wait_end_within(patience)?.ok_or_else(|| format!("nothing ended in {patience:?}"))
    }

    /// Waits for the end of the next command; none if nothing ends within this time.
    ///
    /// # Errors
    /// As [`Self::wait_end`].
    pub fn wait_end_within(&mut self, limit: Duration) -> Result<Option<(RequestId, Ended)>, String> {
        let deadline = Instant::now() + limit;
        while let Some(event) = self.event_within(deadline.saturating_duration_since(Instant::now()))? {
            match event {
                Event::Done(id, done) => {
                    let is = |key: SenseKey| done.sense.as_ref().is_some_and(|sense| sense.key == key);
                    let (attention, differs) = (is(SenseKey::UnitAttention), is(SenseKey::Miscompare));
                    let ended = match done.status {
                        Some(Status::Good) => Ended::Good(done.data),
                        Some(Status::Busy | Status::TaskSetFull) => Ended::Busy,
                        Some(Status::CheckCondition) if attention => Ended::Busy,
                        Some(Status::CheckCondition) if differs => Ended::Miscompare,
                        status => Ended::Failed(format!("{status:?} {:?}", done.sense)),
                    };
                    return Ok(Some((id, ended)));
                }
                Event::Rejected { reason } => return Err(format!("rejected: {reason:02x}h")),
                Event::LoggedOut => return Err("logged out".to_owned()),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next event; none if it does not come within this time.
    fn event_within(&mut self, limit: Duration) -> Result<Option<Event>, String> {
        let deadline = Instant::now() + limit;
        self.flush()?;
        loop {
            match self.connection.poll_event() {
                Some(Event::Closed(failure)) => return Err(failure.to_string()),
                Some(event) => return Ok(Some(event)),
                None => {}
            }
            self.flush()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
            let space = self.connection.receive_space().ok_or("the connection is closed")?;
            match self.socket.read(space) {
                Ok(0) => return Err("closed by the target".to_owned()),
                Ok(n) => self.connection.handle_received(n),
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Sends all that there is to send.
    fn flush(&mut self) -> Result<(), String> {
        while self.connection.wants_transmit() {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.connection.transmit(&mut slices);
            match self.socket.write_vectored(&slices[..used]) {
                Ok(sent) => self.connection.transmitted(sent),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }
}
