//! monoio with its `legacy` driver, which is epoll: a runtime per thread, whose tasks stay there.
//!
//! It has nothing to spawn from another thread; each thread gets its work over a channel, as in a server that deals connections out. A workload that spawns
//! everything from one task so runs on one thread. Its sockets take and give back whole buffers, and hyper needs a package of adapters more:
//! that row is left out.
#![allow(unsafe_code, reason = "its timers are not Send, and the trait that all peers have here wants that")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use monoio::blocking::DefaultThreadPool;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::task::JoinHandle;
use monoio::{LegacyDriver, RuntimeBuilder};

use super::peer::{ECHO_BUFFER, Peer, STREAM_BUFFER, Spawn};
use super::smol_peer::own_of_smol;

/// Something to do on a thread of the runtime.
type Job = Box<dyn FnOnce() + Send>;

/// Where each of the threads gets its work.
#[derive(Clone, Copy)]
pub(crate) struct Monoio(&'static [Sender<Job>]);

/// Threads of the pool for blocking work, which starts all of them at once.
const POOL: usize = 8;

impl Monoio {
    fn put(self, turn: usize, job: Job) {
        let thread = &self.0[turn % self.0.len()];
        thread.try_send(job).expect("the threads of the runtime live as long as the process");
    }

    /// Accepts on a thread of its own, which is a matter of the set-up: nothing is sent before all are connected. Then deals the connections out.
    async fn serve(self, listener: std::net::TcpListener, connections: usize, buffer: usize) -> io::Result<u64> {
        let (sender, echoed) = async_channel::unbounded();
        thread::spawn(move || {
            for turn in 0..connections {
                let (accepted, sender) = (listener.accept(), sender.clone());
                self.put(turn, Box::new(move || drop(monoio::spawn(report(accepted, buffer, sender)))));
            }
        });
        let mut sum = 0;
        for _ in 0..connections {
            sum += echoed.recv().await.map_err(io::Error::other)??;
        }
        Ok(sum)
    }
}

/// Echoes, and says what came of it. The receiver is gone when another connection has failed.
async fn report(accepted: Accepted, buffer: usize, sender: Sender<io::Result<u64>>) {
    let _ = sender.try_send(echo(accepted, buffer).await);
}

type Accepted = io::Result<(std::net::TcpStream, std::net::SocketAddr)>;

/// Echoes until the other side closes, and returns the number of bytes.
async fn echo(accepted: Accepted, buffer: usize) -> io::Result<u64> {
    let (stream, _) = accepted?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    let mut buffer = Vec::with_capacity(buffer);
    let mut echoed = 0;
    loop {
        let (read, filled) = stream.read(buffer).await;
        let read = read?;
        if read == 0 {
            return Ok(echoed);
        }
        let (written, emptied) = stream.write_all(filled).await;
        written?;
        buffer = emptied;
        echoed += read as u64;
    }
}

/// The life of one thread.
fn run(jobs: Receiver<Job>) {
    let pool = Box::new(DefaultThreadPool::new(POOL));
    let builder = RuntimeBuilder::<LegacyDriver>::new().enable_timer().attach_thread_pool(pool);
    let mut runtime = builder.build().expect("the runtime has its descriptors");
    runtime.block_on(async move {
        while let Ok(job) = jobs.recv().await {
            job();
        }
    });
}

/// A future of monoio's, made, polled and dropped by a task on the thread of that task.
struct StaysHere<F>(F);

// SAFETY: `Spawn::spawn` is `monoio::spawn`, which polls and drops a task on the thread that called it, and the workloads make their timers
// inside of tasks.
unsafe impl<F> Send for StaysHere<F> {}

impl<F: Future> Future for StaysHere<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: nothing moves the field, which is pinned with the struct.
        unsafe { self.map_unchecked_mut(|stays_here| &mut stays_here.0) }.poll(context)
    }
}

impl Spawn for Monoio {
    const NAME: &'static str = "monoio";

    type Task<T: Send + 'static> = JoinHandle<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (sender, output) = mpsc::channel();
        self.put(
            0,
            Box::new(move || {
                drop(monoio::spawn(async move {
                    sender.send(future.await).expect("the caller waits for the output");
                }));
            }),
        );
        output.recv().expect("a task of the benchmark panicked")
    }

    #[inline]
    fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        monoio::spawn(future)
    }

    #[inline]
    fn detach<T: Send + 'static>(task: JoinHandle<T>) {
        drop(task);
    }

    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        future::yield_now()
    }
}

own_of_smol!(Monoio);

impl Peer for Monoio {
    const LACKS: &'static [&'static str] = &["spawn_outside", "http"];

    fn start(workers: usize) -> io::Result<Self> {
        let mut threads = Vec::with_capacity(workers);
        for index in 0..workers {
            let (sender, jobs): (Sender<Job>, Receiver<Job>) = async_channel::unbounded();
            threads.push(sender);
            thread::Builder::new().name(format!("monoio-{index}")).spawn(move || run(jobs))?;
        }
        Ok(Monoio(Box::leak(threads.into_boxed_slice())))
    }

    fn spawn_outside<F>(self, _: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        unreachable!("monoio has nothing of the kind, see LACKS")
    }

    #[inline]
    async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        StaysHere(monoio::time::timeout(limit, future)).await.ok()
    }

    #[inline]
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        StaysHere(monoio::time::sleep(duration))
    }

    #[inline]
    async fn spawn_blocking<T, F>(job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        monoio::spawn_blocking(job).await.expect("a job of the benchmark panicked")
    }

    async fn serve_echo(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, ECHO_BUFFER).await
    }

    async fn serve_streams(self, listener: std::net::TcpListener, connections: usize) -> io::Result<u64> {
        self.serve(listener, connections, STREAM_BUFFER).await
    }

    async fn serve_http(self, _: std::net::TcpListener, _: usize) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
