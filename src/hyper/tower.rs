//! [`TowerService`]: services written for tower, called by hyper.
//!
//! The two traits differ in one thing: tower's has `poll_ready`, which has to answer before `call`, and both take `&mut self`; hyper's has
//! `call(&self)` alone. So each request gets a clone of the service, which is what tower's own `oneshot` does, and what clones are for there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A tower service as a hyper service. An axum `Router` is one of the former.
///
/// Each request is answered by a clone of the service, which first waits until the clone is ready.
///
/// ```
/// use axum::{Router, routing::get};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let router = Router::new().route("/", get(async || "hello"));
///     let listener = eddies::net::TcpListener::bind("127.0.0.1:0").await?;
///     let server = eddies::hyper::serve(listener, eddies::hyper::TowerService::new(router));
///     let _server = eddies::spawn(server.into_future());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TowerService<S> {
    service: S,
}

impl<S> TowerService<S> {
    /// Wraps `service`.
    pub fn new(service: S) -> Self {
        TowerService { service }
    }
}

impl<S, R> ::hyper::service::Service<R> for TowerService<S>
where
    S: tower_service::Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, R>;

    fn call(&self, request: R) -> Oneshot<S, R> {
        Oneshot { state: State::Waiting { service: self.service.clone(), request: Some(request) } }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`TowerService`]: waits until its service is ready, then for the answer.
    #[must_use = "futures do nothing unless polled"]
    pub struct Oneshot<S, R>
    where
        S: tower_service::Service<R>,
    {
        #[pin]
        state: State<S, R>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProjection]
    enum State<S, R>
    where
        S: tower_service::Service<R>,
    {
        Waiting { service: S, request: Option<R> },
        Called { #[pin] future: S::Future },
    }
}

impl<S, R> Future for Oneshot<S, R>
where
    S: tower_service::Service<R>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                StateProjection::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    service.call(request.take().expect("polled again after `poll_ready` failed"))
                }
                StateProjection::Called { future } => return future.poll(cx),
            };
            state.set(State::Called { future });
        }
    }
}

impl<S, R> fmt::Debug for Oneshot<S, R>
where
    S: tower_service::Service<R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_called = matches!(self.state, State::Called { .. });
        f.debug_struct("Oneshot").field("has_called", &has_called).finish_non_exhaustive()
    }
}
