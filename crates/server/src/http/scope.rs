//! For whom a call of the API asks, and what it shows of itself.
//!
//! A call under `/v1/` is about the whole group: what this process does not know it asks the others. They are asked
//! under `/v1/here/`, and answer for their own servers alone, so no call goes round.

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::convert::Infallible;

/// What calls between processes begin with.
pub(super) const HERE: &str = "/v1/here";

/// Who calls, and about what.
#[derive(Clone)]
pub(super) struct Caller {
    /// The call is about this process's servers alone.
    pub(super) here_only: bool,
    /// What the caller shows of itself; shown again to the processes that are asked for it.
    pub(super) authorization: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let here_only = parts.uri.path().strip_prefix(HERE).is_some_and(|rest| rest.starts_with('/'));
        Ok(Self { here_only, authorization: parts.headers.get(AUTHORIZATION).cloned() })
    }
}
