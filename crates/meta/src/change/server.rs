//! Beginning a group, and the records of its servers.

use super::{
    Actor, ChangeError, ForgottenSnafu, NoGenerationSnafu, NoGroupSnafu, NoServerIdSnafu, NoServerSnafu,
    NotDownSnafu, OldStoreSnafu, ServerNameTakenSnafu, acting, guarded, placing,
};
use crate::records::{
    CounterName, FormatRecord, MemberRecord, MemberState, ServerRecord, check_server_name, encode_counter,
    encode_json,
};
use crate::txn::{Compare, Operation, Txn};
use crate::view::View;
use evenkeel_types::{Incarnation, ServerId};
use snafu::{OptionExt, ensure};

/// Writes the first record of a group.
///
/// Compares: that there is none.
#[must_use]
pub fn begin_group(view: &View, format: &FormatRecord) -> Txn {
    let key = view.keys().format();
    guarded(vec![Compare::absent(key.clone())], vec![Operation::put(key, encode_json(format))])
}

/// Raises the generation of all epochs, after the directory was restored from a backup and before any server uses it.
///
/// Compares: the group's record as in the view; so two who raise it do not raise it to the same.
///
/// # Errors
/// [`ChangeError::NoGroup`]; [`ChangeError::NoGeneration`] after 65,535 restores.
pub fn raise_generation(view: &View) -> Result<Txn, ChangeError> {
    let format = view.format().context(NoGroupSnafu)?;
    let generation = format.generation.checked_add(1).context(NoGenerationSnafu)?;
    let key = view.keys().format();
    let put = Operation::put(key.clone(), encode_json(&FormatRecord { generation, ..format.clone() }));
    Ok(guarded(vec![Compare::as_read(key, view.format_revision())], vec![put]))
}

/// Makes a new server a member, down until it starts, and gives it an id.
///
/// Compares: the counter of server ids. All registrations change it, so the name is still free if it holds.
///
/// # Errors
/// [`ChangeError::Name`], [`ChangeError::ServerNameTaken`], [`ChangeError::NoServerId`].
pub fn register_server(view: &View, record: &ServerRecord) -> Result<(ServerId, Txn), ChangeError> {
    check_server_name(&record.name)?;
    if let Some(server) = view.server_named(&record.name) {
        return ServerNameTakenSnafu { name: record.name.clone(), server }.fail();
    }
    let keys = view.keys();
    let (next, revision) = view.counter(CounterName::Server);
    let id = ServerId(u32::try_from(next).ok().context(NoServerIdSnafu)?);
    let counter = keys.counter(CounterName::Server);
    let puts = vec![
        Operation::put(counter.clone(), encode_counter(next + 1)),
        Operation::put(keys.member(id), encode_json(&MemberRecord::registered())),
        Operation::put(keys.server(id), encode_json(record)),
    ];
    Ok((id, guarded(vec![Compare::as_read(counter, revision)], puts)))
}

/// Writes new addresses, domain or capacity of a server. A server's name stays.
///
/// Compares: the server's record.
///
/// # Errors
/// [`ChangeError::NoServer`]; [`ChangeError::ServerNameTaken`] if the name is not the server's own.
pub fn update_server(view: &View, server: ServerId, record: &ServerRecord) -> Result<Txn, ChangeError> {
    let kept = view.server(server).context(NoServerSnafu { server })?;
    let same = kept.record.name == record.name;
    ensure!(same, ServerNameTakenSnafu { name: kept.record.name.clone(), server });
    let key = view.keys().server(server);
    let put = Operation::put(key.clone(), encode_json(record));
    Ok(guarded(vec![Compare::unchanged(key, kept.revision)], vec![put]))
}

/// The start of a server: its record with the incarnation that its superblock was just raised to. A server that is up
/// stays up, since whatever was acknowledged is durable on all copies and nobody went on without it; the first start
/// ever makes it up, since it holds nothing that could be old; any other makes it `syncing`. The record is put even if
/// the state stays, so that the epochs of all its extents grow.
///
/// Compares: its own record as in the view.
///
/// # Errors
/// [`ChangeError::NoServer`]; [`ChangeError::Forgotten`]; [`ChangeError::OldStore`] if the incarnation is not above the
/// one on record.
pub fn start_server(view: &View, server: ServerId, incarnation: Incarnation) -> Result<Txn, ChangeError> {
    let kept = view.member(server).context(NoServerSnafu { server })?;
    let known = kept.record.incarnation;
    ensure!(!kept.record.forgotten, ForgottenSnafu { server });
    ensure!(incarnation > known, OldStoreSnafu { server, store: incarnation, directory: known });
    let state = match kept.record.state {
        MemberState::Up => MemberState::Up,
        MemberState::Down if known == Incarnation(0) => MemberState::Up,
        MemberState::Down | MemberState::Syncing => MemberState::Syncing,
    };
    put_member(view, server, &MemberRecord { state, incarnation, ..kept.record.clone() })
}

/// Marks a server down that does not answer. If it was up, it leaves `up` with this. It makes nobody owner; whoever is
/// next finds itself so by its view.
///
/// Compares: the acting server's record and the record of the one that is marked, as in the view; so of two servers that
/// suspect each other one goes.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoServer`].
pub fn mark_down(view: &View, by: Actor, server: ServerId) -> Result<Txn, ChangeError> {
    let kept = view.member(server).context(NoServerSnafu { server })?;
    ensure!(!kept.record.forgotten, ForgottenSnafu { server });
    let record =
        MemberRecord { state: MemberState::Down, leaves: kept.record.is_up(), ..kept.record.clone() };
    let key = view.keys().member(server);
    let put = Operation::put(key.clone(), encode_json(&record));
    Ok(guarded(vec![acting(view, by)?, Compare::unchanged(key, kept.revision)], vec![put]))
}

/// A syncing server becomes up: all its copies are as good as their owners'.
///
/// Compares: its own record as in the view, which is as it registered.
///
/// # Errors
/// [`ChangeError::NotPresent`].
pub fn become_up(view: &View, by: Actor) -> Result<Txn, ChangeError> {
    let compare = acting(view, by)?;
    let kept = view.member(by.server).context(NoServerSnafu { server: by.server })?;
    let record = MemberRecord { state: MemberState::Up, ..kept.record.clone() };
    let put = Operation::put(view.keys().member(by.server), encode_json(&record));
    Ok(guarded(vec![compare], vec![put]))
}

/// Ends a server's part in the group for good. Its copies count for nothing from then on: of each of its extents the best
/// remaining copy takes its place, and one without any is lost. Its records stay, as routes may still name the server; its
/// name is free again. One that runs finds itself down, and ends.
///
/// Without `accept_loss` it has to be down, or empty. One that is down stays the worse copy wherever there is a better one
/// now: whatever becomes of the others, they leave `up` after it. One whose extents have no other copy is never marked down,
/// but waited for; with `accept_loss` it is enough that it gives no hint of life.
///
/// Compares: the acting server's record; the server's member record; the counter of server ids, which is put anew, so that
/// no volume is placed over the server by somebody who has not seen it; and of a server that is not down, that it gives no
/// hint of life, and the records of those whose copies are good as well, so that nothing more is lost than was known.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoServer`]; [`ChangeError::NotDown`] if it seems to run and is not empty.
pub fn forget_server(
    view: &View,
    by: Actor,
    server: ServerId,
    accept_loss: bool,
) -> Result<Txn, ChangeError> {
    let kept = view.member(server).context(NoServerSnafu { server })?;
    ensure!(!kept.record.forgotten, NoServerSnafu { server });
    let is_down = kept.record.state == MemberState::Down;
    let is_empty = kept.record.draining && view.holdings(server).is_empty();
    let is_silent = accept_loss && view.live(server).is_none();
    ensure!(is_down || is_empty || is_silent, NotDownSnafu { server });
    let keys = view.keys();
    let record = MemberRecord {
        state: MemberState::Down,
        leaves: kept.record.is_up(),
        forgotten: true,
        ..kept.record.clone()
    };
    let counter = keys.counter(CounterName::Server);
    let member = keys.member(server);
    let mut compares =
        vec![placing::members_as_read(view), Compare::unchanged(member.clone(), kept.revision)];
    if by.server != server {
        compares.push(acting(view, by)?);
    }
    if !is_down && !is_empty {
        compares.push(Compare::absent(keys.live(server)));
        let others = view.good_beside(server).into_iter().filter(|other| *other != by.server);
        compares.extend(
            others.filter_map(|other| {
                Some(Compare::unchanged(keys.member(other), view.member(other)?.revision))
            }),
        );
    }
    let operations = vec![
        Operation::put(counter, encode_counter(view.counter(CounterName::Server).0)),
        Operation::put(member, encode_json(&record)),
        Operation::delete(&keys.live(server)),
    ];
    Ok(guarded(compares, operations))
}

/// Begins or ends the draining of a server: while it lasts, the server takes no new extents.
///
/// Compares: the server's member record as in the view; and the counter of server ids, which is put anew, so that no volume
/// is placed over the server by somebody who has not seen it: it may go as soon as no route names it.
///
/// # Errors
/// [`ChangeError::NoServer`], [`ChangeError::Forgotten`].
pub fn set_draining(view: &View, server: ServerId, draining: bool) -> Result<Txn, ChangeError> {
    let kept = view.member(server).context(NoServerSnafu { server })?;
    ensure!(!kept.record.forgotten, ForgottenSnafu { server });
    let keys = view.keys();
    let member = keys.member(server);
    let record = MemberRecord { draining, ..kept.record.clone() };
    let compares = vec![placing::members_as_read(view), Compare::unchanged(member.clone(), kept.revision)];
    let (next, counter) = (view.counter(CounterName::Server).0, keys.counter(CounterName::Server));
    let operations =
        vec![Operation::put(counter, encode_counter(next)), Operation::put(member, encode_json(&record))];
    Ok(guarded(compares, operations))
}

fn put_member(view: &View, server: ServerId, record: &MemberRecord) -> Result<Txn, ChangeError> {
    let kept = view.member(server).context(NoServerSnafu { server })?;
    let key = view.keys().member(server);
    let put = Operation::put(key.clone(), encode_json(record));
    Ok(guarded(vec![Compare::unchanged(key, kept.revision)], vec![put]))
}
