//! The console's address: `GET /health`, `/health/live` and `/metrics`, and nothing else yet.
//!
//! Health names no mail, no address and no version. It is answered until the very end of a stop, so that a load balancer
//! hears 503 before the listeners close.

pub mod health;
mod bounded;
mod metrics;

use crate::inbound::Admission;
use crate::pipeline::Gateway;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long pages that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(2);

/// What the pages look at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The shared parts.
    pub gateway: Arc<Gateway>,
    /// Places and memory of the sessions.
    pub admission: Admission,
    /// Whether the gateway has begun to stop.
    pub draining: watch::Receiver<bool>,
    /// The sockets that take connections.
    pub listening: Listening,
}

/// How many listeners there are to be, and how many there are.
#[derive(Clone, Debug)]
pub struct Listening {
    wanted: usize,
    open: Arc<AtomicUsize>,
}

impl Listening {
    /// None is open yet.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, open: Arc::default() }
    }

    /// One is open while this lives.
    pub fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(&self.open))
    }

    fn are_all(&self) -> bool {
        self.open.load(Ordering::Acquire) >= self.wanted
    }
}

/// An open listener.
#[derive(Debug)]
pub struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers until `end` says true.
pub async fn serve(watched: Watched, listener: TcpListener, mut end: watch::Receiver<bool>) {
    let pages = axum::Router::new()
        .route("/health", get(ready))
        .route("/health/live", get(async || page(StatusCode::OK, JSON, json!({"status": "alive"}).to_string())))
        .route("/metrics", get(numbers))
        .with_state(watched);
    let mut ended = end.clone();
    // An error says that the server is gone, which ends this as well.
    let graceful = async move { drop(ended.wait_for(|end| *end).await) };
    let late = async move {
        drop(end.wait_for(|end| *end).await);
        tokio::time::sleep(GRACE).await;
    };
    let listener = bounded::Bounded::new(listener);
    tokio::select! {
        served = axum::serve(listener, pages).with_graceful_shutdown(graceful).into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the console ended.");
            }
        }
        () = late => {}
    }
}

const JSON: &str = "application/json";
/// Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn page(code: StatusCode, kind: &'static str, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

async fn ready(State(watched): State<Watched>) -> Response {
    let found = health::look(&watched).await;
    let code = if found.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&found) {
        Ok(body) => page(code, JSON, body),
        Err(error) => failed(&error),
    }
}

async fn numbers(State(watched): State<Watched>) -> Response {
    match metrics::text(&watched).await {
        Ok(text) => page(StatusCode::OK, TEXT, text),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "a page could not be made.");
    page(StatusCode::INTERNAL_SERVER_ERROR, JSON, json!({"status": "failed"}).to_string())
}
