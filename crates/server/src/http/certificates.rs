//! `POST /v1/join-tokens`, `GET /v1/certificates`, `POST /v1/certificates/revoke`.

use super::Group;
use super::reply::{Reply, bad_request, conflict, not_found, unavailable};
use super::scope::Caller;
use crate::clock::wall_ms;
use crate::security::join::{Token, hash_of};
use crate::security::{authority, certificate};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use evenkeel_api::{CertificateRow, CertificatesTable, CreateJoinToken, JoinToken, RevokeCertificates};
use evenkeel_meta::change;
use evenkeel_meta::records::{CertificateRecord, Fingerprint, JoinTokenRecord};
use std::sync::Arc;

/// For how long a join token is good at most, in seconds.
const EXPIRES_S_MAX: u64 = 7 * 24 * 3600;
/// Join tokens that wait to be used at most.
const JOIN_TOKENS_MAX: usize = 256;

pub(super) async fn create_token(
    State(group): State<Arc<Group>>,
    caller: Caller,
    wanted: Result<Json<CreateJoinToken>, JsonRejection>,
) -> Reply<JoinToken> {
    let Json(CreateJoinToken { servers, expires_s }) = wanted?;
    if !(1..=EXPIRES_S_MAX).contains(&expires_s) {
        return Err(bad_request(format!(
            "expires_s {expires_s}: from 1 to {EXPIRES_S_MAX} seconds (a week)"
        )));
    }
    for name in &servers {
        crate::config::check_server_name(name).map_err(|e| bad_request(e.to_string()))?;
    }
    if !group.config.has_authority() {
        return Err(conflict(
            "the group has no authority that could let anybody in: 'evenkeel group init' makes one",
        ));
    }
    let path = authority::certificate_path(&group.config.secrets());
    let authorities = certificate::load(&path).map_err(|e| unavailable(e.to_string()))?;
    let token =
        Token::fresh(certificate::fingerprint(&authorities[0])).map_err(|e| unavailable(e.to_string()))?;
    let now = wall_ms();
    group.forget_expired_tokens(now).await;
    let record = JoinTokenRecord { servers: servers.clone(), expires_unix_ms: now + expires_s * 1000 };
    group
        .change(&caller, |view, _| {
            if view.join_tokens().count() >= JOIN_TOKENS_MAX {
                return Err(conflict(format!(
                    "{JOIN_TOKENS_MAX} join tokens wait to be used: use them, or wait"
                )));
            }
            let txn = change::create_join_token(view, hash_of(&token.secret), &record);
            Ok(((), txn.map_err(|e| bad_request(e.to_string()))?))
        })
        .await?;
    Ok(Json(JoinToken { token: token.text(), servers, expires_ms: record.expires_unix_ms }))
}

pub(super) async fn list(State(group): State<Arc<Group>>) -> Reply<CertificatesTable> {
    let view = group.view().await?;
    Ok(Json(table(view.certificates().map(|(id, kept)| row(id, &kept.record)).collect())))
}

pub(super) async fn revoke(
    State(group): State<Arc<Group>>,
    caller: Caller,
    wanted: Result<Json<RevokeCertificates>, JsonRejection>,
) -> Reply<CertificatesTable> {
    let Json(wanted) = wanted?;
    let now = wall_ms();
    let rows = group
        .change(&caller, |view, _| {
            let found: Vec<Fingerprint> = match (&wanted.certificate, &wanted.server) {
                (Some(text), None) => {
                    let id = Fingerprint::parse(text);
                    vec![id.ok_or_else(|| {
                        bad_request(format!("certificate '{text}': write 64 of 0-9 and a-f"))
                    })?]
                }
                (None, Some(server)) => {
                    let of = view.certificates().filter(|(_, kept)| kept.record.server == *server);
                    of.map(|(id, _)| id).collect()
                }
                _ => return Err(bad_request("name a certificate or a server, one of the two")),
            };
            if found.is_empty() {
                let server = wanted.server.as_deref().unwrap_or_default();
                return Err(not_found(format!("server '{server}': no certificate of it is on record")));
            }
            let rows: Vec<CertificateRow> = found
                .iter()
                .map(|id| {
                    let unknown = CertificateRecord {
                        server: String::new(),
                        since_unix_ms: now,
                        revoked_unix_ms: None,
                    };
                    let record = view.certificate(*id).map_or(unknown, |kept| kept.record.clone());
                    let revoked_unix_ms = Some(record.revoked_unix_ms.unwrap_or(now));
                    row(*id, &CertificateRecord { revoked_unix_ms, ..record })
                })
                .collect();
            Ok((rows, change::revoke_certificates(view, &found, now)))
        })
        .await?;
    for row in &rows {
        tracing::warn!("api: the certificate {} of server '{}' was revoked", row.certificate, row.server);
    }
    Ok(Json(table(rows)))
}

fn row(id: Fingerprint, record: &CertificateRecord) -> CertificateRow {
    CertificateRow {
        certificate: id.to_string(),
        server: record.server.clone(),
        since_ms: record.since_unix_ms,
        revoked_ms: record.revoked_unix_ms,
    }
}

fn table(mut certificates: Vec<CertificateRow>) -> CertificatesTable {
    certificates.sort_by(|a, b| (&a.server, a.since_ms).cmp(&(&b.server, b.since_ms)));
    CertificatesTable { certificates }
}

impl Group {
    /// Makes room for new tokens. Whether that works is no matter: an expired token is no good anyway.
    async fn forget_expired_tokens(&self, now: u64) {
        let Ok(view) = self.view().await else { return };
        if let Some(txn) = change::forget_join_tokens(&view, now) {
            let directory = Arc::clone(&self.directory);
            let _ = tokio::task::spawn_blocking(move || directory.transact(&txn)).await;
        }
    }
}
