//! What the admin address tells. Nothing that is asked for here changes anything; the paths are part of the interface.

use super::answer::{Refusal, no_such_method, no_such_path};
use super::guard::{Guard, stand};
use super::page::{self, Shown};
use crate::metrics::Scrapes;
use crate::operate::{Operator, Status, StatusOfOverride};
use crate::overview::{Overview, Pinsets, Violations};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// OpenMetrics 1.0, which Prometheus reads since 2.5.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For answers that say nothing else: nothing is loaded, run, framed or sent by what is shown.
const NOTHING_RUNS: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

/// What handlers tell of.
#[derive(Clone)]
struct Told {
    operator: Arc<Operator>,
    scrapes: Arc<Scrapes>,
    overview: Arc<Overview>,
}

/// Which pinsets are asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wanted {
    /// A part of their name; every name has the empty one.
    #[serde(default)]
    name: String,
}

/// The overrides, in an object as other answers are, so that there may be more in it one day.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Overrides {
    overrides: Vec<StatusOfOverride>,
}

/// What the admin address serves, to those that the guard lets through.
pub fn tell(operator: Arc<Operator>, scrapes: Arc<Scrapes>, overview: Arc<Overview>, guard: Guard) -> Router {
    Router::new()
        .route("/", get(whole_page))
        .route("/main", get(main_part))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/pinsets", get(pinsets))
        .route("/api/violations", get(violations))
        .route("/api/overrides", get(overrides))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::new(guard), stand))
        .layer(from_fn(only_ask))
        .layer(from_fn(careful))
        .with_state(Told { operator, scrapes, overview })
}

/// Whatever the path: nothing here takes anything else.
async fn only_ask(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let words =
        "GET and HEAD are all that is answered here; what changes something is asked for over the control socket";
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, words).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Nothing is kept, guessed or run by those who show it.
async fn careful(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING_RUNS);
    response
}

async fn readiness(State(told): State<Told>) -> (StatusCode, &'static str) {
    if told.operator.proxy.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining: open sessions may end, and no new ones are taken\n");
    }
    (StatusCode::OK, "ready\n")
}

async fn status(State(told): State<Told>) -> Json<Status> {
    Json(told.operator.status())
}

async fn pinsets(
    State(told): State<Told>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Pinsets>, Refusal> {
    let Query(Wanted { name }) = wanted?;
    // As the metrics: there may be many.
    let gathered = tokio::task::spawn_blocking(move || told.overview.pinsets(&told.operator, &name)).await;
    gathered.map(Json).map_err(|_| not_gathered())
}

async fn violations(State(told): State<Told>) -> Json<Violations> {
    Json(told.overview.violations())
}

async fn overrides(State(told): State<Told>) -> Json<Overrides> {
    Json(Overrides { overrides: told.operator.status().overrides })
}

async fn whole_page(told: State<Told>, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Response, Refusal> {
    page::whole(&shown(told, wanted).await?).ok_or_else(not_gathered)
}

/// What the page fetches again and again.
async fn main_part(told: State<Told>, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Response, Refusal> {
    page::main_part(&shown(told, wanted).await?).ok_or_else(not_gathered)
}

async fn shown(State(told): State<Told>, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Shown, Refusal> {
    let Query(Wanted { name }) = wanted?;
    let gathered = tokio::task::spawn_blocking(move || Shown {
        now: told.operator.proxy.moment().latest(),
        status: told.operator.status(),
        pinsets: told.overview.pinsets(&told.operator, &name),
        violations: told.overview.violations(),
        part: name,
    });
    gathered.await.map_err(|_| not_gathered())
}

fn not_gathered() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "what there is to tell could not be gathered")
}

async fn metrics(State(told): State<Told>) -> Response {
    // Where it takes no turn of those that sessions wait for.
    let text = tokio::task::spawn_blocking(move || told.scrapes.text(&told.operator)).await;
    match text {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be gathered").into_response(),
    }
}
