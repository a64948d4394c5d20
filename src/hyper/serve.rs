//! [`serve`]: accepts connections and serves HTTP/1.1 on each, until it is told to stop.
//!
//! One task accepts: that of whoever awaits the [`Serve`]. Each connection is a task of its own. How the end is told to the connections stands in
//! `src/hyper/connections.rs`.
//!
//! Rejected: closing idle connections at the signal, as hyper's `graceful_shutdown` does by itself. A request that is already in the socket's
//! buffer, or under way, would be answered with a reset: under load, a few of any 16 connections (`IDLE_GRACE` set to zero fails
//! `tests/web_service.rs`).

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::hyper::body::{Body, Incoming};
use ::hyper::header::{CONNECTION, HeaderValue};
use ::hyper::server::conn::http1;
use ::hyper::service::Service;
use ::hyper::{Request, Response};

use super::Timer;
use super::connections::{Connections, Entry, Phase};
use super::listener::Listener;
use crate::error::NoRuntime;
use crate::loom::Arc;
use crate::report::{self, Exception, ExceptionKind};
use crate::time;

/// The pauses after a failed accept: the first, and the longest. Each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How long idle connections stay open after the signal: the time that a request may be under way.
const IDLE_GRACE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 on the connections of `listener`: each request goes to a clone of `service`, one clone per connection.
///
/// The answer is a builder; `.await` it, or spawn its [`into_future`](IntoFuture::into_future). Without
/// [`with_graceful_shutdown`](Serve::with_graceful_shutdown) it serves until it is dropped.
///
/// Connections are kept alive and may pipeline. A client has 30 s for the head of a request ([`header_read_timeout`](Serve::header_read_timeout)),
/// which also ends connections that are idle for so long. What a single connection does wrong ends that one alone. When accepting fails, mostly
/// because the process is out of descriptors, the runtime's exception handler hears of it once, and it is tried again after a pause that grows from
/// 5 ms to 1 s.
///
/// Service errors close the connection: a service that answers with an error status instead is kinder.
///
/// ```
/// use std::convert::Infallible;
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// use hyper::Response;
/// use hyper::service::service_fn;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = eddies::Runtime::new()?;
/// let listener = runtime.block_on(eddies::net::TcpListener::bind("127.0.0.1:0"))?;
/// let address = listener.local_addr()?;
/// let client = std::thread::spawn(move || {
///     let mut stream = std::net::TcpStream::connect(address)?;
///     stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")?;
///     let mut answer = String::new();
///     stream.read_to_string(&mut answer)?;
///     std::io::Result::Ok(answer)
/// });
///
/// let hello = service_fn(async |_request| Ok::<_, Infallible>(Response::new("hello".to_owned())));
/// let stop = async move { while !client.is_finished() { eddies::sleep(Duration::from_millis(1)).await } };
/// let served = runtime.block_on(
///     eddies::hyper::serve(listener, hello).with_graceful_shutdown(stop, Duration::from_secs(5)).into_future(),
/// )?;
/// assert_eq!((served.connections, served.aborted), (1, 0));
/// # Ok(())
/// # }
/// ```
pub fn serve<L, S>(listener: L, service: S) -> Serve<L, S> {
    Serve { listener, service, http1: http1::Builder::new(), stop: None, connections_max: usize::MAX }
}

/// What ends a server.
type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server that is being set up; see [`serve`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L, S> {
    listener: L,
    service: S,
    http1: http1::Builder,
    /// What ends it, and the time that requests in flight have then.
    stop: Option<(Signal, Duration)>,
    connections_max: usize,
}

/// What a server did, told when it has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were dropped in the middle of a request or response, because the deadline passed.
    pub aborted: usize,
}

impl<L, S> Serve<L, S> {
    /// How long a client may take for the head of a request, from the moment when it could begin: from connecting, and on a connection that is kept
    /// alive from the end of the response before. Default: 30 s.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.http1.header_read_timeout(timeout);
        self
    }

    /// Takes all settings of HTTP/1.1 from `builder`, but the timer, which is [`Timer`] in any case. A
    /// [`header_read_timeout`](Serve::header_read_timeout) set before is lost.
    pub fn http1(mut self, builder: http1::Builder) -> Self {
        self.http1 = builder;
        self
    }

    /// Most connections at a time, at least 1; further clients wait in the listener's backlog. Default: no limit.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections_max = connections.max(1);
        self
    }

    /// Stops when `signal` is ready, and gives what is in flight so long as `deadline` to end.
    ///
    /// 1. Each response from now on carries `connection: close` and ends its connection.
    /// 2. The listener is closed; connections that wait in its backlog are served still. Idle connections stay open for 100 ms (at most
    ///    half of `deadline`), so that requests that are under way are answered; then they are closed.
    /// 3. The server is done as soon as no connection is left; at the deadline it drops those that are. A connection that was
    ///    upgraded is its new owner's, and not waited for.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
        deadline: Duration,
    ) -> Self {
        self.stop = Some((Box::pin(signal), deadline));
        self
    }
}

impl<L, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("connections_max", &self.connections_max).finish_non_exhaustive()
    }
}

impl<L, S, B> IntoFuture for Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<Served>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Served>> + Send>>;

    /// The server. Its error is one that no pause helps against: the listener does not listen, or no runtime is here to wait in.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener. Connections that are open then are served on, until their clients close them.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<L, S, B> Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn run(mut self) -> io::Result<Served> {
        self.http1.timer(Timer);
        let connections = Connections::new();
        let deadline = self.accept_until_stopped(&connections).await?;
        let Serve { listener, service, http1, .. } = self;
        // Before the listener is closed: who was refused knows that the server ends, and so do the answers that are given from then on.
        connections.set_phase(Phase::Draining);
        for stream in listener.close() {
            start(&http1, stream, service.clone(), connections.enter());
        }
        let aborted = drain(&connections, deadline).await;
        Ok(Served { connections: connections.accepted(), aborted })
    }

    /// Serves until the signal comes; the answer is the time that is left then.
    async fn accept_until_stopped(&mut self, connections: &Arc<Connections>) -> io::Result<Duration> {
        let Serve { listener, service, http1, stop, connections_max } = self;
        let mut poll_stop = |cx: &mut Context<'_>| match stop {
            Some((signal, deadline)) => signal.as_mut().poll(cx).map(|()| *deadline),
            None => Poll::Pending,
        };
        let mut pause = PAUSE.0;
        loop {
            let accepted = poll_fn(|cx| {
                if let Poll::Ready(deadline) = poll_stop(cx) {
                    return Poll::Ready(Err(deadline));
                }
                ready!(connections.poll_fewer(cx, *connections_max));
                listener.poll_accept(cx).map(Ok)
            });
            let error = match accepted.await {
                Err(deadline) => return Ok(deadline),
                Ok(Ok(stream)) => {
                    pause = PAUSE.0;
                    start(http1, stream, service.clone(), connections.enter());
                    continue;
                }
                Ok(Err(error)) => error,
            };
            if is_final(&error) {
                return Err(error);
            }
            if pause == PAUSE.0 {
                let text = format!("accepting a connection: {error}; trying again until it works");
                report::report(&Exception::new(ExceptionKind::Loop, text));
            }
            let mut sleep = pin!(time::sleep(pause));
            pause = (pause * 2).min(PAUSE.1);
            let stopped = poll_fn(|cx| match poll_stop(cx) {
                Poll::Ready(deadline) => Poll::Ready(Some(deadline)),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
            });
            if let Some(deadline) = stopped.await {
                return Ok(deadline);
            }
        }
    }
}

/// Whether no pause helps: the listener is none, or has no loop to wait in.
fn is_final(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>())
}

/// Ends all connections, which drain already, by and by; the answer is how many had to be dropped.
async fn drain(connections: &Connections, deadline: Duration) -> usize {
    let begin = time::now();
    let none_left = || poll_fn(|cx| connections.poll_fewer(cx, 1));
    if time::timeout(IDLE_GRACE.min(deadline / 2), none_left()).await.is_ok() {
        return 0;
    }
    connections.set_phase(Phase::Closing);
    if time::timeout(deadline.saturating_sub(time::now() - begin), none_left()).await.is_ok() {
        return 0;
    }
    connections.set_phase(Phase::Aborted)
}

/// Spawns the task that serves one connection.
fn start<I, S, B>(http1: &http1::Builder, stream: I, service: S, entry: Entry)
where
    I: ::hyper::rt::Read + ::hyper::rt::Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let entry = Arc::new(entry);
    let service = LastWord { service, entry: entry.clone() };
    let connection = http1.serve_connection(stream, service).with_upgrades();
    drop(crate::spawn(async move {
        let mut connection = pin!(connection);
        let (mut is_registered, mut is_closing) = (false, false);
        poll_fn(|cx| {
            // A task has one waker for life.
            if !is_registered {
                entry.register(cx.waker());
                is_registered = true;
            }
            let phase = entry.phase();
            if phase == Phase::Aborted {
                return Poll::Ready(());
            }
            // What a connection may end with, a reset, a malformed request, a timeout, hyper has answered as far as there is an answer.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if phase == Phase::Closing && !is_closing {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
                return connection.as_mut().poll(cx).map(drop);
            }
            Poll::Pending
        })
        .await;
    }));
}

/// A service that tells the client with each response of a server that ends that it is the connection's last.
struct LastWord<S> {
    service: S,
    /// The connection's own, so that no other worker touches this count of references.
    entry: Arc<Entry>,
}

impl<S, B> Service<Request<Incoming>> for LastWord<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = LastWordFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> LastWordFuture<S::Future> {
        LastWordFuture { future: self.service.call(request), entry: self.entry.clone() }
    }
}

pin_project_lite::pin_project! {
    struct LastWordFuture<F> {
        #[pin]
        future: F,
        entry: Arc<Entry>,
    }
}

impl<F, B, E> Future for LastWordFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        if this.entry.phase() >= Phase::Draining && !response.status().is_informational() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}
