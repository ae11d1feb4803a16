//! A server's entry into its group: the group's first record, the server's own, and its start.

use crate::entropy::random_u64;
use crate::error::{ServeError, error};
use crate::security::authority::Issued;
use evenkeel_meta::change::{self, Actor, ChangeError};
use evenkeel_meta::records::{FORMAT_VERSION, Fingerprint, FormatRecord, MemberState, ServerRecord};
use evenkeel_meta::{Directory, KeyRange, Keyspace, Txn, View};
use evenkeel_types::ServerId;

/// Attempts at a change that others make at the same time.
const ATTEMPTS_MAX: usize = 32;

/// How a store names its group: the name is for people, the number tells two groups of one name apart.
pub(crate) fn group_on_disk(name: &str, id: u64) -> String {
    format!("{name}#{id:016x}")
}

/// The directory as it is now.
pub(crate) fn read(directory: &dyn Directory, keys: &Keyspace) -> Result<View, ServeError> {
    let snapshot = directory
        .range(&KeyRange::prefix(keys.prefix()), None)
        .map_err(|e| error(format!("directory: {e}")))?;
    View::from_snapshot(keys.clone(), &snapshot).map_err(|e| error(format!("directory: {e}")))
}

/// Makes a change, deciding anew each time that others were quicker. `make` gives `None` when nothing is to be done.
fn settle<T>(
    directory: &dyn Directory,
    keys: &Keyspace,
    mut make: impl FnMut(&View) -> Result<(T, Option<Txn>), ServeError>,
) -> Result<T, ServeError> {
    for _ in 0..ATTEMPTS_MAX {
        let (result, txn) = make(&read(directory, keys)?)?;
        let Some(txn) = txn else { return Ok(result) };
        if directory.transact(&txn).map_err(|e| error(format!("directory: {e}")))?.succeeded {
            return Ok(result);
        }
    }
    Err(error("the directory changed under every attempt: start again"))
}

/// Begins the group if nobody did; gives its number.
pub(crate) fn begin_group(
    directory: &dyn Directory,
    keys: &Keyspace,
    group: &str,
) -> Result<u64, ServeError> {
    let group_id = random_u64().map_err(|e| error(format!("no random numbers: {e}")))?;
    settle(directory, keys, |view| match view.format() {
        Some(format) => Ok((format.group_id, None)),
        None => {
            let format =
                FormatRecord { version: FORMAT_VERSION, group: group.to_owned(), group_id, generation: 0 };
            Ok((group_id, Some(change::begin_group(view, &format))))
        }
    })
}

/// Why a folder's server, known by its name and mark, cannot be one of the group any more, if it was removed or forgotten.
/// A server of the same name in another folder is another one.
///
/// # Errors
/// The directory does not answer: nothing is known, and whoever began as a new server now might be one that is gone.
pub(crate) fn gone_for_good(
    directory: &dyn Directory,
    keys: &Keyspace,
    name: &str,
    mark: u64,
) -> Result<Option<String>, ServeError> {
    let view = read(directory, keys)?;
    let is_it = |record: &ServerRecord| record.name == name && record.store_id == mark;
    let is_gone = view.forgotten_servers().any(|(_, kept)| is_it(&kept.record))
        && !view.servers().any(|(_, kept)| is_it(&kept.record));
    Ok(is_gone.then(|| {
        format!(
            "it was removed from the group '{}', or forgotten, and its store cannot be used again: delete the store, and \
             take another data folder for a new server",
            keys.group()
        )
    }))
}

/// Makes the server a member if it is none, and brings its record up to date; gives its id. The record's mark is that of
/// the folder where the server lives; one of the same name with another mark is another folder's.
pub(crate) fn register(
    directory: &dyn Directory,
    keys: &Keyspace,
    record: &ServerRecord,
) -> Result<ServerId, ServeError> {
    let failed = |e: ChangeError| error(format!("server '{}': {e}", record.name));
    settle(directory, keys, |view| match view.server_named(&record.name) {
        None => {
            let (id, txn) = change::register_server(view, record).map_err(failed)?;
            Ok((id, Some(txn)))
        }
        Some(id) if view.server(id).is_some_and(|kept| kept.record == *record) => Ok((id, None)),
        Some(id) if view.server(id).is_some_and(|kept| kept.record.store_id != record.store_id) => {
            let group = keys.group();
            Err(error(format!(
                "server '{}': the group '{group}' has one of this name that lives in another data folder; choose another \
                 name",
                record.name
            )))
        }
        Some(id) => Ok((id, Some(change::update_server(view, id, record).map_err(failed)?))),
    })
}

/// Takes a join token, which is then gone, and records the certificates that `issue` makes for the servers that it names.
pub(crate) fn redeem(
    directory: &dyn Directory,
    keys: &Keyspace,
    token: Fingerprint,
    now_unix_ms: u64,
    issue: impl Fn(&[String]) -> Result<Vec<(String, Issued)>, ServeError>,
) -> Result<Vec<(String, Issued)>, ServeError> {
    let failed = |e: ChangeError| error(e.to_string());
    settle(directory, keys, |view| {
        let kept = view.join_token(token, now_unix_ms).ok_or_else(|| failed(ChangeError::NoJoinToken))?;
        let issued = issue(&kept.record.servers)?;
        let certificates: Vec<_> =
            issued.iter().map(|(name, issued)| (issued.fingerprint, name.clone())).collect();
        let txn = change::redeem_join_token(view, token, &certificates, now_unix_ms).map_err(failed)?;
        Ok((issued, Some(txn)))
    })
}

/// Records a server's certificate, if it is not on record.
///
/// # Errors
/// One line: it was revoked.
pub(crate) fn record_certificate(
    directory: &dyn Directory,
    keys: &Keyspace,
    certificate: Fingerprint,
    server: &str,
    now_unix_ms: u64,
) -> Result<(), ServeError> {
    settle(directory, keys, |view| {
        if view.certificate(certificate).is_some_and(|kept| kept.record.revoked_unix_ms.is_some()) {
            return Err(error(format!(
                "server '{server}': its certificate {certificate} was revoked; 'evenkeel group token {server}' on another \
                 machine and 'evenkeel server join' here get another one"
            )));
        }
        Ok(((), change::record_certificate(view, certificate, server, now_unix_ms)))
    })
}

/// Records the start of a server whose store has just raised its incarnation.
pub(crate) fn start(directory: &dyn Directory, keys: &Keyspace, actor: Actor) -> Result<(), ServeError> {
    settle(directory, keys, |view| {
        let txn = change::start_server(view, actor.server, actor.incarnation);
        Ok(((), Some(txn.map_err(|e| error(e.to_string()))?)))
    })
}

/// Takes a server that cannot go on out of the group, so that others need not find out: the other copies of what it holds
/// are there for its hosts at once. Whether it left; one whose extents have no other copy stays, for nobody can go on
/// without it, and so does one that the group has given up already.
pub(crate) fn leave(directory: &dyn Directory, keys: &Keyspace, actor: Actor) -> Result<bool, ServeError> {
    settle(directory, keys, |view| {
        let is_counted_on = view.member(actor.server).is_some_and(|kept| {
            kept.record.state != MemberState::Down && kept.record.incarnation == actor.incarnation
        });
        if !is_counted_on || !view.has_shared_extents(actor.server) {
            return Ok((false, None));
        }
        let txn = change::mark_down(view, actor, actor.server).map_err(|e| error(e.to_string()))?;
        Ok((true, Some(txn)))
    })
}
