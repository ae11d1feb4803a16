//! Answers of the API: JSON with a status, errors as one line.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use evenkeel_api::ApiError;
use evenkeel_meta::DirectoryError;

/// Why a request failed: a status and one line.
pub(super) struct Failure(StatusCode, String);

/// What handlers give back.
pub(super) type Reply<T> = Result<Json<T>, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ApiError { error: self.1 })).into_response()
    }
}

impl From<DirectoryError> for Failure {
    fn from(e: DirectoryError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, e.to_string())
    }
}

pub(super) fn not_found(line: impl Into<String>) -> Failure {
    Failure(StatusCode::NOT_FOUND, line.into())
}

pub(super) fn bad_request(line: impl Into<String>) -> Failure {
    Failure(StatusCode::BAD_REQUEST, line.into())
}

pub(super) fn conflict(line: impl Into<String>) -> Failure {
    Failure(StatusCode::CONFLICT, line.into())
}

pub(super) fn unavailable(line: impl Into<String>) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, line.into())
}

pub(super) async fn no_such_path(uri: Uri) -> Failure {
    not_found(format!("'{}': no such path in this API", uri.path()))
}
