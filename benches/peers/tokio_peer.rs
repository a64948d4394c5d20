//! tokio's multi-thread runtime with its defaults; tuned as far as its stable interface allows, where `tokio-tuned` was asked for; in the benchmark `mixed` also with what its documentation advises for code that holds a thread
//! for long: `block_in_place`, or `spawn_blocking`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::http;
use super::own::own_of_tokio;
use super::peer::{ECHO_BUFFER, Peer, STREAM_BUFFER, Spawn};

/// Where a job goes that holds its thread for long: see [`Peer::hold`].
const AS_IT_IS: u8 = 0;
const IN_PLACE: u8 = 1;
const BLOCKING: u8 = 2;
/// As it is, and the builder is tuned.
const TUNED: u8 = 3;

/// The started runtime.
#[derive(Clone, Copy)]
pub(crate) struct TokioThat<const HOLD: u8>(&'static Runtime);

/// Long polls are polls like any other.
pub(crate) type Tokio = TokioThat<AS_IT_IS>;
/// They are wrapped in `block_in_place`.
pub(crate) type TokioInPlace = TokioThat<IN_PLACE>;
/// They are sent to `spawn_blocking`.
pub(crate) type TokioBlocking = TokioThat<BLOCKING>;
/// See [`tune`].
pub(crate) type TokioTuned = TokioThat<TUNED>;

/// A `JoinHandle` whose output is the task's: a panic in a task ends the benchmark.
pub(crate) struct Joined<T>(pub(crate) JoinHandle<T>);

impl<T> Future for Joined<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|output| output.expect("a task of the benchmark panicked"))
    }
}

impl<const HOLD: u8> Spawn for TokioThat<HOLD> {
    const NAME: &'static str = match HOLD {
        IN_PLACE => "tokio, block_in_place",
        BLOCKING => "tokio, spawn_blocking",
        TUNED => "tokio-tuned",
        _ => "tokio",
    };

    type Task<T: Send + 'static> = Joined<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.block_on(Joined(self.0.spawn(future)))
    }

    #[inline]
    fn spawn<F>(self, future: F) -> Joined<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(tokio::spawn(future))
    }

    #[inline]
    fn detach<T: Send + 'static>(task: Joined<T>) {
        drop(task);
    }

    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

/// For throughput: fewer looks at the reactor and at the queue from outside, more events per look. The rest of the knobs is behind
/// `RUSTFLAGS="--cfg tokio_unstable"`; where that is given, the slot for the task woken last is off and the new timer is on.
fn tune(builder: &mut Builder) {
    builder.event_interval(127).global_queue_interval(127).max_io_events_per_tick(4096);
    #[cfg(tokio_unstable)]
    builder.disable_lifo_slot().enable_alt_timer();
}

impl<const HOLD: u8> TokioThat<HOLD> {
    async fn serve<B>(self, listener: std::net::TcpListener, connections: usize, buffer: fn() -> B) -> io::Result<u64>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            tasks.push(self.spawn(echo(stream, buffer)));
        }
        let mut echoed = 0;
        for task in tasks {
            echoed += task.await?;
        }
        Ok(echoed)
    }
}

own_of_tokio!([const HOLD: u8] TokioThat<HOLD>);

impl<const HOLD: u8> Peer for TokioThat<HOLD> {
    fn start(workers: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(workers).enable_all();
        if HOLD == TUNED {
            tune(&mut builder);
        }
        let runtime = builder.build()?;
        Ok(TokioThat(Box::leak(Box::new(runtime))))
    }

    #[inline]
    fn spawn_outside<F>(self, future: F) -> Joined<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(self.0.spawn(future))
    }

    #[inline]
    async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        tokio::time::timeout(limit, future).await.ok()
    }

    #[inline]
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    #[inline]
    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Joined(tokio::task::spawn_blocking(job))
    }

    async fn serve_echo(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || [0; ECHO_BUFFER]).await
    }

    async fn serve_streams(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || vec![0; STREAM_BUFFER]).await
    }

    async fn serve_http(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let answered = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tasks.push(self.spawn(http::serve(http::OfTokio(stream), answered.clone())));
        }
        for task in tasks {
            task.await?;
        }
        // Ordering: the tasks that counted have been awaited.
        Ok(answered.load(Ordering::Relaxed))
    }

    async fn hold(job: impl FnOnce() + Send + 'static) {
        match HOLD {
            IN_PLACE => tokio::task::block_in_place(job),
            BLOCKING => Joined(tokio::task::spawn_blocking(job)).await,
            _ => job(),
        }
    }
}

/// Echoes until the other side closes, and returns the number of bytes.
pub(crate) async fn echo<B: AsMut<[u8]>>(mut stream: TcpStream, buffer: fn() -> B) -> io::Result<u64> {
    stream.set_nodelay(true)?;
    let mut buffer = buffer();
    let buffer = buffer.as_mut();
    let mut echoed = 0;
    loop {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Ok(echoed);
        }
        stream.write_all(&buffer[..read]).await?;
        echoed += read as u64;
    }
}
