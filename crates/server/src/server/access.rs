//! Changes of who may do what with a volume: one transaction on its access record, and a barrier behind it. What was
//! changed is in force everywhere when that is answered.

use super::core::Core;
use evenkeel_meta::change::{Actor, ChangeError, set_access};
use evenkeel_meta::records::{AccessChange, AccessRecord};
use evenkeel_meta::{DirectoryError, Revision, Txn};
use evenkeel_types::VolumeId;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a change is tried while the directory does not answer, or others change the same record.
const CHANGE_WITHIN: Duration = Duration::from_secs(8);
/// How long is waited until all servers are done with what held before. A server that does not answer is marked down by
/// then, and its leases are over.
const BARRIER_WITHIN: Duration = Duration::from_secs(20);
/// Pause before the directory is asked again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Why a change is not in force.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// It is refused, by the record as it is.
    Refused(E),
    /// There is no such volume.
    NoVolume,
    /// It did not happen, and will not: the directory does not answer, or others change the same all the time.
    NotDone(String),
    /// It may have happened, or is not in force everywhere.
    Unknown(String),
}

/// Changes a volume's access record, and waits until that is in force everywhere. `decide` gives the record that is to be,
/// or none if it may stay as it is; it is called anew whenever somebody else has changed the record meanwhile. `number` is one
/// of [`Core::next_change`].
///
/// # Errors
/// [`Failure`].
pub(crate) async fn change<E>(
    core: &Rc<Core>,
    by: Actor,
    volume: VolumeId,
    number: u64,
    decide: impl Fn(&AccessRecord) -> Result<Option<AccessRecord>, E>,
) -> Result<(), Failure<E>> {
    let until = Instant::now() + CHANGE_WITHIN;
    let change = AccessChange { server: by.server, incarnation: by.incarnation, number };
    let Some(revision) = commit(core, by, volume, change, until, decide).await? else { return Ok(()) };
    match timeout(BARRIER_WITHIN, core.barrier(volume, revision)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Unknown("too many changes of access wait for other servers".to_owned())),
        Err(_) => Err(Failure::Unknown(format!("other servers have not followed in {BARRIER_WITHIN:?}"))),
    }
}

/// Has the directory make the change; gives its revision, or none if nothing was to be changed.
async fn commit<E>(
    core: &Rc<Core>,
    by: Actor,
    volume: VolumeId,
    change: AccessChange,
    until: Instant,
    decide: impl Fn(&AccessRecord) -> Result<Option<AccessRecord>, E>,
) -> Result<Option<Revision>, Failure<E>> {
    // An answer was lost: the change may have happened, or still happen as long as the record is the one of this revision.
    let mut unknown_since: Option<Revision> = None;
    loop {
        let planned =
            core.with_view(|view| plan(view, by, volume, change, &decide)).unwrap_or(Ok(Plan::Wait))?;
        let txn = match planned {
            Plan::Happened(revision) => return Ok(Some(revision)),
            Plan::Nothing if unknown_since.is_none() => return Ok(None),
            Plan::Change(read, txn) if unknown_since.is_none_or(|at| at == read) => Some((read, txn)),
            // Sixteen others have changed the record since: whether this one came before is not to be found out.
            Plan::Nothing | Plan::Change(..) => {
                let why = "the directory did not say whether it happened, and others went on".to_owned();
                return Err(Failure::Unknown(why));
            }
            Plan::Wait => None,
        };
        let mut seen = None;
        if let Some((read, txn)) = txn {
            match core.transact(txn).await {
                Ok(outcome) if outcome.succeeded => return Ok(Some(outcome.revision)),
                Ok(outcome) => seen = Some(outcome.revision),
                Err(DirectoryError::OutcomeUnknown { .. }) => unknown_since = Some(read),
                Err(_) => {}
            }
        }
        if Instant::now() >= until {
            let why = "the directory does not answer, or others change the same all the time".to_owned();
            return Err(if unknown_since.is_some() { Failure::Unknown(why) } else { Failure::NotDone(why) });
        }
        let is_seen = |revision| core.with_view(|view| view.revision() >= revision) == Some(true);
        match seen {
            Some(revision) => {
                while !is_seen(revision) && timeout_at(until, core.heard_news()).await.is_ok() {}
            }
            None => sleep(TRY_AGAIN).await,
        }
    }
}

/// What is to be done next.
enum Plan {
    /// Nothing: it has happened, at this revision at the latest.
    Happened(Revision),
    /// Nothing: the record may stay as it is.
    Nothing,
    /// This, on the record of this revision.
    Change(Revision, Txn),
    /// The directory is to be asked again: this server is not one of the group by its view.
    Wait,
}

fn plan<E>(
    view: &evenkeel_meta::View,
    by: Actor,
    volume: VolumeId,
    change: AccessChange,
    decide: impl Fn(&AccessRecord) -> Result<Option<AccessRecord>, E>,
) -> Result<Plan, Failure<E>> {
    if view.volume(volume).is_none() {
        return Err(Failure::NoVolume);
    }
    let kept = view.access(volume);
    let record = kept.map(|kept| kept.record.clone()).unwrap_or_default();
    let revision = kept.map_or(Revision(0), |kept| kept.revision);
    if record.changes.contains(&change) {
        return Ok(Plan::Happened(revision));
    }
    let Some(next) = decide(&record).map_err(Failure::Refused)? else { return Ok(Plan::Nothing) };
    match set_access(view, by, volume, &next.changed_by(change)) {
        Ok(txn) => Ok(Plan::Change(revision, txn)),
        Err(ChangeError::NoVolume { .. }) => Err(Failure::NoVolume),
        Err(ChangeError::NotPresent { .. }) => Ok(Plan::Wait),
        Err(e) => Err(Failure::NotDone(e.to_string())),
    }
}
