//! Which of the group's servers are a data folder's own.
//!
//! Where the directory is elsewhere, a name in it may be that of another machine's server. So before a folder's servers
//! are registered for the first time, the folder notes their names, with a mark for each that is drawn at random; the
//! mark goes into the server's record. A server with the right name and another mark is somebody else's.

use crate::disk::sync_folder;
use crate::entropy::random_u64;
use crate::error::{ServeError, error};
use evenkeel_meta::View;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file in the data folder.
const FILE: &str = "servers";
/// Its version.
const VERSION: u32 = 1;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnServers {
    version: u32,
    group: String,
    /// The group's number, hexadecimal: two groups of one name are told apart by it.
    group_id: String,
    servers: Vec<OwnServer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OwnServer {
    name: String,
    /// Hexadecimal.
    mark: String,
}

impl OwnServers {
    /// What a data folder remembers; `None` if its servers never had a directory elsewhere.
    ///
    /// # Errors
    /// One line: the file cannot be read.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, ServeError> {
        let path = data.join(FILE);
        let wrong = |e: &dyn std::fmt::Display| error(format!("'{}': {e}; restore it", path.display()));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(wrong(&e)),
        };
        let own: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
        if own.version > VERSION {
            return Err(error(format!(
                "'{}' has format {}; this program reads up to {VERSION}: upgrade it",
                path.display(),
                own.version
            )));
        }
        let is_hex = |text: &str| u64::from_str_radix(text, 16).is_ok();
        if !is_hex(&own.group_id) || !own.servers.iter().all(|server| is_hex(&server.mark)) {
            return Err(wrong(&"it is damaged"));
        }
        Ok(Some(own))
    }

    /// A folder that has servers finds their group in the directory; it does not begin another one.
    ///
    /// # Errors
    /// One line: there is none.
    pub(crate) fn expect_group(data: &Path, view: &View) -> Result<(), ServeError> {
        match Self::read(data)? {
            Some(own) if view.format().is_none() => Err(error(format!(
                "data folder '{}': its servers belong to the group '{}' with the number {:016x}, but the directory holds no \
                 group '{}': check the directory's address, or restore the directory",
                data.display(),
                own.group,
                own.number(),
                view.keys().group()
            ))),
            _ => Ok(()),
        }
    }

    /// The folder's servers, which must be those asked for; notes them at the first start. Nothing is in the directory
    /// under their names by then but what the same folder put there.
    ///
    /// # Errors
    /// One line: the servers are others, or another group's, or another folder's.
    pub(crate) fn claim(data: &Path, names: &[&str], view: &View, group_id: u64) -> Result<Self, ServeError> {
        let group = view.keys().group();
        let Some(own) = Self::read(data)? else {
            if let Some(name) = names.iter().find(|name| view.server_named(name).is_some()) {
                return Err(error(format!(
                    "server '{name}': the group '{group}' has one already, and data folder '{}' is not where it lives; \
                     choose another name, or mount the folder that has it",
                    data.display()
                )));
            }
            let own = Self::draw(group, names, group_id)?;
            own.write(data)?;
            return Ok(own);
        };
        if own.group != group || own.number() != group_id {
            return Err(error(format!(
                "data folder '{}': its servers belong to the group '{}' with the number {:016x}, but the directory has \
                 '{group}' with the number {group_id:016x}: check the directory's address, or restore the directory",
                data.display(),
                own.group,
                own.number()
            )));
        }
        own.are_these(data, names)?;
        Ok(own)
    }

    fn draw(group: &str, names: &[&str], group_id: u64) -> Result<Self, ServeError> {
        let server = |name: &&str| {
            // Zero is what the record of a server has that lives with its directory.
            let mark = random_u64().map_err(|e| error(format!("no random numbers: {e}")))?.max(1);
            Ok(OwnServer { name: (*name).to_owned(), mark: format!("{mark:016x}") })
        };
        Ok(Self {
            version: VERSION,
            group: group.to_owned(),
            group_id: format!("{group_id:016x}"),
            servers: names.iter().map(server).collect::<Result<_, ServeError>>()?,
        })
    }

    fn are_these(&self, data: &Path, names: &[&str]) -> Result<(), ServeError> {
        let mut known: Vec<&str> = self.servers.iter().map(|server| server.name.as_str()).collect();
        let mut given = names.to_vec();
        known.sort_unstable();
        given.sort_unstable();
        if known == given {
            return Ok(());
        }
        Err(error(format!(
            "data folder '{}' holds the servers {} ({}), asked for were {} ({}): start it with the same servers",
            data.display(),
            known.join(", "),
            known.len(),
            given.join(", "),
            given.len()
        )))
    }

    fn write(&self, data: &Path) -> Result<(), ServeError> {
        let path = data.join(FILE);
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let draft = path.with_extension("new");
        let written = std::fs::File::create(&draft)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&draft, &path))
            .and_then(|()| sync_folder(data));
        written.map_err(|e| error(format!("'{}': {e}", path.display())))
    }

    fn number(&self) -> u64 {
        u64::from_str_radix(&self.group_id, 16).unwrap_or_default()
    }

    /// The mark of a server of this folder.
    pub(crate) fn mark(&self, name: &str) -> Option<u64> {
        let server = self.servers.iter().find(|server| server.name == name)?;
        u64::from_str_radix(&server.mark, 16).ok()
    }
}

/// Whether a data folder is one whose directory is elsewhere.
pub(crate) fn file(data: &Path) -> PathBuf {
    data.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership;
    use evenkeel_meta::records::{ServerCapacity, ServerRecord};
    use evenkeel_meta::{Keyspace, MemoryDirectory};
    use evenkeel_types::ServerId;
    use tempfile::TempDir;

    struct Group {
        directory: MemoryDirectory,
        keys: Keyspace,
        id: u64,
    }

    impl Group {
        fn begin() -> Self {
            let (directory, keys) = (MemoryDirectory::default(), Keyspace::new("lab").unwrap());
            let id = membership::begin_group(&directory, &keys, "lab").unwrap();
            Self { directory, keys, id }
        }

        fn claim(&self, data: &TempDir, names: &[&str]) -> Result<OwnServers, String> {
            let view = membership::read(&self.directory, &self.keys).unwrap();
            OwnServers::claim(data.path(), names, &view, self.id).map_err(|e| e.to_string())
        }

        fn register(&self, name: &str, mark: u64) -> Result<ServerId, String> {
            let record = ServerRecord {
                name: name.to_owned(),
                portals: Vec::new(),
                peer: String::new(),
                api: None,
                domain: "here".to_owned(),
                capacity: ServerCapacity::default(),
                store_id: mark,
            };
            membership::register(&self.directory, &self.keys, &record).map_err(|e| e.to_string())
        }
    }

    #[test]
    fn a_folder_knows_its_servers_again_and_takes_no_others() {
        let (group, data) = (Group::begin(), tempfile::tempdir().unwrap());
        let own = group.claim(&data, &["s1", "s2"]).unwrap();
        assert_ne!(own.mark("s1"), own.mark("s2"));
        assert_eq!(own.mark("s3"), None);
        // Before they are registered, after one is, and after both are: a start may end anywhere.
        for name in ["s1", "s2"] {
            assert_eq!(group.claim(&data, &["s2", "s1"]), Ok(own.clone()));
            let id = group.register(name, own.mark(name).unwrap()).unwrap();
            assert_eq!(group.register(name, own.mark(name).unwrap()), Ok(id));
        }
        assert_eq!(group.claim(&data, &["s1", "s2"]), Ok(own));
        let refused = group.claim(&data, &["s1"]).unwrap_err();
        assert!(refused.contains("s1, s2 (2)") && refused.contains("s1 (1)"), "{refused}");
    }

    #[test]
    fn a_name_that_another_folder_has_is_refused_also_to_the_second_of_two_at_once() {
        let group = Group::begin();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Both look before either is registered.
        let (first, second) = (group.claim(&one, &["s1"]).unwrap(), group.claim(&other, &["s1"]).unwrap());
        group.register("s1", first.mark("s1").unwrap()).unwrap();
        let refused = group.register("s1", second.mark("s1").unwrap()).unwrap_err();
        assert!(refused.contains("'s1'") && refused.contains("another data folder"), "{refused}");
        let third = tempfile::tempdir().unwrap();
        let refused = group.claim(&third, &["s1"]).unwrap_err();
        assert!(refused.contains("'s1'") && refused.contains("has one already"), "{refused}");
        assert!(!file(third.path()).exists(), "a refused start leaves nothing behind");
    }

    #[test]
    fn a_folder_of_another_group_of_the_same_name_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let first = Group::begin();
        let _ = first.claim(&data, &["s1"]).unwrap();
        let refused = Group::begin().claim(&data, &["s1"]).unwrap_err();
        assert!(refused.contains(&format!("{:016x}", first.id)) && refused.contains("restore"), "{refused}");
    }

    #[test]
    fn a_folder_with_servers_begins_no_group() {
        let (group, data) = (Group::begin(), tempfile::tempdir().unwrap());
        let empty = MemoryDirectory::default();
        let view = |directory| membership::read(directory, &group.keys).unwrap();
        OwnServers::expect_group(data.path(), &view(&empty)).unwrap();
        let _ = group.claim(&data, &["s1"]).unwrap();
        OwnServers::expect_group(data.path(), &view(&group.directory)).unwrap();
        let refused = OwnServers::expect_group(data.path(), &view(&empty)).unwrap_err().to_string();
        assert!(refused.contains("holds no group 'lab'"), "{refused}");
    }

    #[test]
    fn a_damaged_file_is_named_and_not_drawn_anew() {
        let (group, data) = (Group::begin(), tempfile::tempdir().unwrap());
        let _ = group.claim(&data, &["s1"]).unwrap();
        let text = std::fs::read_to_string(file(data.path())).unwrap();
        for damaged in [text[..20].to_owned(), text.replace("mark\": \"", "mark\": \"x"), String::new()] {
            std::fs::write(file(data.path()), &damaged).unwrap();
            let refused = group.claim(&data, &["s1"]).unwrap_err();
            assert!(refused.contains("servers'") && refused.contains("restore it"), "{refused}");
        }
        std::fs::write(file(data.path()), text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert!(group.claim(&data, &["s1"]).unwrap_err().contains("upgrade"));
    }
}
