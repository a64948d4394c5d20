//! What a runtime has to offer to be measured.
//!
//! [`Spawn`] is enough for the workloads that only move tasks; the hand-written executor of `limit.rs` stops there. [`Peer`] adds what
//! a whole runtime has: timers, a blocking pool, sockets. An implementation uses each runtime the way its own documentation does:
//! `tokio::spawn` inside a worker, `Runtime::spawn` outside of it, smol's static executor, and so on. A value of these traits is a
//! `Copy` reference to a started runtime, so that carrying it into a task costs nothing that a user would not pay.

use std::future::Future;
use std::io;
use std::time::Duration;

use super::own::Own;

/// A running executor.
pub(crate) trait Spawn: Copy + Send + Sync + 'static {
    /// The name in the table; the crate of that name gives the version.
    const NAME: &'static str;

    /// What `spawn` returns. Awaiting it gives the output.
    type Task<T: Send + 'static>: Future<Output = T> + Send + 'static;

    /// Runs `future` as a spawned task, so on a worker, and blocks the calling thread until it is done.
    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Spawns from inside a task.
    fn spawn<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Lets the task run on without its handle.
    fn detach<T: Send + 'static>(task: Self::Task<T>);

    /// Gives the rest of the turn up once.
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// A running runtime. (Its locks and channels: [`Own`].)
pub(crate) trait Peer: Own {
    /// The names of the rows that this one cannot run.
    const LACKS: &'static [&'static str] = &[];

    /// Builds the runtime with `workers` workers and otherwise its defaults. It lives until the process ends.
    fn start(workers: usize) -> io::Result<Self>;

    /// Spawns from a thread that is not one of the runtime's.
    fn spawn_outside<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// `future` with a time limit; `None` when it ran out.
    fn timeout<F>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send;

    /// Waits.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;

    /// Runs `job` on the pool for blocking work.
    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;

    /// Accepts `connections` connections, echoes on each in a task of its own until the client closes it, and returns how many bytes
    /// were echoed in all. Every peer reads into a buffer of [`ECHO_BUFFER`] bytes and sets `TCP_NODELAY`.
    fn serve_echo(
        self,
        listener: std::net::TcpListener,
        connections: usize,
    ) -> impl Future<Output = io::Result<u64>> + Send + 'static;

    /// The same with a buffer of [`STREAM_BUFFER`] bytes on the heap.
    fn serve_streams(
        self,
        listener: std::net::TcpListener,
        connections: usize,
    ) -> impl Future<Output = io::Result<u64>> + Send + 'static;

    /// The same as `serve_echo` with HTTP/1.1 (see `http.rs`); returns how many requests were answered.
    fn serve_http(
        self,
        listener: std::net::TcpListener,
        connections: usize,
    ) -> impl Future<Output = io::Result<u64>> + Send + 'static;

    /// Runs `job`, which holds its thread for long, from inside a task.
    fn hold(job: impl FnOnce() + Send + 'static) -> impl Future<Output = ()> + Send {
        async move { job() }
    }
}

/// Size in bytes of the buffer that an echo connection reads into, the same for all.
pub(crate) const ECHO_BUFFER: usize = 1024;

/// The same for a stream of megabytes.
pub(crate) const STREAM_BUFFER: usize = 64 << 10;
