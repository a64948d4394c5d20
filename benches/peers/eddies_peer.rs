//! eddies with its defaults.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use eddies::net::TcpListener;
use eddies::{LoopHandle, Runtime};

use super::futures_io_echo::echo;
use super::http;
use super::own::own;
use super::peer::{ECHO_BUFFER, Peer, STREAM_BUFFER, Spawn};

/// The started runtime.
#[derive(Clone, Copy)]
pub(crate) struct Eddies(&'static Started);

struct Started {
    runtime: Runtime,
    loops: LoopHandle,
}

/// A `Task` whose output is the future's: a panic in a task ends the benchmark.
pub(crate) struct Joined<T>(eddies::Task<T>);

impl<T> Future for Joined<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|output| output.expect("a task of the benchmark panicked"))
    }
}

impl Spawn for Eddies {
    const NAME: &'static str = "eddies";

    type Task<T: Send + 'static> = Joined<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.runtime.block_on(Joined(self.0.loops.spawn(future)))
    }

    #[inline]
    fn spawn<F>(self, future: F) -> Joined<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(eddies::spawn(future))
    }

    #[inline]
    fn detach<T: Send + 'static>(task: Joined<T>) {
        drop(task);
    }

    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        eddies::yield_now()
    }
}

impl Eddies {
    async fn serve<B>(self, listener: std::net::TcpListener, connections: usize, buffer: fn() -> B) -> io::Result<u64>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let listener = TcpListener::from_std(listener)?;
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tasks.push(self.spawn(echo(stream, buffer)));
        }
        let mut echoed = 0;
        for task in tasks {
            echoed += task.await?;
        }
        Ok(echoed)
    }
}

own!(
    [] Eddies,
    eddies::sync::Lock<usize>,
    eddies::sync::channel,
    eddies::sync::Sender<usize>,
    eddies::sync::Receiver<usize>,
    eddies::sync::oneshot,
    eddies::sync::OneshotSender<usize>,
    eddies::sync::OneshotReceiver<usize>
);

impl Peer for Eddies {
    fn start(workers: usize) -> io::Result<Self> {
        let runtime = Runtime::builder().workers(workers).build()?;
        let loops = runtime.handle();
        Ok(Eddies(Box::leak(Box::new(Started { runtime, loops }))))
    }

    #[inline]
    fn spawn_outside<F>(self, future: F) -> Joined<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(self.0.loops.spawn(future))
    }

    #[inline]
    async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        eddies::timeout(limit, future).await.ok()
    }

    #[inline]
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        eddies::sleep(duration)
    }

    #[inline]
    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Joined(eddies::spawn_blocking(job))
    }

    async fn serve_echo(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || [0; ECHO_BUFFER]).await
    }

    async fn serve_streams(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || vec![0; STREAM_BUFFER]).await
    }

    async fn serve_http(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        let listener = TcpListener::from_std(listener)?;
        let answered = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tasks.push(self.spawn(http::serve(stream, answered.clone())));
        }
        for task in tasks {
            task.await?;
        }
        // Ordering: the tasks that counted have been awaited.
        Ok(answered.load(Ordering::Relaxed))
    }
}
