//! The group's side of a join: a machine without a certificate shows a join token and gets one.

use super::greet::Refusal;
use super::security::Security;
use super::wire::Wire;
use crate::clock::wall_ms;
use crate::error::{ServeError, error};
use crate::membership;
use crate::security::authority::{self, Authority, PublicKey};
use crate::security::join::{Grant, JoinReply, JoinRequest, REQUEST_BYTES_MAX, hash_of, unhex};
use crate::security::{api_token, files};
use evenkeel_meta::{Directory, Keyspace};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// What lets machines in.
pub(crate) struct JoinDesk {
    pub(crate) group: String,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) keys: Keyspace,
    /// The folder of secrets, where the authority's key may be.
    pub(crate) folder: PathBuf,
    /// The tokens of the admin API.
    pub(crate) api_token: Option<PathBuf>,
}

/// Answers a machine that wants to join; says what came of it.
pub(super) async fn answer(wire: &mut Wire, security: &Rc<Security>) -> Result<Vec<String>, Refusal> {
    let line = read_line(wire).await?;
    let desk = Arc::clone(&security.desk);
    // Files and the directory are waited for elsewhere: this thread has a disk to serve.
    let admitted = tokio::task::spawn_blocking(move || desk.admit(&line)).await;
    let admitted = admitted.unwrap_or_else(|e| Err(error(e.to_string())));
    let (reply, outcome) = match admitted {
        Ok(grant) => {
            let names = grant.servers.iter().map(|(name, _)| name.clone()).collect();
            (JoinReply::Joined(grant), Ok(names))
        }
        Err(e) => {
            let refusal = Refusal::alarming("a refused join", format!("it wants to join, but {e}"));
            (JoinReply::Refused(e.to_string()), Err(refusal))
        }
    };
    let text = serde_json::to_string(&reply).expect("strings");
    wire.write_all(format!("{text}\n").as_bytes()).await?;
    outcome
}

async fn read_line(wire: &mut Wire) -> Result<String, Refusal> {
    let (mut bytes, mut space) = (Vec::new(), [0; 1024]);
    while !bytes.ends_with(b"\n") && bytes.len() <= REQUEST_BYTES_MAX {
        match wire.try_read(&mut space) {
            Ok(0) => return Err(Refusal::new("closed", "closed by the other side")),
            Ok(n) => bytes.extend_from_slice(&space[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wire.readable().await?,
            Err(e) => return Err(e.into()),
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::new("no join", "it wants to join, but says nothing readable"))
}

impl JoinDesk {
    /// Signs certificates for who shows a token that is good, which it then is no longer.
    ///
    /// # Errors
    /// Why not; nothing was done.
    fn admit(&self, line: &str) -> Result<Grant, ServeError> {
        let request: JoinRequest = serde_json::from_str(line).map_err(|_| error("its request is none"))?;
        let key = unhex(&request.key).and_then(|bytes| PublicKey::of(&bytes));
        let key = key.ok_or_else(|| error("its key is none"))?;
        let Some(authority) = Authority::load(&self.folder, &self.group)? else {
            return Err(error(format!(
                "the authority's key is not on this machine ('{}'): join at the one where the group was begun, or \
                 bring the key here",
                authority::key_path(&self.folder).display()
            )));
        };
        let pem = files::read_public(&authority::certificate_path(&self.folder))?;
        let api_token = match &self.api_token {
            Some(path) => api_token::first_with_all_rights(&files::read_secret(path)?).map(str::to_owned),
            None => None,
        };
        let token = hash_of(&request.secret);
        let servers = membership::redeem(&*self.directory, &self.keys, token, wall_ms(), |servers| {
            let issue = |server: &String| Ok((server.clone(), authority.issue(server, &key)?));
            servers.iter().map(issue).collect::<Result<Vec<_>, ServeError>>()
        })?;
        let servers = servers.into_iter().map(|(name, issued)| (name, issued.pem)).collect();
        Ok(Grant { group: self.group.clone(), authority: pem, servers, api_token })
    }
}
