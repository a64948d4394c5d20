//! smol: async-executor, async-io and blocking.
//!
//! `smol::spawn` keeps one executor in a static and runs it on `SMOL_THREADS` threads, each inside `async_io::block_on`. The number of
//! threads can be given only through the environment, so the same is built here in the same way.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use async_executor::Executor;
use futures_lite::future;
use smol::{Async, Timer};

use super::futures_io_echo::echo;
use super::http;
use super::peer::{ECHO_BUFFER, Peer, STREAM_BUFFER, Spawn};

/// Those that smol comes with, which monoio has none to set against.
macro_rules! own_of_smol {
    ($of:ty) => {
        impl crate::peers::own::Own for $of {
            type Lock = smol::lock::Mutex<usize>;
            type Sender = async_channel::Sender<usize>;
            type Receiver = async_channel::Receiver<usize>;
            type OneSender = async_channel::Sender<usize>;
            type OneReceiver = async_channel::Receiver<usize>;

            fn lock() -> Self::Lock {
                smol::lock::Mutex::new(0)
            }

            #[inline]
            async fn count_up(lock: &Self::Lock) -> usize {
                let mut value = lock.lock().await;
                *value += 1;
                *value - 1
            }

            fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
                async_channel::bounded(capacity)
            }

            #[inline]
            async fn send(sender: &Self::Sender, value: usize) -> bool {
                sender.send(value).await.is_ok()
            }

            #[inline]
            async fn receive(receiver: &mut Self::Receiver) -> Option<usize> {
                receiver.recv().await.ok()
            }

            #[inline]
            fn oneshot() -> (Self::OneSender, Self::OneReceiver) {
                async_channel::bounded(1)
            }

            #[inline]
            fn send_one(sender: Self::OneSender, value: usize) -> bool {
                sender.try_send(value).is_ok()
            }

            #[inline]
            async fn receive_one(receiver: Self::OneReceiver) -> Option<usize> {
                receiver.recv().await.ok()
            }
        }
    };
}
#[cfg(feature = "monoio")]
pub(crate) use own_of_smol;

/// The started executor.
#[derive(Clone, Copy)]
pub(crate) struct Smol(&'static Executor<'static>);

impl Spawn for Smol {
    const NAME: &'static str = "smol";

    type Task<T: Send + 'static> = async_executor::Task<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        future::block_on(self.0.spawn(future))
    }

    #[inline]
    fn spawn<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.spawn(future)
    }

    #[inline]
    fn detach<T: Send + 'static>(task: Self::Task<T>) {
        task.detach();
    }

    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        future::yield_now()
    }
}

impl Smol {
    async fn serve<B>(self, listener: std::net::TcpListener, connections: usize, buffer: fn() -> B) -> io::Result<u64>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let listener = Async::new(listener)?;
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            tasks.push(self.spawn(echo(stream, buffer)));
        }
        let mut echoed = 0;
        for task in tasks {
            echoed += task.await?;
        }
        Ok(echoed)
    }
}

own_of_smol!(Smol);

impl Peer for Smol {
    fn start(workers: usize) -> io::Result<Self> {
        let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
        for index in 0..workers {
            thread::Builder::new()
                .name(format!("smol-{index}"))
                .spawn(move || smol::block_on(executor.run(pending::<()>())))?;
        }
        Ok(Smol(executor))
    }

    #[inline]
    fn spawn_outside<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.spawn(future)
    }

    #[inline]
    fn timeout<F>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        future::or(async move { Some(future.await) }, async move {
            Timer::after(limit).await;
            None
        })
    }

    #[inline]
    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    #[inline]
    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        smol::unblock(job)
    }

    async fn serve_echo(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || [0; ECHO_BUFFER]).await
    }

    async fn serve_streams(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, || vec![0; STREAM_BUFFER]).await
    }

    async fn serve_http(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        let listener = Async::new(listener)?;
        let answered = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            tasks.push(self.spawn(http::serve(http::OfFuturesIo(stream), answered.clone())));
        }
        for task in tasks {
            task.await?;
        }
        // Ordering: the tasks that counted have been awaited.
        Ok(answered.load(Ordering::Relaxed))
    }
}
