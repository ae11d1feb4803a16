//! TLS 1.3 between servers: what both sides show, and whom they believe.
//!
//! Both sides show a certificate of the group's authority. The protocol within is agreed upon by ALPN (RFC 7301), which
//! the handshake protects: whether payloads are encrypted, or that somebody without a certificate wants to join.

use super::certificate::{self, Fingerprint};
use super::identity::Identity;
use crate::config::PeerData;
use crate::error::{ServeError, error};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Peers whose frames travel in TLS records.
pub(crate) const ENCRYPTED: &[u8] = b"evenkeel-peer/encrypted";
/// Peers whose frames travel as they are, each with a tag.
pub(crate) const PLAIN: &[u8] = b"evenkeel-peer/plain";
/// A machine that has a join token.
pub(crate) const JOIN: &[u8] = b"evenkeel-join/1";

/// The certificates that nobody believes any more.
pub(crate) type Revoked = Arc<RwLock<BTreeSet<Fingerprint>>>;

/// The one provider of cryptography, with the ciphers in the order in which they are wanted.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    use provider::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..provider::default_provider()
    })
}

/// The two ends of a server's connections to its peers.
pub(crate) struct PeerTls {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) revoked: Revoked,
    /// For connections that others dial.
    pub(crate) accepting: Arc<ServerConfig>,
    /// For those that this server dials.
    pub(crate) dialling: Arc<ClientConfig>,
}

impl PeerTls {
    /// For a server with this identity.
    ///
    /// # Errors
    /// One line: key and certificate do not belong together.
    pub(crate) fn new(identity: Identity, data: PeerData) -> Result<Self, ServeError> {
        let Identity { group, server, fingerprint, certificate, key, authorities } = identity;
        let wrong = |e: Error| error(format!("certificate and key of server '{server}': {e}"));
        let revoked = Revoked::default();
        let crypto = crypto();
        let roots = Arc::new(certificate::roots(&authorities)?);
        let members = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&crypto))
            .allow_unauthenticated()
            .build()
            .map_err(|e| error(format!("the group's authority: {e}")))?;
        let verifier = Arc::new(MemberVerifier {
            group,
            revoked: Arc::clone(&revoked),
            roots,
            members,
            crypto: Arc::clone(&crypto),
        });
        // Payloads are left unencrypted only if both sides want it so.
        let peers: Vec<Vec<u8>> = match data {
            PeerData::Encrypted => vec![ENCRYPTED.to_vec()],
            PeerData::Plain => vec![PLAIN.to_vec(), ENCRYPTED.to_vec()],
        };
        // The authority's certificate goes along for those who know no more of it than its hash: who join.
        let chain = |authorities: &[CertificateDer<'static>]| {
            [certificate.clone()].into_iter().chain(authorities.iter().cloned()).collect::<Vec<_>>()
        };
        let mut accepting = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&TLS13])
            .map_err(wrong)?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_single_cert(chain(&authorities), key.clone_key())
            .map_err(wrong)?;
        accepting.alpn_protocols = peers.iter().cloned().chain([JOIN.to_vec()]).collect();
        // Every connection is a handshake of its own, in which the certificates are looked at.
        accepting.session_storage = Arc::new(NoServerSessionStorage {});
        accepting.send_tls13_tickets = 0;
        let mut dialling = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&TLS13])
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![certificate.clone()], key)
            .map_err(wrong)?;
        dialling.alpn_protocols = peers;
        dialling.resumption = Resumption::disabled();
        dialling.enable_sni = false;
        Ok(Self { fingerprint, revoked, accepting: Arc::new(accepting), dialling: Arc::new(dialling) })
    }
}

/// What stands for the name of a server where rustls wants one of the DNS. Names are compared by this program: see
/// [`certificate::server_of`].
pub(crate) fn no_dns_name() -> ServerName<'static> {
    ServerName::try_from("evenkeel.invalid").expect("a name of the DNS")
}

/// Believes the certificates of the group's authority that name a server of the group and are not revoked.
#[derive(Debug)]
struct MemberVerifier {
    group: String,
    revoked: Revoked,
    roots: Arc<RootCertStore>,
    members: Arc<dyn ClientCertVerifier>,
    crypto: Arc<CryptoProvider>,
}

impl MemberVerifier {
    fn check_member(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if certificate::server_of(certificate, &self.group).is_none() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if revoked.contains(&certificate::fingerprint(certificate)) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(())
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.crypto.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &[], now, algorithms)?;
        self.check_member(certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.members.supported_verify_schemes()
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn client_auth_mandatory(&self) -> bool {
        // Who wants to join has no certificate yet. Who has none gets no further than that.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.members.verify_client_cert(certificate, &[], now)?;
        self.check_member(certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.members.supported_verify_schemes()
    }
}

/// Believes the servers of the group whose authority has a certificate of this hash: for machines that know no more of
/// the group yet.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    pin: Fingerprint,
    crypto: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(crate) fn new(pin: Fingerprint) -> Self {
        Self { pin, crypto: crypto() }
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = more.iter().find(|one| certificate::fingerprint(one) == self.pin);
        let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.crypto.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.crypto.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
