//! Who may talk to this process, and how it shows who it is. `docs/security.md` says who can do what with which secret.
//!
//! * [`authority`]: the group's own authority, and the certificates that it signs.
//! * [`certificate`]: what a certificate says, and who believes it.
//! * [`identity`]: how a server shows its peers who it is.
//! * [`found`]: what makes the authority, once.
//! * [`join`]: how a machine becomes one of the group.
//! * [`tls`]: TLS 1.3 between servers.
//! * [`files`]: the folder of the secrets, and files that only root reads.
//! * [`api_token`]: what a call of the admin API has to show.
//! * [`told`]: refusals are logged once for each source and reason, however often they are repeated.

pub(crate) mod api_token;
pub(crate) mod authority;
pub(crate) mod certificate;
pub(crate) mod files;
pub(crate) mod found;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod tls;
pub(crate) mod told;
