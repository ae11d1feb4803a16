//! `evenkeel group certificates`, `evenkeel group revoke`

use super::Context;
use crate::client::Client;
use crate::display::utc;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{CertificatesTable, RevokeCertificates};

/// Digits of a certificate's hash.
const HASH_DIGITS: usize = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct List {}

#[derive(clap::Args, Debug)]
pub(crate) struct Revoke {
    /// A certificate, as 'evenkeel group certificates' names it, or a server: then all of its certificates.
    #[arg(value_name = "CERTIFICATE|SERVER")]
    which: String,
}

pub(crate) fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    show(context.format, &client.get::<CertificatesTable>("/v1/certificates")?)
}

pub(crate) fn revoke(context: &Context, client: &Client, flags: &Revoke) -> Result<(), Failure> {
    let which = Some(flags.which.clone());
    let request = if flags.which.len() == HASH_DIGITS {
        RevokeCertificates { certificate: which, server: None }
    } else {
        RevokeCertificates { certificate: None, server: which }
    };
    show(context.format, &client.post::<_, CertificatesTable>("/v1/certificates/revoke", &request)?)
}

impl Human for CertificatesTable {
    fn human(&self) -> String {
        if self.certificates.is_empty() {
            return "no certificates".to_owned();
        }
        let columns = [
            Column::Text("SERVER"),
            Column::Text("STATE"),
            Column::Text("SINCE"),
            Column::Text("CERTIFICATE"),
        ];
        let rows = self.certificates.iter().map(|row| {
            vec![
                if row.server.is_empty() { "-".to_owned() } else { row.server.clone() },
                if row.revoked_ms.is_some() { "revoked" } else { "good" }.to_owned(),
                utc(row.revoked_ms.unwrap_or(row.since_ms)),
                row.certificate.clone(),
            ]
        });
        table(&columns, rows)
    }
}
