//! What the control socket takes. The paths and fields are part of the interface; `pinproxy ctl` is a client of it.

use super::answer::{Refusal, no_such_method, no_such_path};
use super::connections::Peer;
use crate::operate::{Cause, Operator, OverrideRequest, Reloaded, Status, StatusOfOverride};
use crate::policy::overrides::{OverrideError, check_text, parse_target};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Octets of the content of a request.
const CONTENT_OCTETS_MAX: usize = 16 << 10;

/// What the control socket serves.
pub fn control(operator: Arc<Operator>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/drain", post(drain))
        .route("/v1/overrides", get(overrides).post(add_override).delete(remove_override))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(CONTENT_OCTETS_MAX))
        .with_state(operator)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReloadQuery {
    #[serde(default)]
    force: bool,
}

/// An override that is wanted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WantedOverride {
    target: String,
    seconds: u64,
    reason: String,
    by: String,
}

/// An override that is not wanted any more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct UnwantedOverride {
    target: String,
    by: String,
}

async fn status(State(operator): State<Arc<Operator>>) -> Json<Status> {
    Json(operator.status())
}

async fn reload(
    State(operator): State<Arc<Operator>>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<ReloadQuery>, QueryRejection>,
) -> Result<Json<Reloaded>, Refusal> {
    let Query(ReloadQuery { force }) = query?;
    tracing::info!(target: "audit", "reload asked for over the control socket{}{peer}", if force { ", to be forced" } else { "" });
    let reloaded = operator.reloads.reload(Cause::Control, force).await;
    reloaded.map(Json).map_err(|message| Refusal::new(StatusCode::CONFLICT, &message))
}

async fn drain(State(operator): State<Arc<Operator>>, Extension(peer): Extension<Peer>) -> StatusCode {
    tracing::info!(target: "audit", "drain asked for over the control socket{peer}");
    operator.drain();
    StatusCode::ACCEPTED
}

async fn overrides(State(operator): State<Arc<Operator>>) -> Json<Vec<StatusOfOverride>> {
    Json(operator.status().overrides)
}

async fn add_override(
    State(operator): State<Arc<Operator>>,
    Extension(peer): Extension<Peer>,
    wanted: Result<Json<WantedOverride>, JsonRejection>,
) -> Result<Json<StatusOfOverride>, Refusal> {
    let Json(WantedOverride { target, seconds, reason, by }) = wanted?;
    let (target, lifetime) = (parse_target(&target)?, Duration::from_secs(seconds));
    let given = operator.add_override(OverrideRequest { target, lifetime, reason, by }, &peer.to_string())?;
    Ok(Json(operator.told(&given)))
}

async fn remove_override(
    State(operator): State<Arc<Operator>>,
    Extension(peer): Extension<Peer>,
    unwanted: Result<Json<UnwantedOverride>, JsonRejection>,
) -> Result<Json<StatusOfOverride>, Refusal> {
    let Json(UnwantedOverride { target, by }) = unwanted?;
    let target = parse_target(&target)?;
    check_text("who removes it", &by)?;
    let removed = operator.remove_override(&target, &by, &peer.to_string());
    let Some(removed) = removed else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, &format!("there is no override for {target}")));
    };
    operator.judge_open_sessions().await;
    Ok(Json(operator.told(&removed)))
}

/// What nobody could do, and what this proxy does not do as it is.
impl From<OverrideError> for Refusal {
    fn from(error: OverrideError) -> Self {
        let status = match error {
            OverrideError::Lifetime | OverrideError::Text { .. } | OverrideError::Target { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            OverrideError::NotEnforced(_) | OverrideError::PinOnly { .. } | OverrideError::TooMany => {
                StatusCode::CONFLICT
            }
        };
        Self::new(status, &error)
    }
}
