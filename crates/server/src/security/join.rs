//! A machine joins: it shows a join token, and the authority signs a certificate for its key.
//!
//! A token is `evk1-SECRET-PIN`. The pin is the hash of the authority's certificate: by it the joining machine knows
//! that it talks to its group before it says the secret. The secret says to the group that the machine may join, as
//! which servers; the directory knows its hash only, and forgets it with the first use. One line of JSON goes each way
//! over TLS 1.3. Keys never travel.

use super::certificate::{self, Fingerprint};
use super::identity::{self, Identity};
use super::tls::{self, JOIN};
use super::{authority, files};
use crate::error::{ServeError, error};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PublicKeyData};
use rustls::client::Resumption;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of what a joining machine says at most.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Bytes of the answer at most: certificates for all servers that a token can name.
const REPLY_BYTES_MAX: u64 = 256 << 10;
/// Time for connecting to each address, and then for each part of the exchange.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Random bytes of a token's secret.
const SECRET_BYTES: usize = 16;
/// What a token begins with: its version.
const PREFIX: &str = "evk1";

/// What a joining machine says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinRequest {
    /// The token's secret.
    pub(crate) secret: String,
    /// Its public key: an uncompressed point of P-256, in hexadecimal.
    pub(crate) key: String,
}

/// What it is answered: one of the two.
#[derive(Serialize, Deserialize)]
pub(crate) enum JoinReply {
    /// It has joined.
    #[serde(rename = "joined")]
    Joined(Grant),
    /// Why it has not.
    #[serde(rename = "refused")]
    Refused(String),
}

/// All that a machine needs to be one of the group.
#[derive(Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) group: String,
    /// The certificates of the group's authority.
    pub(crate) authority: String,
    /// For each server its name and its certificate.
    pub(crate) servers: Vec<(String, String)>,
    /// The token of the admin API, if it has one.
    pub(crate) api_token: Option<String>,
}

/// A join token.
pub(crate) struct Token {
    pub(crate) secret: String,
    pub(crate) pin: Fingerprint,
}

impl Token {
    /// A new one for the group with this authority.
    ///
    /// # Errors
    /// One line if there are no random numbers.
    pub(crate) fn fresh(pin: Fingerprint) -> Result<Self, ServeError> {
        let mut bytes = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| error("no random numbers"))?;
        Ok(Self { secret: hex(&bytes), pin })
    }

    /// What people copy.
    pub(crate) fn text(&self) -> String {
        format!("{PREFIX}-{}-{}", self.secret, self.pin)
    }

    fn parse(text: &str) -> Result<Self, ServeError> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let token = match parts[..] {
            [PREFIX, secret, pin] if secret.len() == 2 * SECRET_BYTES => {
                Fingerprint::parse(pin).map(|pin| Self { secret: secret.to_owned(), pin })
            }
            _ => None,
        };
        // The text may hold a secret: it is not repeated.
        token.ok_or_else(|| {
            error("the join token is none: copy all of what 'evenkeel group token' printed, from evk1- on")
        })
    }
}

/// By which the directory knows a secret.
pub(crate) fn hash_of(secret: &str) -> Fingerprint {
    let found = digest(&SHA256, secret.as_bytes());
    Fingerprint(found.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that a text in hexadecimal stands for.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// What joining gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Name of the group.
    pub group: String,
    /// The servers that this machine may run now.
    pub servers: Vec<String>,
    /// The folder of their keys and certificates.
    pub folder: PathBuf,
}

/// Makes this machine one of a group: asks the server at `from` (host and peer port) with a join token, and keeps what it
/// gets in the data folder.
///
/// # Errors
/// One line: the token is none or not good any more, nobody or another group is there, or a file cannot be written.
pub fn join(data: &Path, from: &str, token: &str) -> Result<Joined, ServeError> {
    let token = Token::parse(token)?;
    let folder = files::folder(data);
    let kept = authority::certificate_path(&folder);
    if kept.exists() && !names(&certificate::load(&kept)?, token.pin) {
        return Err(error(format!(
            "'{}': this machine belongs to another group already; name another data folder",
            kept.display()
        )));
    }
    let key = KeyPair::generate().map_err(|e| error(format!("cannot make a key: {e}")))?;
    let request = JoinRequest { secret: token.secret, key: hex(key.der_bytes()) };
    let grant = match ask(from, token.pin, &request)? {
        JoinReply::Joined(grant) => grant,
        JoinReply::Refused(why) => return Err(error(format!("'{from}' refused: {why}"))),
    };
    let authorities =
        certificate::parse(&grant.authority).map_err(|why| error(format!("'{from}': {why}")))?;
    if !names(&authorities, token.pin) {
        return Err(error(format!("'{from}' sent another authority than its own")));
    }
    crate::process::make_folder(data)?;
    files::make_folder(&folder)?;
    for (server, certificate) in &grant.servers {
        identity::write(&folder, server, &key, certificate)?;
    }
    if let Some(token) = &grant.api_token {
        files::write_secret(&files::api_token(data), &format!("{token}\n"))?;
    }
    files::write_public(&kept, &grant.authority)?;
    for (server, _) in &grant.servers {
        let _ = Identity::load(&folder, &grant.group, server)?;
    }
    let servers = grant.servers.into_iter().map(|(server, _)| server).collect();
    Ok(Joined { group: grant.group, servers, folder })
}

fn names(authorities: &[rustls::pki_types::CertificateDer<'_>], pin: Fingerprint) -> bool {
    authorities.iter().any(|authority| certificate::fingerprint(authority) == pin)
}

fn ask(from: &str, pin: Fingerprint, request: &JoinRequest) -> Result<JoinReply, ServeError> {
    let wrong = |e: &dyn std::fmt::Display| error(format!("'{from}': {e}"));
    let stream = connect(from)?;
    stream
        .set_read_timeout(Some(ANSWER_WITHIN))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_WITHIN)))
        .map_err(|e| wrong(&e))?;
    let mut config = ClientConfig::builder_with_provider(tls::crypto())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| wrong(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(tls::PinVerifier::new(pin)))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    let connection = ClientConnection::new(Arc::new(config), tls::no_dns_name()).map_err(|e| wrong(&e))?;
    let mut stream = StreamOwned::new(connection, stream);
    let line = serde_json::to_string(request).expect("two strings");
    let said = |e: std::io::Error| {
        let unlike = "is it the peer port of a server of the group that the token is of?";
        error(format!("'{from}': cannot join: {e}; {unlike}"))
    };
    stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush()).map_err(said)?;
    let mut reply = String::new();
    BufReader::new(stream).take(REPLY_BYTES_MAX).read_line(&mut reply).map_err(said)?;
    serde_json::from_str(&reply).map_err(|_| wrong(&"gave no answer; look at the log there"))
}

fn connect(from: &str) -> Result<TcpStream, ServeError> {
    let advice = "write HOST:PORT, where PORT is the peer port of a server of the group (7260)";
    let addresses: Vec<_> =
        from.to_socket_addrs().map_err(|e| error(format!("'{from}': {e}; {advice}")))?.collect();
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e.to_string(),
        }
    }
    Err(error(format!("'{from}': {last}; {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_what_is_none_is_refused_without_repeating_it() {
        let token = Token::fresh(Fingerprint([0xab; 32])).unwrap();
        let text = token.text();
        let read = Token::parse(&format!(" {text}\n")).unwrap();
        assert_eq!((&read.secret, read.pin), (&token.secret, token.pin));
        for bad in
            ["", "evk1", &text[1..], &text[..text.len() - 1], &text.replace("evk1", "evk2"), "evk1-a-b"]
        {
            let why = Token::parse(bad).err().unwrap().to_string();
            assert!(why.contains("evenkeel group token") && !why.contains(&token.secret), "{why}");
        }
        assert_ne!(Token::fresh(token.pin).unwrap().secret, token.secret);
    }

    #[test]
    fn hexadecimal_reads_back_and_other_text_does_not() {
        assert_eq!(unhex(&hex(&[0, 1, 0xfe])), Some(vec![0, 1, 0xfe]));
        for bad in ["0", "0g", "é", "+1"] {
            assert!(unhex(bad).is_none_or(|bytes| bad == "+1" && bytes == [1]), "{bad}");
        }
    }
}
