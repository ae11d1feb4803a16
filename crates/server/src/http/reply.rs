//! Answers of the API: JSON with a status, errors as one line.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use evenkeel_api::ApiError;
use evenkeel_meta::DirectoryError;

/// Why a request failed: a status and one line.
pub(super) struct Failure(StatusCode, String);

impl Failure {
    /// With this status and this line.
    pub(super) fn new(status: StatusCode, line: impl Into<String>) -> Self {
        Self(status, line.into())
    }

    /// The line.
    pub(super) fn line(&self) -> &str {
        &self.1
    }
}

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

/// What is no request of the API's is refused as everything else is: with a reason in one line of JSON.
macro_rules! refuse_rejected {
    ($($rejection:ty),*) => {$(
        impl From<$rejection> for Failure {
            fn from(rejection: $rejection) -> Self {
                Self(rejection.status(), rejection.body_text())
            }
        }
    )*};
}
refuse_rejected!(JsonRejection, PathRejection, QueryRejection);

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

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    Failure(StatusCode::METHOD_NOT_ALLOWED, format!("'{}' does not take {method}", uri.path()))
}

pub(super) fn no_such_volume(name: &str) -> Failure {
    not_found(format!("volume '{name}': does not exist; 'evenkeel volume list' shows those that do"))
}
