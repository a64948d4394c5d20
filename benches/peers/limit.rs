//! The limit: what hand-written code does here when it gives up everything that makes a runtime one.
//!
//! For the workloads that only move tasks it is an executor on the calling thread: one `VecDeque`, nothing that another thread could
//! steal or wake, no reactor. For TCP it is one thread with one `mio::Poll` and a loop over its events, no tasks at all (see
//! `limit/servers.rs`). What crosses threads is done by two of them that know only of each other (see `limit/across.rs`), and a timeout is an
//! entry in a wheel that nobody else could arm a timer in (see `limit/wheel.rs`). Locks and channels are for one thread (see `limit/local.rs`). A ratio to the limit says how much of the way is left, not that all of it can be gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;

use async_task::Runnable;
use futures_lite::future;

use super::peer::Spawn;

mod across;
mod local;
mod servers;
mod wheel;

pub(crate) use across::{spawn_blocking, spawn_outside, wake_idle};
pub(crate) use servers::{serve_echo, serve_http, serve_streams};
pub(crate) use wheel::timeout_dropped;

std::thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
}

/// The executor of the calling thread.
#[derive(Clone, Copy)]
pub(crate) struct Limit;

impl Spawn for Limit {
    const NAME: &'static str = "limit";

    type Task<T: Send + 'static> = async_task::Task<T>;

    fn run<F>(self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.spawn(future);
        while !task.is_finished() {
            let next = QUEUE.with_borrow_mut(VecDeque::pop_front);
            next.expect("the queue of the limit ran dry before its main task was done").run();
        }
        future::block_on(task)
    }

    #[inline]
    fn spawn<F>(self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (runnable, task) =
            async_task::spawn(future, |runnable| QUEUE.with_borrow_mut(|queue| queue.push_back(runnable)));
        runnable.schedule();
        task
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
