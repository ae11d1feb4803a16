//! What a certificate says, and who believes it.

use super::files;
use crate::error::{ServeError, error};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::path::Path;
use webpki::{EndEntityCert, KeyUsage};

pub(crate) use evenkeel_meta::records::Fingerprint;

/// Certificates of authorities that a server believes at once: the group's, and its successor while it is replaced.
pub(crate) const AUTHORITIES_MAX: usize = 4;

/// The name of a server in its certificate.
pub(crate) fn server_uri(group: &str, server: &str) -> String {
    format!("evenkeel://{group}/server/{server}")
}

/// The server of this group that a certificate names; none if it names none, or more than one.
pub(crate) fn server_of(der: &CertificateDer<'_>, group: &str) -> Option<String> {
    let certificate = EndEntityCert::try_from(der).ok()?;
    let prefix = server_uri(group, "");
    let mut names = certificate.valid_uri_names();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    name.strip_prefix(&prefix).filter(|server| !server.is_empty()).map(str::to_owned)
}

/// By which a certificate is revoked: SHA-256 of all of it.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> Fingerprint {
    let found = digest(&SHA256, der);
    Fingerprint(found.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// The certificates in a file.
///
/// # Errors
/// One line: it cannot be read, or there is none in it.
pub(crate) fn load(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let text = files::read_public(path)?;
    parse(&text).map_err(|why| error(format!("'{}': {why}", path.display())))
}

/// The certificates in a PEM text.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|e| format!("no certificate: {e}"))?;
    if found.is_empty() || found.len() > AUTHORITIES_MAX {
        return Err(format!("{} certificates, 1 to {AUTHORITIES_MAX} are possible", found.len()));
    }
    Ok(found)
}

/// What is believed if these authorities are.
///
/// # Errors
/// One line: one of them is no certificate.
pub(crate) fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, ServeError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|e| error(format!("a certificate of the group's authority is none: {e}")))?;
    }
    Ok(roots)
}

/// Whether one of the authorities signed a certificate.
///
/// # Errors
/// Why nobody should believe it.
pub(crate) fn verify(der: &CertificateDer<'_>, roots: &RootCertStore) -> Result<(), webpki::Error> {
    let algorithms = provider::default_provider().signature_verification_algorithms;
    EndEntityCert::try_from(der)?
        .verify_for_usage(
            algorithms.all,
            &roots.roots,
            &[],
            UnixTime::now(),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_reads_back_from_its_text() {
        let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let (der, pem) = (certificate.cert.der(), certificate.cert.pem());
        assert_eq!(parse(&pem).unwrap(), std::slice::from_ref(der));
        assert_eq!(server_of(der, "lab"), None);
        assert!(parse("").unwrap_err().contains("0 certificates"));
        assert!(parse(&pem.repeat(5)).unwrap_err().contains("5 certificates"));
        assert!(parse(&pem.replace("-----END", "---")).is_err());
    }
}
