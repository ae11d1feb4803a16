//! The folder of a process's secrets, `DIR/tls`, and files in it that nobody else reads.

use crate::disk::sync_folder;
use crate::error::{ServeError, error};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file of secrets at most.
pub(crate) const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where the secrets of the process with this data folder are.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("tls")
}

/// Where the tokens of the admin API are, unless the configuration says otherwise.
pub(crate) fn api_token(data: &Path) -> PathBuf {
    folder(data).join("api-token")
}

/// Makes the folder, for its owner alone, if it is missing.
///
/// # Errors
/// One line.
pub(crate) fn make_folder(folder: &Path) -> Result<(), ServeError> {
    let wrong = |e: std::io::Error| error(format!("folder '{}': {e}", folder.display()));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync_folder(folder.parent().unwrap_or(Path::new("/"))).map_err(wrong),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(e) => Err(wrong(e)),
    }
}

/// Reads a file that only its owner may be able to read.
///
/// # Errors
/// One line: it cannot be read, is too long, or others may read it.
pub(crate) fn read_secret(path: &Path) -> Result<String, ServeError> {
    let wrong = |e: std::io::Error| error(format!("'{}': {e}", path.display()));
    let file = File::open(path).map_err(wrong)?;
    let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(error(format!(
            "'{}': holds a secret, but others may read it (mode {mode:03o}); chmod 600 it, and replace the secret if \
             somebody did",
            path.display()
        )));
    }
    read_bounded(file, path)
}

/// Reads a file that is no secret.
///
/// # Errors
/// One line: it cannot be read or is too long.
pub(crate) fn read_public(path: &Path) -> Result<String, ServeError> {
    let file = File::open(path).map_err(|e| error(format!("'{}': {e}", path.display())))?;
    read_bounded(file, path)
}

fn read_bounded(file: File, path: &Path) -> Result<String, ServeError> {
    let mut text = String::new();
    let taken = file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    taken.map_err(|e| error(format!("'{}': {e}", path.display())))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(error(format!("'{}': longer than {SECRET_BYTES_MAX} bytes", path.display())));
    }
    Ok(text)
}

/// Writes a file that only its owner can read, durably and all at once; an older one is replaced.
///
/// # Errors
/// One line.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), ServeError> {
    write(path, text, 0o600)
}

/// Writes a file that everybody may read who gets into the folder.
///
/// # Errors
/// One line.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), ServeError> {
    write(path, text, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), ServeError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let written = || -> std::io::Result<()> {
        match std::fs::remove_file(&fresh) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        sync_folder(path.parent().unwrap_or(Path::new("/")))
    };
    written().map_err(|e| error(format!("'{}': cannot be written: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_secret(&path, "word").unwrap();
        assert_eq!(read_secret(&path).unwrap(), "word");
        for mode in [0o640, 0o604, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let why = read_secret(&path).unwrap_err().to_string();
            assert!(why.contains(&format!("{mode:03o}")) && why.contains("chmod 600"), "{why}");
        }
    }

    #[test]
    fn a_written_secret_replaces_an_older_one_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "old, and for all").unwrap();
        std::fs::write(folder.path().join("secret.new"), "left by a crash").unwrap();
        write_secret(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let why = read_public(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(why.contains("longer than"), "{why}");
    }
}
