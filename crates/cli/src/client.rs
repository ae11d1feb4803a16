//! The client of the admin API: blocking, one request at a time.

use crate::failure::{Exit, Failure};
use evenkeel_api::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::header::{AUTHORIZATION, HeaderValue};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, RequestBuilder};

/// Where the API is unless `--api` or the environment says otherwise.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:8260";
/// The environment variable that says where the API is.
pub(crate) const API_VARIABLE: &str = "EVENKEEL_API";
/// The environment variable with the token of the API.
const TOKEN_VARIABLE: &str = "EVENKEEL_TOKEN";
/// The environment variable that names the file with the token.
const TOKEN_FILE_VARIABLE: &str = "EVENKEEL_TOKEN_FILE";
/// The environment variable that names the data folder of a process on this machine, and what it is otherwise.
const DATA: (&str, &str) = ("EVENKEEL_DATA", "/var/lib/evenkeel");
/// Longest time to get a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a request from its start to the last byte of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: enough for the routing table of a volume of 4 TiB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A client of one API.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// The `Authorization` header, if there is a token.
    authorization: Option<HeaderValue>,
}

/// The token to show: from the named file, from the environment, or from the data folder of this machine, in this order.
/// What was not named need not be there: many groups have no token, and root alone reads the file of those that do.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = file.map(Path::to_owned).or_else(|| variable(TOKEN_FILE_VARIABLE).map(PathBuf::from));
    if let Some(path) = named {
        let token = evenkeel_server::read_api_token(&path);
        return token.map(Some).map_err(|e| Failure::new(Exit::Usage, format_args!("token file {e}")));
    }
    if let Some(token) = variable(TOKEN_VARIABLE) {
        return Ok(Some(token.to_string_lossy().into_owned()));
    }
    let data = variable(DATA.0).map_or_else(|| PathBuf::from(DATA.1), PathBuf::from);
    Ok(evenkeel_server::read_api_token(&data.join("tls/api-token")).ok())
}

impl Client {
    /// A client of the API at `url`: `http://HOST:PORT`, or `HOST:PORT`, that shows a token. Nothing is connected yet.
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let base = match url.split_once("://") {
            None => format!("http://{url}"),
            Some(("http", _)) => url.to_owned(),
            Some(_) => String::new(),
        };
        let base = base.trim_end_matches('/').to_owned();
        let good = |uri: Uri| {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            // Of `[::1]:8260` as of `localhost:8260`.
            let names_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
            let port_ok = !names_port || uri.port_u16().is_some_and(|port| port > 0);
            uri.scheme_str() == Some("http") && uri.host() != Some("") && port_ok && uri.query().is_none()
        };
        if !base.parse().is_ok_and(good) {
            let line = format!("API address '{url}': write http://HOST:PORT, for example {DEFAULT_API}");
            return Err(Failure::new(Exit::Usage, line));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // The API is on this machine or beside it; a proxy for the internet has no business with it.
            .proxy(None)
            .build();
        let authorization = match token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                    Failure::new(Exit::Usage, "API token: it has characters that no token has")
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { agent: agent.into(), base, authorization })
    }

    /// The address of the API, for lines to people.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.get_within(path, REQUEST_TIMEOUT)
    }

    /// `GET path`, with less time than usual for all of it.
    pub(crate) fn get_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, Failure> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(limit)).build();
        self.object(path, self.authorized(request).call())
    }

    /// `POST path` with an object as body.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::failed(format_args!("cannot write the request as JSON: {error}")))?;
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        self.object(path, self.authorized(request).send(&body))
    }

    /// `PUT path` with an object as body.
    pub(crate) fn put<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::failed(format_args!("cannot write the request as JSON: {error}")))?;
        let request = self.agent.put(self.url(path)).header("content-type", "application/json");
        self.object(path, self.authorized(request).send(&body))
    }

    /// `DELETE path`.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.body(path, self.authorized(self.agent.delete(self.url(path))).call()).map(drop)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The object in a good answer.
    fn object<T: DeserializeOwned>(&self, path: &str, answer: Answer) -> Result<T, Failure> {
        let body = self.body(path, answer)?;
        serde_json::from_slice(&body).map_err(|error| {
            let url = self.url(path);
            Failure::failed(format_args!(
                "{url} answered something else than expected ({error}); compare 'evenkeel version' with \
                 'evenkeel version --remote'"
            ))
        })
    }

    /// The body of a good answer, or what the API says went wrong.
    fn body(&self, path: &str, answer: Answer) -> Result<Vec<u8>, Failure> {
        let mut answer = answer.map_err(|error| self.transport_failure(&error))?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| self.transport_failure(&error))?;
        if answer.status().is_success() { Ok(body) } else { Err(self.refusal(path, answer.status(), &body)) }
    }

    fn refusal(&self, path: &str, status: StatusCode, body: &[u8]) -> Failure {
        let exit = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::Unreachable,
            _ => Exit::Failed,
        };
        match serde_json::from_slice::<ApiError>(body) {
            Ok(ApiError { error }) => Failure::new(exit, error),
            Err(_) => {
                let url = self.url(path);
                Failure::new(
                    exit,
                    format_args!("{url} answered '{status}' without a reason; is it an evenkeel API?"),
                )
            }
        }
    }

    fn transport_failure(&self, error: &ureq::Error) -> Failure {
        let base = &self.base;
        match error {
            ureq::Error::Timeout(_) => Failure::new(
                Exit::Unreachable,
                format_args!(
                    "no answer from {base} in time ({error}); look at the log of 'evenkeel serve' there"
                ),
            ),
            ureq::Error::Io(error) => self.unreachable(error),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => self.unreachable(error),
            _ => Failure::failed(format_args!("{base} does not answer like an evenkeel API ({error})")),
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        let line = format!(
            "cannot reach the API at {} ({error}); is 'evenkeel serve' running there? --api URL or {API_VARIABLE} \
             names another address",
            self.base
        );
        Failure::new(Exit::Unreachable, line)
    }
}

type Answer = Result<Response<Body>, ureq::Error>;

/// `text` as one segment of a path or one value of a query: all but letters, digits and `- . _ ~` as `%XX`
/// (RFC 3986 section 2.3).
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `?server=NAME`, or nothing.
pub(crate) fn server_query(server: Option<&str>) -> String {
    server.map(|server| format!("?server={}", segment(server))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(segment("v1.a-b"), "v1.a-b");
        assert_eq!(segment("a/../b?c#ü"), "a%2F..%2Fb%3Fc%23%C3%BC");
        assert_eq!(server_query(Some("s 2")), "?server=s%202");
        assert_eq!(server_query(None), "");
    }

    #[test]
    fn an_address_without_a_scheme_is_http_and_other_schemes_are_refused() {
        assert_eq!(Client::new("127.0.0.1:8260", None).unwrap().base(), "http://127.0.0.1:8260");
        assert_eq!(Client::new("http://h:1/", Some("x")).unwrap().base(), "http://h:1");
        for url in ["https://h:1", "ftp://h", "", "http://", "http://h:1/?x=1", "a b"] {
            assert_eq!(Client::new(url, None).err().map(|failure| failure.exit), Some(Exit::Usage), "{url}");
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let wrong = Client::new("h:1", Some("a\nb")).err().unwrap();
        assert_eq!(wrong.exit, Exit::Usage);
    }
}
