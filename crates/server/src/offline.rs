//! Verifying a server's store while the server is stopped.

use crate::disk::{DiskFile, DiskFileOptions};
use crate::error::{ServeError, error};
use evenkeel_api::{Finding, VerifyReport};
use evenkeel_store::{CheckDepth, FindingKind};
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
        let checked = evenkeel_store::check(&&file, None, CheckDepth::Data);
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

/// The stores at a path: a store itself, a server's folder, or a data folder of several servers.
fn stores(path: &Path) -> Result<Vec<(String, PathBuf)>, ServeError> {
    let name_of =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let metadata = std::fs::metadata(path).map_err(|e| error(format!("'{}': {e}", path.display())))?;
    if !metadata.is_dir() {
        return Ok(vec![(name_of(path), path.to_owned())]);
    }
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
