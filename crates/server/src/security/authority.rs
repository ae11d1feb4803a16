//! The group's own authority: it signs a certificate for each server, and nothing else.
//!
//! A certificate says one thing: whoever has its key is server NAME of group GROUP. It has no end: a group does not go
//! down because a date passed. What ends it is a record in the directory.

use super::certificate::{self, Fingerprint};
use super::files;
use crate::error::{ServeError, error};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use rustls::RootCertStore;
use std::path::{Path, PathBuf};

/// Bytes of the hash of its key in the authority's name.
const NAME_BYTES: usize = 8;
/// Bytes of a serial number: random, as two certificates may be for one key.
const SERIAL_BYTES: usize = 16;

/// The certificates of the authority, which every server of the group has: normally one, two while it is replaced.
pub(crate) fn certificate_path(folder: &Path) -> PathBuf {
    folder.join("authority.crt")
}

/// The authority's key: whoever has it makes servers of the group.
pub(crate) fn key_path(folder: &Path) -> PathBuf {
    folder.join("authority.key")
}

/// A public key of a server: a point of P-256, uncompressed.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// The key that these bytes are; none if they are no point of the curve.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes).ok();
        parsed.filter(|_| bytes.first() == Some(&4)).map(|_| Self(bytes.to_vec()))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A certificate that was just signed.
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) fingerprint: Fingerprint,
}

/// The authority, on a machine that has its key.
pub(crate) struct Authority {
    group: String,
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

fn wrong(e: impl std::fmt::Display) -> ServeError {
    error(format!("cannot make a certificate: {e}"))
}

fn params(common_name: &str) -> Result<CertificateParams, ServeError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2000, 1, 1);
    // RFC 5280 section 4.1.2.5: the date of certificates without one.
    params.not_after = date_time_ymd(9999, 12, 31);
    let mut serial = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut serial).map_err(wrong)?;
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// What the authority's own certificate says. Its name is what ties those that it signs to it, so no two authorities have
/// the same.
fn own_params(group: &str, key: &KeyPair) -> Result<CertificateParams, ServeError> {
    let hash = digest(&SHA256, key.der_bytes());
    let number: String = hash.as_ref()[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut params = params(&format!("Evenkeel group {group}, authority {number}"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

impl Authority {
    /// Makes the authority of a new group and writes its certificate and its key.
    ///
    /// # Errors
    /// One line: there is one already, or a file cannot be written.
    pub(crate) fn make(folder: &Path, group: &str) -> Result<(), ServeError> {
        for path in [certificate_path(folder), key_path(folder)] {
            if path.exists() {
                return Err(error(format!(
                    "'{}': exists; this machine belongs to a group already",
                    path.display()
                )));
            }
        }
        let key = KeyPair::generate().map_err(wrong)?;
        let certificate = own_params(group, &key)?.self_signed(&key).map_err(wrong)?;
        // The certificate is what makes it the group's: it comes last.
        files::write_secret(&key_path(folder), &key.serialize_pem())?;
        files::write_public(&certificate_path(folder), &certificate.pem())
    }

    /// The authority, if its key is in the folder.
    ///
    /// # Errors
    /// One line: a file cannot be read, or is none of its kind.
    pub(crate) fn load(folder: &Path, group: &str) -> Result<Option<Self>, ServeError> {
        let path = key_path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let pem = files::read_secret(&path)?;
        let key = KeyPair::from_pem(&pem).map_err(|e| error(format!("'{}': no key: {e}", path.display())))?;
        let roots = certificate::roots(&certificate::load(&certificate_path(folder))?)?;
        let issuer = Issuer::new(own_params(group, &key)?, key);
        Ok(Some(Self { group: group.to_owned(), issuer, roots }))
    }

    /// A certificate for a server's key.
    ///
    /// # Errors
    /// One line: most likely, key and certificate of the authority are not of one pair, or of another group.
    pub(crate) fn issue(&self, server: &str, key: &impl PublicKeyData) -> Result<Issued, ServeError> {
        let mut params = params(server)?;
        let name = certificate::server_uri(&self.group, server);
        params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().map_err(wrong)?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(key, &self.issuer).map_err(wrong)?;
        let der = signed.der();
        // Never hand out what nobody accepts.
        certificate::verify(der, &self.roots).map_err(|e| {
            error(format!(
                "authority.key does not belong to authority.crt, or that is the authority of another group than \
                 '{}': {e}",
                self.group
            ))
        })?;
        Ok(Issued { pem: signed.pem(), fingerprint: certificate::fingerprint(der) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(group: &str) -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        Authority::make(folder.path(), group).unwrap();
        let authority = Authority::load(folder.path(), group).unwrap().unwrap();
        (folder, authority)
    }

    #[test]
    fn a_certificate_names_the_server_and_the_group_that_it_was_issued_for() {
        let (folder, authority) = made("lab");
        let key = KeyPair::generate().unwrap();
        let Issued { fingerprint, pem } = authority.issue("s1", &key).unwrap();
        let der = certificate::parse(&pem).unwrap().remove(0);
        let roots =
            certificate::roots(&certificate::load(&certificate_path(folder.path())).unwrap()).unwrap();
        certificate::verify(&der, &roots).unwrap();
        assert_eq!(certificate::server_of(&der, "lab").as_deref(), Some("s1"));
        assert_eq!(certificate::server_of(&der, "la"), None);
        assert_eq!(fingerprint, certificate::fingerprint(&der));
        let again = authority.issue("s1", &key).unwrap();
        assert!(again.pem != pem && again.fingerprint != fingerprint, "two certificates can be told apart");
    }

    #[test]
    fn a_group_has_one_authority_and_its_key_is_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _) = made("lab");
        let why = Authority::make(folder.path(), "lab").unwrap_err().to_string();
        assert!(why.contains("authority.crt") && why.contains("exists"), "{why}");
        let mode = std::fs::metadata(key_path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_authority_that_does_not_fit_together_hands_nothing_out() {
        let (folder, _) = made("lab");
        let (other, _) = made("lab");
        let key = KeyPair::generate().unwrap();
        let renamed = Authority::load(folder.path(), "barn").unwrap().unwrap();
        let why = renamed.issue("s1", &key).err().unwrap().to_string();
        assert!(why.contains("'barn'"), "{why}");
        std::fs::copy(certificate_path(other.path()), certificate_path(folder.path())).unwrap();
        let mixed = Authority::load(folder.path(), "lab").unwrap().unwrap();
        let why = mixed.issue("s1", &key).err().unwrap().to_string();
        assert!(why.contains("does not belong"), "{why}");
    }

    #[test]
    fn bytes_that_are_no_point_of_the_curve_are_no_key() {
        let key = KeyPair::generate().unwrap();
        let good = key.der_bytes().to_vec();
        assert_eq!(PublicKey::of(&good).unwrap().der_bytes(), good);
        let mut off = good.clone();
        off[40] ^= 1;
        for bad in [&[][..], &good[..64], &[4; 65], &off] {
            assert!(PublicKey::of(bad).is_none(), "{bad:?}");
        }
    }
}
