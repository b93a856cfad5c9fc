//! Administration pages: server-rendered, for reading without JavaScript, over `vouchsafe_gateway::control` alone.
//!
//! A handler parses, asks control, shows; it decides nothing about mail. Nothing is fetched from elsewhere, nothing from
//! mail reaches a page unescaped. Proof: `crates/vouchsafe/tests/web.rs`.

mod api;
mod download;
mod forms;
mod graph;
mod guard;
mod metrics;
mod page;
mod sections;
mod session;

pub use download::download_router;
pub use session::From;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::get;
use axum::{BoxError, Router};
use tokio::sync::Semaphore;
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::control::Control;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Web {
    pub control: Control,
    /// Places for those who watch dialogues.
    pub watchers: Arc<Semaphore>,
}

impl Web {
    /// Wall time.
    pub fn now(&self) -> vouchsafe_core::Timestamp {
        self.control.gateway().clock.now()
    }
}

/// All pages, behind the checks that each request passes.
pub fn router(control: Control) -> Router {
    let web = Web { control, watchers: Arc::new(Semaphore::new(sections::WATCHERS)) };
    Router::new()
        .route("/style.css", get(style))
        .route("/page.js", get(script))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .merge(session::routes())
        .merge(sections::routes())
        .fallback(page::not_found)
        .layer(axum::middleware::from_fn(guard::check))
        .merge(api::routes().layer(axum::middleware::from_fn(guard::mark_only)))
        .layer(axum::extract::DefaultBodyLimit::max(guard::BODY))
        .with_state(web)
}

/// The router as a server calls it; `from` reads what the server laid into a request's extensions about its sender.
pub fn service<T>(router: Router, from: fn(&T) -> From) -> Pages<T> {
    Pages { router, from }
}

/// What [`service`] makes.
pub struct Pages<T> {
    router: Router,
    from: fn(&T) -> From,
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Pages<T> {
        Pages { router: self.router.clone(), from: self.from }
    }
}

impl<T, B> hyper::service::Service<Request<B>> for Pages<T>
where
    T: Send + Sync + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        let known = request.extensions().get::<T>().map(self.from);
        let from = known.unwrap_or(From { client: None, tls: false });
        request.extensions_mut().insert(from);
        tower_service::Service::call(&mut self.router.clone(), request.map(Body::new))
    }
}

/// Whether mail can be taken now; 503 with the reason if not.
async fn ready(State(web): State<Web>) -> Response {
    match web.control.gateway().ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (StatusCode::OK, kind, include_str!("../assets/style.css"))
}

async fn script() -> impl IntoResponse {
    let kind =
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (StatusCode::OK, kind, include_str!("../assets/page.js"))
}
