//! [hyper](https://hyper.rs) 1.x on eddies: its executor, timer, and I/O traits, and [`serve`], a web server in one call.
//!
//! [`TcpStream`](crate::net::TcpStream) and [`UnixStream`](crate::net::UnixStream) implement hyper's `Read` and `Write` themselves, so a stream
//! goes into `http1::Builder::serve_connection`, or into a client's `handshake`, as it is: no wrapper, no copy, reads into hyper's
//! uninitialised buffer, and vectored writes.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use hyper::body::Incoming;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//!
//! async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new(format!("{} is here\n", request.uri().path())))
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     let listener = eddies::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let server = eddies::hyper::serve(listener, service_fn(hello));
//!     // Runs until the program ends; `with_graceful_shutdown` gives it another end.
//!     let _server = eddies::spawn(server.into_future());
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Services of tower, an axum `Router` among them, go through [`TowerService`].
//!
//! # What is not here
//!
//! HTTP/2 in [`serve`]: hyper's implementation of it is tokio's `h2`, which brings parts of tokio with it. A program that wants it gives
//! [`Executor`], [`Timer`] and a stream to `hyper::server::conn::http2`. TLS: implement [`Listener`] for what accepts and encrypts.

mod connections;
mod listener;
mod serve;
mod stream;
mod tower;

pub use listener::Listener;
pub use serve::{Serve, Served, serve};
pub use tower::{Oneshot, TowerService};

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::time::{self, Sleep};

/// Runs hyper's background futures as detached tasks: a [`hyper::rt::Executor`].
///
/// # Panics
///
/// `execute` panics outside of any runtime, as [`spawn`](crate::spawn) does.
///
/// ```
/// use hyper::rt::Executor as _;
///
/// eddies::run(async {
///     let (tell, hear) = std::sync::mpsc::channel();
///     eddies::hyper::Executor.execute(async move { tell.send("done").unwrap() });
///     assert_eq!(eddies::spawn_blocking(move || hear.recv()).await.unwrap(), Ok("done"));
/// });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Executor;

impl<F> ::hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}

/// Gives hyper the timers of eddies: a [`hyper::rt::Timer`]. Without one hyper knows no time limits at all; [`serve`] always
/// sets it.
///
/// ```
/// use std::time::Duration;
///
/// use hyper::rt::Timer as _;
///
/// eddies::run(async {
///     let timer = eddies::hyper::Timer;
///     let begin = timer.now();
///     let mut sleep = timer.sleep(Duration::from_secs(3600));
///     timer.reset(&mut sleep, begin + Duration::from_millis(2));
///     sleep.await;
///     assert!(begin.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Timer;

impl ::hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn ::hyper::rt::Sleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn ::hyper::rt::Sleep>> {
        Box::pin(time::sleep_until(deadline))
    }

    /// Keeps the box when the sleep is one of ours.
    fn reset(&self, sleep: &mut Pin<Box<dyn ::hyper::rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(mut ours) => ours.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl ::hyper::rt::Sleep for Sleep {}
