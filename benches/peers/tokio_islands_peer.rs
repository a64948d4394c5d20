//! tokio as several current-thread runtimes, one per worker: what is spawned inside stays on its thread, and nothing is stolen.
//!
//! Connections, and tasks spawned from outside, are dealt to the threads in turn. A workload that spawns everything from one task so runs
//! on one thread.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use super::http;
use super::own::own_of_tokio;
use super::peer::{ECHO_BUFFER, Peer, STREAM_BUFFER, Spawn};
use super::tokio_peer::{Joined, Tokio, echo};

/// The started runtimes.
#[derive(Clone, Copy)]
pub(crate) struct TokioIslands(&'static Islands);

struct Islands {
    handles: Vec<Handle>,
    /// Counts what came from outside.
    turn: AtomicUsize,
}

impl TokioIslands {
    fn island(self, turn: usize) -> &'static Handle {
        &self.0.handles[turn % self.0.handles.len()]
    }

    /// Accepts on this island, and serves each connection on the one whose turn it is; adds up what `serve` returned.
    async fn deal<F>(
        self,
        listener: std::net::TcpListener,
        connections: usize,
        serve: impl Fn(TcpStream) -> F + Clone + Send + 'static,
    ) -> io::Result<u64>
    where
        F: Future<Output = io::Result<u64>> + Send,
    {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut tasks = Vec::with_capacity(connections);
        for turn in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Out of this island's reactor, and into the other's.
            let stream = stream.into_std()?;
            let serve = serve.clone();
            let connection = async move { serve(TcpStream::from_std(stream)?).await };
            tasks.push(Joined(self.island(turn).spawn(connection)));
        }
        let mut served = 0;
        for task in tasks {
            served += task.await?;
        }
        Ok(served)
    }
}

impl Spawn for TokioIslands {
    const NAME: &'static str = "tokio-ct";

    type Task<T: Send + 'static> = Joined<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        future::block_on(Joined(self.island(0).spawn(future)))
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

own_of_tokio!([] TokioIslands);

impl Peer for TokioIslands {
    fn start(workers: usize) -> io::Result<Self> {
        let mut handles = Vec::with_capacity(workers);
        for index in 0..workers {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let name = format!("tokio-ct-{index}");
            thread::Builder::new().name(name).spawn(move || runtime.block_on(pending::<()>()))?;
        }
        Ok(TokioIslands(Box::leak(Box::new(Islands { handles, turn: AtomicUsize::new(0) }))))
    }

    #[inline]
    fn spawn_outside<F>(self, future: F) -> Joined<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // Ordering: publishes nothing; any number will do.
        Joined(self.island(self.0.turn.fetch_add(1, Ordering::Relaxed)).spawn(future))
    }

    #[inline]
    fn timeout<F>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        Tokio::timeout(limit, future)
    }

    #[inline]
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        Tokio::sleep(duration)
    }

    #[inline]
    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Tokio::spawn_blocking(job)
    }

    async fn serve_echo(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.deal(listener, connections, |stream| echo(stream, || [0; ECHO_BUFFER])).await
    }

    async fn serve_streams(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.deal(listener, connections, |stream| echo(stream, || vec![0; STREAM_BUFFER])).await
    }

    async fn serve_http(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        let answered = Arc::new(AtomicU64::new(0));
        let count = answered.clone();
        self.deal(listener, connections, move |stream| {
            let count = count.clone();
            async move { http::serve(http::OfTokio(stream), count).await.map(|()| 0) }
        })
        .await?;
        // Ordering: the tasks that counted have been awaited.
        Ok(answered.load(Ordering::Relaxed))
    }
}
