//! The bytes of a connection with a peer: as they are, in TLS records, or in plain records with tags.
//!
//! What is common to all three: reading and writing never wait; what cannot be done now is
//! [`io::ErrorKind::WouldBlock`]; and an error of kind [`io::ErrorKind::InvalidData`] says that what arrived is not what
//! the other side sent.

use super::records::{Direction, KEY_BYTES, LENGTH_BYTES, RECORD_BYTES_MAX, RecordError, TAG_BYTES};
use rustls::Connection;
use std::io::{self, IoSlice, Read, Write};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of the buffer that records are received into: some of them, whole.
const INBOUND_BYTES: usize = 2 * (LENGTH_BYTES + RECORD_BYTES_MAX + TAG_BYTES);
/// Bytes that a layer keeps until the kernel takes them, about.
const OUTBOUND_BYTES: usize = 256 << 10;
/// Bytes in front of a TLS record (RFC 8446 section 5.1), and of a record with everything at most (section 5.2).
const TLS_HEADER_BYTES: usize = 5;
const TLS_RECORD_BYTES_MAX: usize = TLS_HEADER_BYTES + (16 << 10) + 256;
/// What the keys of the plain mode are derived with (RFC 8446 section 7.5): the label, and whose direction it is.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-evenkeel-peer-plain";
const FROM_DIALLER: &[u8] = b"from the side that dialled";
const FROM_ACCEPTOR: &[u8] = b"from the side that accepted";

/// A connection with a peer.
pub(super) struct Wire {
    stream: TcpStream,
    layer: Layer,
    /// Nothing that was received is left to be read.
    drained: bool,
}

enum Layer {
    Bare,
    Tls(Box<Tls>),
    Plain(Box<Plain>),
}

struct Tls {
    connection: Connection,
    inbound: Inbound,
}

struct Plain {
    received: Direction,
    sent: Direction,
    inbound: Inbound,
    /// Bytes of the record at the front that were read, of how many.
    opened: Option<(usize, usize)>,
    outbound: Vec<u8>,
    /// Of those, how many the kernel has.
    passed: usize,
}

/// What of the bytes that were written is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flushed {
    /// The kernel took something.
    pub(super) progress: bool,
    /// Something waits until it takes more.
    pub(super) waiting: bool,
}

/// Received bytes: `start..end`.
struct Inbound {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbound {
    fn new() -> Self {
        Self { buffer: vec![0; INBOUND_BYTES], start: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Receives more. There is room: a whole record would have been taken.
    fn receive(&mut self, stream: &TcpStream) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let received = receive(stream, &mut self.buffer[self.end..])?;
        self.end += received;
        Ok(received)
    }
}

/// Receives what is there. If that is less than there was room for, the next call is answered without asking the kernel.
fn receive(stream: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    let received = stream.try_read(space)?;
    if (1..space.len()).contains(&received) {
        let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    Ok(received)
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// A stream as the standard library's traits want it.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    /// A connection on which everything travels as it is and nothing is protected.
    pub(super) const fn bare(stream: TcpStream) -> Self {
        Self { stream, layer: Layer::Bare, drained: false }
    }

    /// A connection that is to be protected; [`Self::shake_hands`] comes first.
    pub(super) fn protected(stream: TcpStream, mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(OUTBOUND_BYTES));
        let tls = Tls { connection, inbound: Inbound::new() };
        Self { stream, layer: Layer::Tls(Box::new(tls)), drained: false }
    }

    /// The stream below.
    #[cfg(test)]
    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The TLS connection, as long as the bytes travel in its records.
    pub(super) fn tls(&self) -> Option<&Connection> {
        match &self.layer {
            Layer::Tls(tls) => Some(&tls.connection),
            Layer::Bare | Layer::Plain(_) => None,
        }
    }

    /// Carries the handshake through. On an error the other side is told what TLS has to say.
    ///
    /// # Errors
    /// As rustls has them, or those of the stream.
    pub(super) async fn shake_hands(&mut self) -> Result<(), HandshakeError> {
        loop {
            self.send_all().await?;
            let Layer::Tls(tls) = &mut self.layer else { return Ok(()) };
            if !tls.connection.is_handshaking() {
                return Ok(());
            }
            match tls.feed(&self.stream) {
                Ok(()) => {}
                Err(Feed::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => self.stream.readable().await?,
                Err(Feed::Io(e)) => return Err(e.into()),
                Err(Feed::Closed) => return Err(HandshakeError::Closed),
                Err(Feed::Tls(e)) => {
                    let _ = self.send_all().await;
                    return Err(HandshakeError::Tls(e));
                }
            }
        }
    }

    /// From now on frames travel in plain records, with keys that the handshake gives to both ends. To be called at the
    /// same place of the stream on both sides: behind the first frame of either.
    ///
    /// # Errors
    /// There are no such keys.
    pub(super) fn go_plain(&mut self) -> io::Result<()> {
        let Layer::Tls(tls) = &mut self.layer else { return Ok(()) };
        let key = |direction: &[u8]| {
            tls.connection
                .export_keying_material([0; KEY_BYTES], EXPORTER_LABEL, Some(direction))
                .map_err(invalid)
        };
        let (dialled, accepted) = (key(FROM_DIALLER)?, key(FROM_ACCEPTOR)?);
        let (sent, received) = match tls.connection {
            Connection::Client(_) => (dialled, accepted),
            Connection::Server(_) => (accepted, dialled),
        };
        let inbound = std::mem::replace(&mut tls.inbound, Inbound::new());
        self.layer = Layer::Plain(Box::new(Plain {
            received: Direction::new(&received),
            sent: Direction::new(&sent),
            inbound,
            opened: None,
            outbound: Vec::new(),
            passed: 0,
        }));
        Ok(())
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.drained { self.stream.readable().await } else { Ok(()) }
    }

    /// Waits until the kernel takes more.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Reads into the space, which is not empty; 0 at the end of the stream.
    ///
    /// # Errors
    /// See the module.
    pub(super) fn try_read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.layer {
            Layer::Bare => receive(&self.stream, space),
            Layer::Tls(tls) => tls.read(&self.stream, space),
            Layer::Plain(plain) => plain.read(&self.stream, space),
        };
        self.drained = read.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        read
    }

    /// Takes bytes from the front of the slices, of which one is not empty; gives how many. What is taken may wait for
    /// [`Self::flush`].
    ///
    /// # Errors
    /// See the module.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Layer::Bare = self.layer {
            return self.stream.try_write_vectored(slices);
        }
        if self.flush()?.waiting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = match &mut self.layer {
            Layer::Tls(tls) => tls.connection.writer().write_vectored(slices)?,
            Layer::Plain(plain) => plain.write(slices),
            Layer::Bare => 0,
        };
        self.flush()?;
        Ok(taken)
    }

    /// Passes on what was written before.
    ///
    /// # Errors
    /// Those of the stream, but not that it takes no more now.
    pub(super) fn flush(&mut self) -> io::Result<Flushed> {
        let mut progress = false;
        loop {
            let (waiting, passed) = match &mut self.layer {
                Layer::Bare => (false, Ok(0)),
                Layer::Tls(tls) if tls.connection.wants_write() => {
                    (true, tls.connection.write_tls(&mut Now(&self.stream)))
                }
                Layer::Plain(plain) if plain.passed < plain.outbound.len() => {
                    (true, plain.pass_on(&self.stream))
                }
                Layer::Tls(_) | Layer::Plain(_) => (false, Ok(0)),
            };
            match passed {
                _ if !waiting => return Ok(Flushed { progress, waiting: false }),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => progress = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed { progress, waiting: true });
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Writes all of it, and waits until the kernel has it.
    ///
    /// # Errors
    /// Those of [`Self::try_write`].
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(&[IoSlice::new(bytes)]) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(e) => return Err(e),
            }
        }
        self.send_all().await
    }

    /// Ends the connection so that the other side gets all that it was sent: if something that it had sent lay here unread,
    /// the kernel would take that back.
    pub(super) async fn part(&mut self) {
        let mut unread = [0; 4096];
        let mut stream = &mut self.stream;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        while tokio::io::AsyncReadExt::read(&mut stream, &mut unread).await.is_ok_and(|n| n > 0) {}
    }

    async fn send_all(&mut self) -> io::Result<()> {
        while self.flush()?.waiting {
            self.writable().await?;
        }
        Ok(())
    }
}

/// Why a handshake failed.
pub(super) enum HandshakeError {
    Tls(rustls::Error),
    Io(io::Error),
    Closed,
}

impl From<io::Error> for HandshakeError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Why no record was taken.
enum Feed {
    Io(io::Error),
    Tls(rustls::Error),
    Closed,
}

impl Tls {
    /// Takes one record, and no byte behind it: what follows may be no TLS.
    fn feed(&mut self, stream: &TcpStream) -> Result<(), Feed> {
        let length = loop {
            let received = self.inbound.bytes();
            if let Some(header) = received.first_chunk::<TLS_HEADER_BYTES>() {
                let length = TLS_HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
                // Whatever is longer is no record; what says so is as good as all of it.
                let length = if length > TLS_RECORD_BYTES_MAX { TLS_HEADER_BYTES } else { length };
                if received.len() >= length {
                    break length;
                }
            }
            match self.inbound.receive(stream) {
                Ok(0) => return Err(Feed::Closed),
                Ok(_) => {}
                Err(e) => return Err(Feed::Io(e)),
            }
        };
        let mut record = &self.inbound.bytes()[..length];
        while !record.is_empty() {
            if self.connection.read_tls(&mut record).map_err(Feed::Io)? == 0 {
                break;
            }
        }
        self.inbound.consume(length);
        self.connection.process_new_packets().map(drop).map_err(Feed::Tls)
    }

    fn read(&mut self, stream: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(space) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The other side closed without TLS's word for it, as a killed process does.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match self.feed(stream) {
                Ok(()) => {}
                Err(Feed::Io(e)) => return Err(e),
                Err(Feed::Closed) => return Ok(0),
                Err(Feed::Tls(e)) => return Err(invalid(e)),
            }
        }
    }
}

impl Plain {
    fn read(&mut self, stream: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((done, whole)) = self.opened {
                let end = whole - TAG_BYTES;
                let left = &self.inbound.bytes()[done..end];
                let count = left.len().min(space.len());
                space[..count].copy_from_slice(&left[..count]);
                self.opened = Some((done + count, whole));
                if done + count == end {
                    self.opened = None;
                    self.inbound.consume(whole);
                }
                return Ok(count);
            }
            let wrong = |e: RecordError| invalid(e);
            if let Some(whole) = Direction::whole(self.inbound.bytes()).map_err(wrong)? {
                self.received.open(&self.inbound.bytes()[..whole]).map_err(wrong)?;
                self.opened = Some((LENGTH_BYTES, whole));
            } else if self.inbound.receive(stream)? == 0 {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let (mut taken, mut at) = (0, 0);
        let mut within = 0;
        while at < slices.len() && self.outbound.len() < OUTBOUND_BYTES {
            let rest =
                [&slices[at][within..]].into_iter().chain(slices[at + 1..].iter().map(|slice| &slice[..]));
            let mut count = self.sent.seal(rest, &mut self.outbound);
            if count == 0 {
                break;
            }
            taken += count;
            while at < slices.len() && count >= slices[at].len() - within {
                count -= slices[at].len() - within;
                (at, within) = (at + 1, 0);
            }
            within += count;
        }
        taken
    }

    fn pass_on(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let passed = stream.try_write(&self.outbound[self.passed..])?;
        self.passed += passed;
        if self.passed == self.outbound.len() {
            self.outbound.clear();
            self.passed = 0;
        }
        Ok(passed)
    }
}

#[cfg(test)]
mod tests;
