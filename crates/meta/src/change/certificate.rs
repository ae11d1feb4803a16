//! Who may be a server of the group: certificates and join tokens.

use super::{ChangeError, NoJoinTokenSnafu, ServersOfTokenSnafu, guarded};
use crate::records::{
    CertificateRecord, Fingerprint, JOIN_SERVERS_MAX, JoinTokenRecord, check_server_name, encode_json,
};
use crate::txn::{Compare, Operation, Txn};
use crate::view::View;
use snafu::{OptionExt, ensure};

/// Records a certificate; `None` if there is a record of it already.
///
/// Compares: that there is none.
#[must_use]
pub fn record_certificate(
    view: &View,
    certificate: Fingerprint,
    server: &str,
    now_unix_ms: u64,
) -> Option<Txn> {
    if view.certificate(certificate).is_some() {
        return None;
    }
    let key = view.keys().certificate(certificate);
    Some(guarded(vec![Compare::absent(key.clone())], vec![Operation::put(key, fresh(server, now_unix_ms))]))
}

/// Revokes certificates for ever. One that is not on record (it was made when the directory that was restored did not
/// know it yet) is recorded with an unknown server.
///
/// Compares: their records as in the view.
#[must_use]
pub fn revoke_certificates(view: &View, certificates: &[Fingerprint], now_unix_ms: u64) -> Txn {
    let (mut compares, mut puts) = (Vec::new(), Vec::new());
    for certificate in certificates {
        let key = view.keys().certificate(*certificate);
        let kept = view.certificate(*certificate);
        let unknown =
            || CertificateRecord { server: String::new(), since_unix_ms: now_unix_ms, revoked_unix_ms: None };
        let record = kept.map_or_else(unknown, |kept| kept.record.clone());
        let revoked_unix_ms = Some(record.revoked_unix_ms.unwrap_or(now_unix_ms));
        compares.push(Compare::as_read(key.clone(), kept.map(|kept| kept.revision)));
        puts.push(Operation::put(key, encode_json(&CertificateRecord { revoked_unix_ms, ..record })));
    }
    guarded(compares, puts)
}

/// Makes a join token, of which only the hash is known here.
///
/// Compares: that there is none with this hash.
///
/// # Errors
/// [`ChangeError::Name`], [`ChangeError::ServersOfToken`].
pub fn create_join_token(
    view: &View,
    token: Fingerprint,
    record: &JoinTokenRecord,
) -> Result<Txn, ChangeError> {
    let servers = &record.servers;
    let distinct = servers.iter().enumerate().all(|(n, name)| !servers[..n].contains(name));
    ensure!(
        (1..=JOIN_SERVERS_MAX).contains(&servers.len()) && distinct,
        ServersOfTokenSnafu { servers: servers.clone() }
    );
    servers.iter().try_for_each(|name| check_server_name(name))?;
    let key = view.keys().join_token(token);
    Ok(guarded(vec![Compare::absent(key.clone())], vec![Operation::put(key, encode_json(record))]))
}

/// Takes a join token, which is then gone, and records the certificates that were signed for it.
///
/// Compares: the token's record as in the view; that the certificates have no records.
///
/// # Errors
/// [`ChangeError::NoJoinToken`] if there is none or its time is over.
pub fn redeem_join_token(
    view: &View,
    token: Fingerprint,
    certificates: &[(Fingerprint, String)],
    now_unix_ms: u64,
) -> Result<Txn, ChangeError> {
    let kept = view.join_token(token, now_unix_ms).context(NoJoinTokenSnafu)?;
    let keys = view.keys();
    let key = keys.join_token(token);
    let mut compares = vec![Compare::unchanged(key.clone(), kept.revision)];
    let mut operations = vec![Operation::delete(&key)];
    for (certificate, server) in certificates {
        compares.push(Compare::absent(keys.certificate(*certificate)));
        operations.push(Operation::put(keys.certificate(*certificate), fresh(server, now_unix_ms)));
    }
    Ok(guarded(compares, operations))
}

/// Forgets the join tokens whose time is over; `None` if there are none.
///
/// Compares: nothing, as a token whose time is over is never good again.
#[must_use]
pub fn forget_join_tokens(view: &View, now_unix_ms: u64) -> Option<Txn> {
    let over = view.join_tokens().filter(|(_, kept)| kept.record.expires_unix_ms <= now_unix_ms);
    let operations: Vec<_> = over
        .map(|(token, _)| Operation::delete(&view.keys().join_token(token)))
        .take(JOIN_SERVERS_MAX)
        .collect();
    (!operations.is_empty()).then(|| guarded(Vec::new(), operations))
}

fn fresh(server: &str, now_unix_ms: u64) -> evenkeel_types::Bytes {
    encode_json(&CertificateRecord {
        server: server.to_owned(),
        since_unix_ms: now_unix_ms,
        revoked_unix_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use crate::memory::MemoryDirectory;
    use crate::{KeyRange, Keyspace};

    const CERTIFICATE: Fingerprint = Fingerprint([1; 32]);
    const TOKEN: Fingerprint = Fingerprint([2; 32]);

    fn view(directory: &MemoryDirectory) -> View {
        let keys = Keyspace::new("g").unwrap();
        let snapshot = directory.range(&KeyRange::prefix(keys.prefix()), None).unwrap();
        View::from_snapshot(keys, &snapshot).unwrap()
    }

    fn happens(directory: &MemoryDirectory, txn: &Txn) -> bool {
        directory.transact(txn).unwrap().succeeded
    }

    #[test]
    fn a_revoked_certificate_stays_revoked() {
        let directory = MemoryDirectory::default();
        let before = view(&directory);
        let record = record_certificate(&before, CERTIFICATE, "s1", 3).unwrap();
        assert!(happens(&directory, &record));
        assert_eq!(view(&directory).revoked_certificates().count(), 0);
        assert!(happens(&directory, &revoke_certificates(&view(&directory), &[CERTIFICATE], 5)));
        // What was decided on an older view, and a second revocation, change nothing about it.
        assert!(!happens(&directory, &record));
        assert_eq!(record_certificate(&view(&directory), CERTIFICATE, "s1", 7), None);
        assert!(happens(&directory, &revoke_certificates(&view(&directory), &[CERTIFICATE, TOKEN], 9)));
        let after = view(&directory);
        assert_eq!(after.revoked_certificates().collect::<Vec<_>>(), [CERTIFICATE, TOKEN]);
        assert_eq!(after.certificate(TOKEN).unwrap().record.server, "", "it was not on record");
        assert_eq!(after.certificate(CERTIFICATE).unwrap().record.revoked_unix_ms, Some(5));
    }

    #[test]
    fn a_join_token_is_good_once_and_only_until_it_expires() {
        let directory = MemoryDirectory::default();
        let record = JoinTokenRecord { servers: vec!["s4".into(), "s5".into()], expires_unix_ms: 100 };
        assert!(happens(&directory, &create_join_token(&view(&directory), TOKEN, &record).unwrap()));
        let now = view(&directory);
        assert_eq!(redeem_join_token(&now, TOKEN, &[], 100), Err(ChangeError::NoJoinToken));
        assert_eq!(redeem_join_token(&now, CERTIFICATE, &[], 99), Err(ChangeError::NoJoinToken));
        let redeem = redeem_join_token(&now, TOKEN, &[(CERTIFICATE, "s4".into())], 99).unwrap();
        assert!(happens(&directory, &redeem));
        assert!(!happens(&directory, &redeem), "a second machine came in by the same token");
        assert_eq!(redeem_join_token(&view(&directory), TOKEN, &[], 99), Err(ChangeError::NoJoinToken));
        assert_eq!(view(&directory).certificate(CERTIFICATE).unwrap().record.server, "s4");
    }

    #[test]
    fn expired_tokens_are_forgotten_and_others_are_not() {
        let directory = MemoryDirectory::default();
        for (n, expires_unix_ms) in [(1, 10), (2, 20), (3, 30)] {
            let record = JoinTokenRecord { servers: vec!["s4".into()], expires_unix_ms };
            let token = Fingerprint([n; 32]);
            assert!(happens(&directory, &create_join_token(&view(&directory), token, &record).unwrap()));
        }
        assert!(happens(&directory, &forget_join_tokens(&view(&directory), 20).unwrap()));
        let left: Vec<_> = view(&directory).join_tokens().map(|(token, _)| token).collect();
        assert_eq!(left, [Fingerprint([3; 32])]);
        assert_eq!(forget_join_tokens(&view(&directory), 20), None);
    }

    #[test]
    fn a_token_names_distinct_servers_by_names_that_servers_can_have() {
        let view = view(&MemoryDirectory::default());
        let token = |servers: &[&str]| {
            let servers = servers.iter().map(|name| (*name).to_owned()).collect();
            create_join_token(&view, TOKEN, &JoinTokenRecord { servers, expires_unix_ms: 1 })
        };
        assert!(token(&["s4"]).is_ok());
        assert!(matches!(token(&[]), Err(ChangeError::ServersOfToken { .. })));
        assert!(matches!(token(&["a", "a"]), Err(ChangeError::ServersOfToken { .. })));
        assert!(matches!(token(&["A"]), Err(ChangeError::Name { .. })));
    }
}
