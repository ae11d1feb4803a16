//! A call of another process's API.

use super::reply::{Failure, unavailable};
use super::scope::Caller;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use evenkeel_api::ApiError;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time for a call, from its start to the last byte of its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an answer at most; that of a volume of 1 TiB's route is a fifth of it.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Calls `http://HOST:PORT` for an object.
///
/// # Errors
/// What the other process answered, or that it does not answer.
pub(super) async fn fetch<T: DeserializeOwned>(
    api: &str,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
    caller: &Caller,
) -> Result<T, Failure> {
    let silent = |why: String| unavailable(format!("the process at {api} does not answer: {why}"));
    let called = timeout(ANSWER_WITHIN, call(api, method, path, body, caller)).await;
    let (status, bytes) = called
        .map_err(|_| silent(format!("nothing in {ANSWER_WITHIN:?}")))?
        .map_err(|e| silent(e.to_string()))?;
    if !status.is_success() {
        let line =
            serde_json::from_slice::<ApiError>(&bytes).map_or_else(|_| status.to_string(), |e| e.error);
        return Err(Failure::new(status, line));
    }
    serde_json::from_slice(&bytes).map_err(|e| {
        unavailable(format!(
            "the process at {api} answered something else than expected ({e}); compare versions"
        ))
    })
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

async fn call(
    api: &str,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
    caller: &Caller,
) -> Result<(StatusCode, Vec<u8>), Wrong> {
    let host = api.strip_prefix("http://").ok_or("its address is not one of http://")?.trim_end_matches('/');
    let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(host)).await;
    let stream = connecting.map_err(|_| format!("no connection in {CONNECT_WITHIN:?}"))??;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender.
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(HOST, host);
    if let Some(authorization) = &caller.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(body.map_or_else(Body::empty, Body::from))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let bytes = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await?;
    Ok((status, bytes.to_vec()))
}
