//! One connection with one member of etcd, and what became of a request over it.

use super::address::Member;
use super::wire;
use evenkeel_meta::records::RECORD_BYTES_MAX;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, ConnectError, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Entries of one page of a range. A page is one message, and a directory may have millions of route entries.
pub(super) const PAGE_ENTRIES: usize = 2048;
/// Bytes of an answer at most: a page of the largest records, and their keys.
const ANSWER_BYTES_MAX: usize = PAGE_ENTRIES * (RECORD_BYTES_MAX + 1024);
/// Without this a member that has lost the others would let requests wait, and watches be silent.
const REQUIRE_LEADER: &str = "hasleader";

/// What every request asks for when it cannot be answered well.
#[derive(Debug)]
pub(super) enum Failed {
    /// It certainly was not carried out and never will be.
    NotDone {
        reason: String,
        /// The connection is of no use any more.
        broken: bool,
    },
    /// It was given away, and nobody knows; the connection is of no use any more.
    Unknown { reason: String },
    /// There is no such lease; nothing happened.
    LeaseNotFound,
    /// The revision is no longer kept.
    Compacted,
    /// The revision does not exist yet.
    Future,
}

/// A connection. There is never another one behind it: where it breaks, it stays broken.
pub(super) struct Connection {
    /// Tells it from those before and after it.
    pub(super) number: u64,
    pub(super) member: String,
    /// Cancelled when it is given up.
    pub(super) gone: CancellationToken,
    grpc: Grpc<Channel>,
}

impl Connection {
    /// Connects. Whoever is there may not answer yet.
    ///
    /// # Errors
    /// Says why not.
    pub(super) async fn open(member: &Member, endpoint: Endpoint, number: u64) -> Result<Self, String> {
        // The channel would connect anew by itself, and send requests over a connection that nobody has looked at.
        let spent = Arc::new(AtomicBool::new(false));
        let to = (member.host.clone(), member.port);
        let connector = tower::service_fn(move |_: Uri| {
            let (to, spent) = (to.clone(), Arc::clone(&spent));
            async move {
                if spent.swap(true, Ordering::Relaxed) {
                    return Err(io::Error::from(io::ErrorKind::NotConnected));
                }
                let stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                Ok(TokioIo::new(stream))
            }
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(|e| root(&e))?;
        let grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { number, member: member.to_string(), gone: CancellationToken::new(), grpc })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn unary<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        within: Duration,
    ) -> Result<A, Failed>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let answered = async {
            grpc.ready().await.map_err(|e| Failed::NotDone { reason: root(&e), broken: true })?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(ask(question), PathAndQuery::from_static(path), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| judge(&status))
        };
        let no_answer = |_| Failed::Unknown { reason: format!("no answer in {within:?}") };
        timeout(within, answered).await.map_err(no_answer)?
    }

    /// Opens a stream in both directions; what is asked may come later than the answers begin.
    pub(super) async fn stream<Q, A>(
        &self,
        path: &'static str,
        questions: impl Stream<Item = Q> + Send + 'static,
        within: Duration,
    ) -> Result<Streaming<A>, Failed>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let opened = async {
            grpc.ready().await.map_err(|e| Failed::NotDone { reason: root(&e), broken: true })?;
            let codec = ProstCodec::<Q, A>::default();
            let answers = grpc.streaming(ask(questions), PathAndQuery::from_static(path), codec).await;
            answers.map(tonic::Response::into_inner).map_err(|status| judge(&status))
        };
        let no_answer = |_| Failed::Unknown { reason: format!("no answer in {within:?}") };
        timeout(within, opened).await.map_err(no_answer)?
    }

    /// The store's revision, by a read that only a member which has the majority behind it can answer.
    pub(super) async fn revision(&self, within: Duration) -> Result<i64, Failed> {
        let question = wire::RangeRequest { key: "/".into(), limit: 1, ..wire::RangeRequest::default() };
        let answer: wire::RangeResponse = self.unary(wire::RANGE, question, within).await?;
        Ok(answer.header.map_or(0, |header| header.revision))
    }
}

fn ask<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(REQUIRE_LEADER, AsciiMetadataValue::from_static("true"));
    request
}

impl Failed {
    /// What failed, in words.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::NotDone { reason, .. } | Self::Unknown { reason } => reason.clone(),
            Self::LeaseNotFound => "there is no such lease".to_owned(),
            Self::Compacted => "the revision is no longer kept".to_owned(),
            Self::Future => "the revision does not exist yet".to_owned(),
        }
    }

    /// The same, with the member that it was about.
    pub(super) fn of(self, member: &str) -> Self {
        match self {
            Self::NotDone { reason, broken } => {
                Self::NotDone { reason: format!("{member}: {reason}"), broken }
            }
            Self::Unknown { reason } => Self::Unknown { reason: format!("{member}: {reason}") },
            Self::LeaseNotFound | Self::Compacted | Self::Future => self,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) const fn broke_the_connection(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::NotDone { broken: true, .. })
    }
}

/// What a status says about the request. Only a few of them say for certain that nothing happened and nothing will:
/// those that etcd gives before it proposes the request to its members, or that follow from the request itself. About
/// all others nothing is known, the more so about what this side's transport says.
pub(super) fn judge(status: &Status) -> Failed {
    let message = status.message();
    if causes(status).any(<dyn Error>::is::<ConnectError>) {
        return Failed::NotDone { reason: root(status), broken: true };
    }
    let reason = if status.source().is_some() { root(status) } else { message.to_owned() };
    if status.source().is_some() || !message.starts_with("etcdserver: ") {
        return Failed::Unknown { reason };
    }
    let not_done = |broken| Failed::NotDone { reason: reason.clone(), broken };
    match status.code() {
        Code::NotFound if message.contains("lease not found") => Failed::LeaseNotFound,
        Code::OutOfRange if message.contains("has been compacted") => Failed::Compacted,
        Code::OutOfRange if message.contains("future revision") => Failed::Future,
        Code::ResourceExhausted if message.contains("database space exceeded") => {
            let reason = format!(
                "{reason}: etcd has used up its quota; compact and defragment it, then disarm its alarm \
                 (docs/operations.md)"
            );
            Failed::NotDone { reason, broken: false }
        }
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::ResourceExhausted => {
            not_done(false)
        }
        // Said before anything is proposed. Another member may know a leader.
        Code::Unavailable if message == "etcdserver: no leader" => not_done(true),
        _ => Failed::Unknown { reason },
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The last cause: what is above it only says that something failed.
fn root(error: &(dyn Error + 'static)) -> String {
    let last: Option<&dyn Display> = causes(error).last().map(|cause| cause as _);
    last.map_or_else(String::new, |last| last.to_string().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: Code, message: &str) -> &'static str {
        match judge(&Status::new(code, message)) {
            Failed::NotDone { broken: false, .. } => "not done",
            Failed::NotDone { broken: true, .. } => "not done, broken",
            Failed::Unknown { .. } => "unknown",
            Failed::LeaseNotFound => "no lease",
            Failed::Compacted => "compacted",
            Failed::Future => "future",
        }
    }

    #[test]
    fn only_what_etcd_says_before_it_proposes_is_certain() {
        for (code, message, expected) in [
            (Code::NotFound, "etcdserver: requested lease not found", "no lease"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", "compacted"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", "future"),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", "not done"),
            (Code::ResourceExhausted, "etcdserver: too many requests", "not done"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "not done"),
            (Code::Unavailable, "etcdserver: no leader", "not done, broken"),
            (Code::Unavailable, "etcdserver: request timed out", "unknown"),
            (Code::Unavailable, "etcdserver: leader changed", "unknown"),
            (Code::Unavailable, "etcdserver: server stopped", "unknown"),
            (Code::Unknown, "etcdserver: something new", "unknown"),
            // Not etcd's: the answer was too long to be read, but the request was carried out.
            (Code::OutOfRange, "Error, decoded message length too large", "unknown"),
            (Code::InvalidArgument, "a proxy's opinion", "unknown"),
        ] {
            assert_eq!(outcome(code, message), expected, "{message}");
        }
    }

    #[test]
    fn a_transport_that_failed_says_nothing_unless_it_never_connected() {
        let lost = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert!(matches!(judge(&lost), Failed::Unknown { .. }));
        let refused = Box::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        let never = Status::from_error(Box::new(ConnectError(refused)));
        assert!(matches!(judge(&never), Failed::NotDone { broken: true, .. }));
    }
}
