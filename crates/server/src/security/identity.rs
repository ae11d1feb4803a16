//! How a server shows its peers who it is: a key of its own, and the certificate for it.

use super::authority::{self, Authority};
use super::certificate::{self, Fingerprint};
use super::files;
use crate::error::{ServeError, error};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// A server's certificate.
pub(crate) fn certificate_path(folder: &Path, server: &str) -> PathBuf {
    folder.join(format!("server-{server}.crt"))
}

/// A server's key.
pub(crate) fn key_path(folder: &Path, server: &str) -> PathBuf {
    folder.join(format!("server-{server}.key"))
}

/// What one server has to show, and whom it believes.
pub(crate) struct Identity {
    pub(crate) group: String,
    pub(crate) server: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            group: self.group.clone(),
            server: self.server.clone(),
            fingerprint: self.fingerprint,
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authorities: self.authorities.clone(),
        }
    }
}

impl Identity {
    /// The identity of a server whose process has this folder of secrets. Where the authority's key is, a server
    /// without a certificate gets one; elsewhere it has to join first.
    ///
    /// # Errors
    /// One line: what is missing, unreadable, or does not fit together.
    pub(crate) fn load(folder: &Path, group: &str, server: &str) -> Result<Self, ServeError> {
        let path = certificate_path(folder, server);
        if !path.exists() {
            let Some(authority) = Authority::load(folder, group)? else {
                return Err(error(format!(
                    "server '{server}': has no certificate ('{}'); 'evenkeel group token {server}' on a machine of the \
                     group makes a token for it, 'evenkeel server join' here uses it",
                    path.display()
                )));
            };
            make(&authority, folder, server)?;
        }
        let authorities = certificate::load(&authority::certificate_path(folder))?;
        let certificate = match &certificate::load(&path)?[..] {
            [one] => one.clone(),
            more => return Err(error(format!("'{}': {} certificates, not one", path.display(), more.len()))),
        };
        let wrong = |why: String| {
            error(format!(
                "'{}': {why}; 'evenkeel server join' gets another one with a new token",
                path.display()
            ))
        };
        certificate::verify(&certificate, &certificate::roots(&authorities)?).map_err(|e| {
            wrong(format!("not signed by '{}' ({e})", authority::certificate_path(folder).display()))
        })?;
        match certificate::server_of(&certificate, group) {
            Some(name) if name == server => {}
            Some(name) => {
                return Err(wrong(format!("the certificate of server '{name}', not of '{server}'")));
            }
            None => return Err(wrong(format!("no certificate of a server of group '{group}'"))),
        }
        let key_path = key_path(folder, server);
        let pem = files::read_secret(&key_path)?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| error(format!("'{}': no key: {e}", key_path.display())))?;
        Ok(Self {
            group: group.to_owned(),
            server: server.to_owned(),
            fingerprint: certificate::fingerprint(&certificate),
            certificate,
            key,
            authorities,
        })
    }
}

/// Makes key and certificate of a server on the machine of the authority.
fn make(authority: &Authority, folder: &Path, server: &str) -> Result<(), ServeError> {
    let key = KeyPair::generate().map_err(|e| error(format!("cannot make a key: {e}")))?;
    let issued = authority.issue(server, &key)?;
    write(folder, server, &key, &issued.pem)
}

/// Writes key and certificate of a server. The certificate comes last: with it the server has an identity.
///
/// # Errors
/// One line.
pub(crate) fn write(folder: &Path, server: &str, key: &KeyPair, certificate: &str) -> Result<(), ServeError> {
    files::write_secret(&key_path(folder, server), &key.serialize_pem())?;
    files::write_public(&certificate_path(folder, server), certificate)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The folder of an authority of this group.
    pub(crate) fn group(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        Authority::make(folder.path(), name).unwrap();
        folder
    }

    fn refusal(folder: &Path, group: &str, server: &str) -> String {
        let why = Identity::load(folder, group, server).err().unwrap().to_string();
        assert!(!why.contains('\n'), "{why}");
        why
    }

    #[test]
    fn a_server_beside_the_authority_gets_an_identity_and_keeps_it() {
        let folder = group("lab");
        let made = Identity::load(folder.path(), "lab", "s1").unwrap();
        let again = Identity::load(folder.path(), "lab", "s1").unwrap();
        assert_eq!(made.fingerprint, again.fingerprint);
        assert_ne!(made.fingerprint, Identity::load(folder.path(), "lab", "s2").unwrap().fingerprint);
    }

    #[test]
    fn a_server_without_a_certificate_is_told_how_to_get_one() {
        let folder = group("lab");
        std::fs::remove_file(authority::key_path(folder.path())).unwrap();
        let why = refusal(folder.path(), "lab", "s4");
        assert!(why.contains("evenkeel group token s4") && why.contains("evenkeel server join"), "{why}");
    }

    #[test]
    fn a_certificate_of_another_server_group_or_authority_is_refused_at_the_start() {
        let folder = group("lab");
        for server in ["s1", "s2"] {
            let _ = Identity::load(folder.path(), "lab", server).unwrap();
        }
        std::fs::copy(certificate_path(folder.path(), "s2"), certificate_path(folder.path(), "s1")).unwrap();
        assert!(refusal(folder.path(), "lab", "s1").contains("of server 's2', not of 's1'"));
        assert!(refusal(folder.path(), "barn", "s2").contains("group 'barn'"));
        let other = group("lab");
        let _ = Identity::load(other.path(), "lab", "s2").unwrap();
        std::fs::copy(certificate_path(other.path(), "s2"), certificate_path(folder.path(), "s2")).unwrap();
        assert!(refusal(folder.path(), "lab", "s2").contains("not signed by"));
    }
}
