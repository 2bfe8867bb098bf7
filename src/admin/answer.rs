//! Answers: JSON, whatever happens.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    /// One or more sentences for the operator.
    error: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: &(impl ToString + ?Sized)) -> Self {
        Self { status, error: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), &rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), &rejection.body_text())
    }
}

/// For a path that is none.
pub(super) async fn no_such_path() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing under this path")
}

/// For a method that the path has not.
pub(super) async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
}
