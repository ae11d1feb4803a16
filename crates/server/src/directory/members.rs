//! The members of an etcd: one connection with one of them, and another one when it breaks.
//!
//! All members are asked at the same time, and the first that answers a linearizable read is taken. So nothing is ever
//! given to a member that stands still, that is cut off from the others, or that runs on an older state than was seen
//! before. Whether there is a connection is also what is told to people: one line when it is lost, one when it is back.

use super::address::{EtcdAddress, EtcdTls, Member};
use super::connection::{Connection, Failed};
use crate::error::{ServeError, error};
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Time that a request gets, from when it leaves until its answer is there. An election among etcd's members takes
/// one to two seconds.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(3);
/// Time for a connection: TCP, TLS, and the answer to a first read.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// After all members failed, everybody is told the same for so long, and nobody tries.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(250);
/// How often it is looked whether the connection is still good. A watch is told nothing by a member that stands still.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// See the module's head.
pub(super) struct Members {
    endpoints: Vec<(Member, Endpoint)>,
    /// The highest revision that an answer named. A store that is below it later is another one.
    highest: AtomicI64,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// When and why all members failed last.
    failed: Option<(Instant, String)>,
    /// Why the last connection was given up.
    dropped: Option<String>,
    /// Since when there is none and people know.
    lost: Option<Instant>,
    was_connected: bool,
}

impl Members {
    /// # Errors
    /// One line: a file for TLS cannot be read, or says nothing.
    pub(super) fn new(address: &EtcdAddress, tls: &EtcdTls) -> Result<Self, ServeError> {
        let tls = address.tls.then(|| client_tls(tls)).transpose()?;
        let endpoint = |member: &Member| {
            let wrong = |e: tonic::transport::Error| error(format!("directory member '{member}': {e}"));
            let scheme = if tls.is_some() { "https" } else { "http" };
            let mut endpoint = Endpoint::from_shared(format!("{scheme}://{member}")).map_err(wrong)?;
            if let Some(tls) = &tls {
                endpoint = endpoint.tls_config(tls.clone().domain_name(&member.host)).map_err(wrong)?;
            }
            Ok((member.clone(), endpoint))
        };
        Ok(Self {
            endpoints: address.members.iter().map(endpoint).collect::<Result<_, ServeError>>()?,
            highest: AtomicI64::new(0),
            numbers: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    /// The highest revision that was seen.
    pub(super) fn highest(&self) -> i64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// Takes note of a revision that an answer named.
    pub(super) fn saw(&self, revision: i64) {
        self.highest.fetch_max(revision, Ordering::Relaxed);
    }

    /// The present connection, or a new one.
    ///
    /// # Errors
    /// Says why no member can be used.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, String> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some((at, why)) = &state.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(why.clone());
        }
        match self.race().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.found(&connection);
                Ok(connection)
            }
            Err(why) => {
                state.failed(&why);
                Err(why)
            }
        }
    }

    /// Gives a connection up, unless somebody did already.
    pub(super) async fn give_up(&self, connection: &Connection, why: &str) {
        let mut state = self.state.lock().await;
        if state.connection.as_ref().is_some_and(|present| present.number == connection.number) {
            state.connection = None;
            state.dropped = Some(why.to_owned());
            connection.gone.cancel();
        }
    }

    /// Asks for something that may be asked again.
    ///
    /// # Errors
    /// What the last attempt came to.
    pub(super) async fn read<Q, A>(&self, path: &'static str, question: &Q) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.attempt(path, question, |failed| !matches!(failed, Failed::Unknown { .. })).await
    }

    /// Asks for something that must not be asked twice.
    ///
    /// # Errors
    /// What the last attempt came to; only an attempt that came to nothing for certain is followed by another.
    pub(super) async fn write<Q, A>(&self, path: &'static str, question: &Q) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.attempt(path, question, |_| true).await
    }

    async fn attempt<Q, A>(
        &self,
        path: &'static str,
        question: &Q,
        is_final: impl Fn(&Failed) -> bool,
    ) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut is_second = false;
        loop {
            let connection = self.connection().await;
            let connection = connection.map_err(|reason| Failed::NotDone { reason, broken: false })?;
            let answer = connection.unary(path, question.clone(), REQUEST_WITHIN).await;
            let failed = match answer {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed.of(&connection.member),
            };
            if failed.broke_the_connection() {
                self.give_up(&connection, &failed.reason()).await;
            }
            let may_go_on = matches!(failed, Failed::NotDone { broken: true, .. }) || !is_final(&failed);
            if is_second || !may_go_on {
                return Err(failed);
            }
            is_second = true;
        }
    }

    /// Connects with all members at once and takes the first that is of use.
    async fn race(&self) -> Result<Connection, String> {
        let mut attempts = JoinSet::new();
        for (member, endpoint) in &self.endpoints {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let (member, endpoint, least) = (member.clone(), endpoint.clone(), self.highest());
            attempts.spawn(async move {
                let tried = timeout(CONNECT_WITHIN, greet(&member, endpoint, number, least)).await;
                let tried = tried.unwrap_or_else(|_| Err(format!("no answer in {CONNECT_WITHIN:?}")));
                tried.map_err(|why| format!("{member}: {why}"))
            });
        }
        let mut reasons = Vec::new();
        while let Some(ended) = attempts.join_next().await {
            match ended.unwrap_or_else(|e| Err(e.to_string())) {
                Ok((connection, revision)) => {
                    self.saw(revision);
                    return Ok(connection);
                }
                Err(why) => reasons.push(why),
            }
        }
        reasons.sort();
        Err(reasons.join(", "))
    }

    /// Looks after the connection for ever.
    pub(super) async fn look_after(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            // Without one this is the attempt that notices that etcd is back.
            let Ok(connection) = self.connection().await else { continue };
            let least = self.highest();
            match connection.revision(REQUEST_WITHIN).await.map(|revision| check(revision, least)) {
                Ok(Ok(revision)) => self.saw(revision),
                Ok(Err(why)) => self.give_up(&connection, &why).await,
                Err(failed) if failed.broke_the_connection() => {
                    self.give_up(&connection, &failed.of(&connection.member).reason()).await;
                }
                Err(_) => {}
            }
        }
    }
}

impl State {
    fn found(&mut self, connection: &Arc<Connection>) {
        self.connection = Some(Arc::clone(connection));
        self.failed = None;
        let member = &connection.member;
        match (self.lost.take(), self.dropped.take()) {
            (Some(since), _) => {
                let seconds = since.elapsed().as_secs_f64();
                tracing::info!("the directory is reached again, through {member}, after {seconds:.1} s");
            }
            (None, Some(why)) => tracing::info!("the directory is now reached through {member}: {why}"),
            (None, None) => tracing::debug!("the directory is reached through {member}"),
        }
        self.was_connected = true;
    }

    fn failed(&mut self, why: &str) {
        self.failed = Some((Instant::now(), why.to_owned()));
        if self.was_connected && self.lost.is_none() {
            self.lost = Some(Instant::now());
            tracing::warn!(
                "the directory cannot be reached: {why}; reads and writes go on, what needs the directory waits"
            );
        }
    }
}

/// Connects and asks for the revision.
async fn greet(
    member: &Member,
    endpoint: Endpoint,
    number: u64,
    least: i64,
) -> Result<(Connection, i64), String> {
    let connection = Connection::open(member, endpoint, number).await?;
    let revision = connection.revision(CONNECT_WITHIN).await.map_err(|failed| failed.reason())?;
    Ok((connection, check(revision, least)?))
}

/// A directory's revision never falls. `least` is what was seen before the question was sent.
fn check(revision: i64, least: i64) -> Result<i64, String> {
    if revision >= least {
        return Ok(revision);
    }
    Err(format!(
        "its revision fell from {least} to {revision}, so it was restored from a backup: stop all servers of the group and \
         go on as docs/operations.md says"
    ))
}

fn client_tls(files: &EtcdTls) -> Result<ClientTlsConfig, ServeError> {
    let read = |what: &str, path: &Path| {
        let wrong = |e: &dyn std::fmt::Display| error(format!("{what} '{}': {e}", path.display()));
        let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
        if pem.windows(11).any(|window| window == b"-----BEGIN ") {
            Ok(pem)
        } else {
            Err(wrong(&"no PEM in it"))
        }
    };
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = &files.ca {
        tls = tls.ca_certificate(Certificate::from_pem(read("directory_tls.ca", ca)?));
    }
    if let Some((certificate, key)) = &files.identity {
        let (certificate, key) = (read("directory_tls.cert", certificate)?, read("directory_tls.key", key)?);
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_went_back_is_refused() {
        assert_eq!(check(7, 7), Ok(7));
        let why = check(6, 7).unwrap_err();
        assert!(why.contains("from 7 to 6") && why.contains("restored"), "{why}");
    }
}
