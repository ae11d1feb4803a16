//! Who may call the API: on loopback without tokens everybody, else whoever shows one.

use super::reply::Failure;
use crate::clock;
use crate::security::api_token::{Right, TokenFile};
use crate::security::told::{Tell, Told};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Looks at each call before its handler does.
pub(crate) struct Guard {
    tokens: TokenFile,
    told: Mutex<Told>,
}

/// Why a call is refused: for the log, and for whoever called.
struct Refused {
    status: StatusCode,
    reason: &'static str,
}

const NO_TOKEN: Refused = Refused {
    status: StatusCode::UNAUTHORIZED,
    reason: "the call shows no token: it needs 'Authorization: Bearer TOKEN' (evenkeel --token-file FILE)",
};
const WRONG_TOKEN: Refused = Refused {
    status: StatusCode::UNAUTHORIZED,
    reason: "the call shows a token that this group does not have",
};
const MAY_ONLY_LOOK: Refused =
    Refused { status: StatusCode::FORBIDDEN, reason: "the call shows a token that may only look (GET)" };

impl Guard {
    pub(crate) fn new(tokens: TokenFile) -> Self {
        Self { tokens, told: Mutex::default() }
    }

    fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        let token = bearer(headers).ok_or(NO_TOKEN)?;
        match self.tokens.right_of(token).ok_or(WRONG_TOKEN)? {
            Right::All => Ok(()),
            Right::Read if *method == Method::GET || *method == Method::HEAD => Ok(()),
            Right::Read => Err(MAY_ONLY_LOOK),
        }
    }

    fn tell(&self, from: SocketAddr, method: &Method, path: &str, reason: &'static str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let more = match told.note(clock::now(), from.ip(), reason) {
            Tell::Not => return,
            Tell::Now => "",
            Tell::Last => "; further sources are not logged for now",
        };
        // A path is as long as the caller likes.
        let path: String = path.chars().take(80).collect();
        tracing::warn!("api: refused {method} {path:?} from {}: {reason}{more}", from.ip());
    }
}

/// The token that a call shows (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start())
}

/// Lets a call through to its handler, or answers it.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match guard.judge(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refused { status, reason }) => {
            guard.tell(from, request.method(), request.uri().path(), reason);
            let mut answer = Failure::new(status, reason).into_response();
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::files;

    const ADMIN: &str = "an-admin-token-0123456789";
    const LOOK: &str = "a-looking-token-0123456789";

    fn judge(method: &Method, shown: &[&str]) -> Option<StatusCode> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-token");
        files::write_secret(&path, &format!("{ADMIN}\n{LOOK} read\n")).unwrap();
        let guard = Guard::new(TokenFile::open(path).unwrap());
        let mut headers = HeaderMap::new();
        for value in shown {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        guard.judge(method, &headers).err().map(|refused| refused.status)
    }

    #[test]
    fn a_call_goes_through_with_a_token_that_may_do_it_and_with_nothing_else() {
        let (admin, look) = (format!("Bearer {ADMIN}"), format!("bearer {LOOK}"));
        assert_eq!(judge(&Method::POST, &[&admin]), None);
        assert_eq!(judge(&Method::GET, &[&admin]), None);
        assert_eq!(judge(&Method::GET, &[&look]), None);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(judge(&method, &[&look]), Some(StatusCode::FORBIDDEN));
        }
        let basic = format!("Basic {ADMIN}");
        for shown in
            [&[][..], &[ADMIN], &["Bearer"], &["Bearer "], &["Bearer x"], &[&basic], &[&admin, &look]]
        {
            assert_eq!(judge(&Method::GET, shown), Some(StatusCode::UNAUTHORIZED), "{shown:?}");
        }
    }
}
