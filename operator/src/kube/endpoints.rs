//! `/healthz`, `/readyz` and `/metrics`.

use super::{
    health::Health,
    metrics::{CONTENT_TYPE, exposition},
    server::{Response, Routes, text},
};
use http::{HeaderValue, StatusCode, header};
use prometheus_client::registry::Registry;
use std::{sync::Arc, time::Instant};

/// The routes of these endpoints.
pub fn routes(health: Health, registry: Arc<Registry>) -> Routes {
    let ready = health.clone();
    Routes::default()
        .get("/healthz", move || healthz(&health, Instant::now()))
        .get("/readyz", move || readyz(&ready))
        .get("/metrics", move || metrics(&registry))
}

fn healthz(health: &Health, now: Instant) -> Response {
    match health.silent(now) {
        None => text(StatusCode::OK, "ok\n"),
        Some(silent) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "{}: no sign of life for {} s\n",
                silent.task,
                silent.silence.as_secs()
            ),
        ),
    }
}

fn readyz(health: &Health) -> Response {
    if health.is_ready() {
        text(StatusCode::OK, "ok\n")
    } else {
        let why = health.obstacle().map(|why| format!(": {why}"));
        let line = format!("not ready{}\n", why.unwrap_or_default());
        text(StatusCode::SERVICE_UNAVAILABLE, line)
    }
}

fn metrics(registry: &Registry) -> Response {
    let mut response = text(StatusCode::OK, exposition(registry));
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_silent_task_is_named_and_readiness_is_another_matter() {
        let health = Health::default();
        let _heartbeat = health.heartbeat("files");
        let now = Instant::now();
        assert_eq!(healthz(&health, now).status(), StatusCode::OK);
        let late = healthz(&health, now + Duration::from_secs(1000));
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(readyz(&health).status(), StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready();
        assert_eq!(readyz(&health).status(), StatusCode::OK);
    }

    #[test]
    fn metrics_are_openmetrics_text() {
        let response = metrics(&Registry::default());
        let kind = response.headers().get(header::CONTENT_TYPE).unwrap();
        assert_eq!(
            kind,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
    }
}
