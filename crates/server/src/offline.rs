//! Verifying a server's store while the server is stopped.

use crate::disk::{DiskFile, DiskFileOptions};
use crate::error::{ServeError, error};
use crate::membership;
use evenkeel_api::{Finding, VerifyReport};
use evenkeel_meta::embedded::OpenError;
use evenkeel_meta::{Directory, EmbeddedDirectory, KeyRange, Keyspace, View};
use evenkeel_store::{CheckDepth, FindingKind};
use evenkeel_types::ServerId;
use std::path::{Path, PathBuf};

/// Reads a store, or all stores of a data folder, and reports everything that is not as it should be. Writes nothing.
///
/// # Errors
/// One line: there is no store, or a server uses it.
pub fn check(path: &Path) -> Result<VerifyReport, ServeError> {
    let mut report = VerifyReport { extents: 0, records: 0, findings: Vec::new() };
    for (name, store) in stores(path)? {
        let options = DiskFileOptions { create: None, direct: None, lock: true, read_only: true };
        let file = DiskFile::open(&store, &options)?;
        let known = owner_on_record(&name, &store, &mut report);
        let expected = known.as_ref().map(|(group, server)| (group.as_str(), *server));
        let checked = evenkeel_store::check(&&file, expected, CheckDepth::Data);
        report.extents += checked.extents;
        report.records += checked.extents;
        report.findings.extend(checked.findings.into_iter().map(|finding| Finding {
            kind: kind(finding.kind).to_owned(),
            server: name.clone(),
            detail: finding.line,
        }));
    }
    Ok(report)
}

/// The group and server that a store must belong to, by the directory of its data folder; `None` where there is none,
/// or where it does not know the server. It is read in a copy, because opening it writes.
fn owner_on_record(name: &str, store: &Path, report: &mut VerifyReport) -> Option<(String, ServerId)> {
    let directory = store.parent()?.parent()?.join("directory");
    if !directory.exists() {
        return None;
    }
    match read_copy(&directory) {
        Ok(view) => {
            let format = view.format()?;
            Some((membership::group_on_disk(&format.group, format.group_id), view.server_named(name)?))
        }
        Err(e) => {
            report.findings.push(Finding {
                kind: "damaged-directory".to_owned(),
                server: name.to_owned(),
                detail: e.to_string(),
            });
            None
        }
    }
}

/// What a directory that nobody uses says.
fn read_copy(path: &Path) -> Result<View, ServeError> {
    let wrong = |e: &dyn std::fmt::Display| error(format!("directory '{}': {e}", path.display()));
    let copy = tempfile::NamedTempFile::new().map_err(|e| wrong(&e))?;
    std::fs::copy(path, copy.path()).map_err(|e| wrong(&e))?;
    let directory = EmbeddedDirectory::open(copy.path()).map_err(|e| match e {
        OpenError::Damaged { what, .. } => wrong(&format_args!("damaged: {what}")),
        e => wrong(&e),
    })?;
    let everything = directory.range(&KeyRange::prefix(GROUPS), None).map_err(|e| wrong(&e))?;
    let groups = everything.entries.iter().filter_map(|entry| {
        entry.key.as_str().strip_prefix(GROUPS)?.strip_suffix("/format").map(str::to_owned)
    });
    let group = groups.last().ok_or_else(|| wrong(&"it holds no group"))?;
    let keys = Keyspace::new(&group).map_err(|e| wrong(&e))?;
    membership::read(&directory, &keys)
}

/// What the keys of all groups begin with.
const GROUPS: &str = "/evenkeel/";

/// The stores at a path: a store itself, a server's folder, or a data folder of several servers.
pub(crate) fn stores(path: &Path) -> Result<Vec<(String, PathBuf)>, ServeError> {
    let name_of =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let metadata = std::fs::metadata(path).map_err(|e| error(format!("'{}': {e}", path.display())))?;
    if !metadata.is_dir() {
        return Ok(vec![(name_of(path), path.to_owned())]);
    }
    // A folder may be named in ways that do not show its name.
    let path = &std::fs::canonicalize(path).map_err(|e| error(format!("'{}': {e}", path.display())))?;
    if path.join("store").exists() {
        return Ok(vec![(name_of(path), path.join("store"))]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| error(format!("'{}': {e}", path.display())))?;
    let mut stores: Vec<_> = entries
        .flatten()
        .map(|entry| (name_of(&entry.path()), entry.path().join("store")))
        .filter(|(_, store)| store.exists())
        .collect();
    stores.sort();
    if stores.is_empty() {
        return Err(error(format!(
            "'{}': no store here; name a data folder, a server's folder or a store",
            path.display()
        )));
    }
    Ok(stores)
}

/// Names of findings in the API; part of the contract.
const fn kind(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::ForeignSuperblock => "foreign-superblock",
        FindingKind::NewerFormat => "newer-format",
        FindingKind::SuperblockCopyDamaged => "damaged-superblock-copy",
        FindingKind::SuperblockDamaged => "damaged-superblock",
        FindingKind::TornJournal => "torn-journal",
        FindingKind::CorruptJournal => "corrupt-journal",
        FindingKind::BadPage => "bad-metadata",
        FindingKind::UnitNamedTwice => "unit-named-twice",
        FindingKind::UnitOutOfRange => "unit-out-of-range",
        FindingKind::PresenceWithoutUnit => "presence-without-unit",
        FindingKind::BadBlock => "bad-data",
        FindingKind::Truncated => "truncated",
        FindingKind::Unreadable => "unreadable",
    }
}
