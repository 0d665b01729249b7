//! The console's address: `GET /health` and nothing else yet.
//!
//! Names no mail, no address and no version. 503 when the store does not answer within a second.

use crate::pipeline::Gateway;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long the store may take before the gateway counts as unwell.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers until the shutdown.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
    let pages = axum::Router::new().route("/health", get(health)).with_state(gateway);
    let ended = async move {
        // An error says that the server is gone, which ends this as well.
        while !*shutdown.borrow_and_update() {
            if shutdown.changed().await.is_err() {
                break;
            }
        }
    };
    if let Err(error) = axum::serve(listener, pages).with_graceful_shutdown(ended).await {
        tracing::error!(%error, "the console ended.");
    }
}

async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let (code, body) = match tokio::time::timeout(PATIENCE, gateway.queue.counts()).await {
        Ok(Ok(counts)) => (StatusCode::OK, well(&gateway, json!({"status": "ok", "queue": counts}))),
        Ok(Err(error)) => {
            tracing::error!(%error, "the store does not answer /health.");
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "store-failed"}))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "store-slow"})),
    };
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Sources of CRLs that fail, a clock that jumped and signing that is switched off don't stop the gateway, but somebody should look: `degraded`.
fn well(gateway: &Gateway, mut body: serde_json::Value) -> serde_json::Value {
    let failing = gateway.revocation.failing(crate::clock::now());
    let settled = gateway.clock.is_settled();
    let bypass = gateway.bypass_until();
    if let Some(body) = body.as_object_mut()
        && !(failing.is_empty() && settled && bypass.is_none())
    {
        body.insert("status".to_owned(), json!("degraded"));
        body.insert("crls".to_owned(), json!({"failing": failing}));
        if let Some(until) = bypass {
            body.insert("bypass".to_owned(), json!({"until": until.to_string()}));
        }
        body.insert("clock".to_owned(), json!(if settled { "settled" } else { "jumped" }));
    }
    body
}
