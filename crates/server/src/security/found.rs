//! The beginning of a group that several machines share: its authority, and the token of its admin API.

use super::authority::{self, Authority};
use super::{api_token, files};
use crate::config::check_group_name;
use crate::error::{ServeError, error};
use std::path::{Path, PathBuf};

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Founded {
    /// The group's certificate.
    pub authority_certificate: PathBuf,
    /// The key that signs the certificates of its servers.
    pub authority_key: PathBuf,
    /// The tokens of the admin API.
    pub api_token: PathBuf,
}

/// Makes the authority of a group and the token of its admin API, in the data folder of its first machine.
///
/// # Errors
/// One line: the name cannot be a group's, there is an authority already, or a file cannot be written.
pub fn found(data: &Path, group: &str) -> Result<Founded, ServeError> {
    check_group_name(group)?;
    crate::process::make_folder(data)?;
    let folder = files::folder(data);
    files::make_folder(&folder)?;
    let token = files::api_token(data);
    Authority::make(&folder, group)?;
    if !token.exists() {
        files::write_secret(&token, &format!("{}\n", api_token::fresh()?))?;
    }
    Ok(Founded {
        authority_certificate: authority::certificate_path(&folder),
        authority_key: authority::key_path(&folder),
        api_token: token,
    })
}

/// The first token in a file of tokens of the admin API.
///
/// # Errors
/// One line: the file cannot be read, others may read it, or there is no token in it.
pub fn read_api_token(path: &Path) -> Result<String, ServeError> {
    let text = files::read_secret(path)?;
    let token = api_token::first(&text);
    token.map(str::to_owned).ok_or_else(|| error(format!("'{}': no token in it", path.display())))
}
