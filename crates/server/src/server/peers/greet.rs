//! The beginning of a connection: who is there, shown by a certificate where the group has an authority, and told by a
//! hello.

use super::super::core::Core;
use super::security::Security;
use super::wire::{HandshakeError, Wire};
use crate::security::certificate::{self, Fingerprint};
use crate::security::tls::{ENCRYPTED, JOIN, PLAIN, no_dns_name};
use evenkeel_peer::{Decoder, Encoder, FrameError, GroupHash, Hello, Message, Peer};
use evenkeel_types::ServerId;
use rustls::{CertificateError, ClientConnection, Connection, ServerConnection};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Why a connection did not come to stand.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Of which kind it is: what is told once.
    pub(super) kind: &'static str,
    /// What is wrong, in one line.
    pub(super) line: String,
    /// Somebody is there who should not be.
    pub(super) alarming: bool,
}

impl Refusal {
    pub(super) fn new(kind: &'static str, line: impl Into<String>) -> Self {
        Self { kind, line: line.into(), alarming: false }
    }

    pub(super) fn alarming(kind: &'static str, line: impl Into<String>) -> Self {
        Self { alarming: true, ..Self::new(kind, line) }
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::InvalidData => Self::new("damaged", e.to_string()),
            _ => Self::new("broken", e.to_string()),
        }
    }
}

impl From<FrameError> for Refusal {
    fn from(e: FrameError) -> Self {
        let kind = match &e {
            FrameError::VersionMismatch { .. } => "another wire version",
            FrameError::MagicMismatch { .. } => "no frame",
            _ => "a bad frame",
        };
        Self::new(kind, e.to_string())
    }
}

impl From<HandshakeError> for Refusal {
    fn from(e: HandshakeError) -> Self {
        use rustls::Error;
        let e = match e {
            HandshakeError::Closed => return Self::new("closed", "closed by the other side"),
            HandshakeError::Io(e) => return e.into(),
            HandshakeError::Tls(e) => e,
        };
        match &e {
            Error::InvalidCertificate(CertificateError::Revoked) => {
                Self::alarming("revoked", "the other side shows a certificate that was revoked")
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Self::alarming(
                    "another authority",
                    "the other side shows a certificate that this group's authority did not sign",
                )
            }
            Error::InvalidCertificate(CertificateError::NotValidForName) => Self::alarming(
                "another group",
                "the other side shows a certificate that names no server of this group",
            ),
            Error::InvalidCertificate(why) => Self::alarming(
                "a bad certificate",
                format!("the other side shows a bad certificate: {why:?}"),
            ),
            Error::AlertReceived(alert) => not_accepted(alert),
            Error::InvalidMessage(_) => {
                Self::alarming("no TLS", "the other side does not speak TLS: it shows no certificate")
            }
            _ => Self::new("no handshake", format!("no TLS handshake: {e}")),
        }
    }
}

/// Who is at the other end of a connection that stands.
pub(super) struct Met {
    pub(super) peer: Peer,
    pub(super) certificate: Option<Fingerprint>,
}

/// What became of the beginning.
pub(super) enum Begun {
    /// A peer is there, and both sides accept each other.
    Met(Met),
    /// Somebody wants to join, who shows no certificate.
    WantsToJoin(Rc<Security>),
}

/// A stream as the group wants it: as it is, or protected.
pub(super) fn wire(core: &Core, stream: TcpStream, expects: Option<ServerId>) -> Result<Wire, Refusal> {
    let Some(security) = core.with_links(|links| links.security.clone()) else {
        return Ok(Wire::bare(stream));
    };
    let tls = &security.tls;
    let made = match expects {
        Some(_) => ClientConnection::new(Arc::clone(&tls.dialling), no_dns_name()).map(Connection::Client),
        None => ServerConnection::new(Arc::clone(&tls.accepting)).map(Connection::Server),
    };
    Ok(Wire::protected(stream, made.map_err(HandshakeError::Tls)?))
}

/// Shows certificates and exchanges hellos; gives who is there.
pub(super) async fn greet(
    core: &Rc<Core>,
    wire: &mut Wire,
    decoder: &mut Decoder,
    expects: Option<ServerId>,
) -> Result<Begun, Refusal> {
    wire.shake_hands().await?;
    let mut shown = None;
    let mut goes_plain = false;
    if let Some(tls) = wire.tls() {
        match tls.alpn_protocol() {
            Some(ENCRYPTED) => {}
            Some(PLAIN) => goes_plain = true,
            Some(JOIN) if expects.is_none() => {
                let security = core.with_links(|links| links.security.clone());
                return Ok(Begun::WantsToJoin(security.expect("there is TLS only with it")));
            }
            _ => {
                return Err(Refusal::alarming(
                    "no peer",
                    "the other side does not ask for the protocol of peers",
                ));
            }
        }
        shown = Some(shown_by(core, tls)?);
    }
    let (local, group) = core.with_links(|links| (links.local.clone(), links.local.group_hash()));
    let me = Peer { server: local.server, incarnation: local.incarnation };
    send(wire, me, group, &Message::Hello(local.hello(expects))).await?;
    let hello = receive_hello(wire, decoder).await?;
    // The first frame of either side is behind the handshake, all others are records of their own.
    if goes_plain {
        wire.go_plain()?;
    }
    let judged = local
        .accept(&hello, expects, |server| core.known_incarnation(server))
        .map_err(|refusal| Refusal::new("a refused hello", refusal.to_string()))
        .and_then(|peer| check_shown(core, peer, shown.as_ref()).map(|()| peer));
    match judged {
        Ok(peer) => {
            decoder.expect(peer, group);
            Ok(Begun::Met(Met { peer, certificate: shown.map(|shown| shown.certificate) }))
        }
        Err(refusal) => {
            send(wire, me, group, &Message::Refuse { reason: refusal.line.clone() }).await?;
            Err(refusal)
        }
    }
}

/// What the other side has shown.
struct Shown {
    certificate: Fingerprint,
    /// The name of the server that the certificate is for.
    name: String,
}

fn shown_by(core: &Core, tls: &Connection) -> Result<Shown, Refusal> {
    let group = core.with_links(|links| links.local.group.clone());
    let Some(certificate) = tls.peer_certificates().and_then(<[_]>::first) else {
        return Err(Refusal::alarming("no certificate", "the other side shows no certificate"));
    };
    // The handshake has looked at all of it; this only reads the name.
    let name = certificate::server_of(certificate, &group);
    let name = name.ok_or_else(|| Refusal::alarming("another group", "the certificate names no server"))?;
    Ok(Shown { certificate: certificate::fingerprint(certificate), name })
}

/// Whether the server that the hello names is the one that the certificate is for. A certificate bears the name of its
/// server, not its id, which a server has only once it has started: the directory says which belong together.
fn check_shown(core: &Core, peer: Peer, shown: Option<&Shown>) -> Result<(), Refusal> {
    let Some(shown) = shown else { return Ok(()) };
    let server = peer.server;
    // The handshake has looked, but it takes its time.
    if core.with_links(|links| links.security.as_ref().is_some_and(|own| own.has_revoked(shown.certificate)))
    {
        return Err(HandshakeError::Tls(CertificateError::Revoked.into()).into());
    }
    match core.server_name(server) {
        Some(name) if name == shown.name => Ok(()),
        Some(name) => Err(Refusal::alarming(
            "another name",
            format!(
                "peer calls itself {server}, which is '{name}', with the certificate of '{}'",
                shown.name
            ),
        )),
        None => Err(Refusal::new(
            "not known yet",
            format!(
                "peer calls itself {server}, which this server's view of the directory does not know yet"
            ),
        )),
    }
}

async fn send(wire: &mut Wire, me: Peer, group: GroupHash, message: &Message) -> Result<(), Refusal> {
    let pieces = Encoder::new(me, group).encode(message);
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
    Ok(wire.write_all(&bytes).await?)
}

async fn receive_hello(wire: &mut Wire, decoder: &mut Decoder) -> Result<Hello, Refusal> {
    loop {
        match decoder.poll_frame()?.map(|frame| frame.message) {
            Some(Message::Hello(hello)) => return Ok(hello),
            Some(Message::Refuse { reason }) => return Err(refused(&reason)),
            Some(_) => return Err(Refusal::new("no hello", "the other side did not say hello")),
            None => {}
        }
        match wire.try_read(decoder.receive_space()) {
            Ok(0) => return Err(Refusal::new("closed", "closed by the other side")),
            Ok(n) => decoder.handle_received(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wire.readable().await?,
            Err(e) => return Err(told_by_tls(wire, e)),
        }
    }
}

/// What TLS says after the handshake: that the other side did not like what it was shown.
fn told_by_tls(wire: &Wire, e: io::Error) -> Refusal {
    match (wire.tls(), e.kind()) {
        (Some(_), io::ErrorKind::InvalidData) => not_accepted(e.to_string().as_str()),
        _ => e.into(),
    }
}

fn not_accepted(why: &(impl std::fmt::Debug + ?Sized)) -> Refusal {
    Refusal::alarming(
        "not accepted",
        format!("the other side does not accept this server's certificate: {why:?}"),
    )
}

/// The other side has refused this one.
pub(super) fn refused(reason: &str) -> Refusal {
    // One line, whatever the other side says.
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(300).collect();
    Refusal::new("refused by the other side", format!("refused by the other side: {reason}"))
}

#[cfg(test)]
mod tests;
