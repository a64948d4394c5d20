//! Models of tasks that stay on their thread: whoever aborts, cancels or wakes one from another thread only sends its Runnable home.
//!
//! loom cannot see that a value is not `Send`, so the future notes it when it is polled or dropped anywhere but on the thread that made it.

#![allow(
    unsafe_code,
    reason = "a local task promises that its Runnable stays on its thread, which is what these models look at"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc as Unseen;
use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};
use std::task::{Context, Poll, Waker};

use super::registry::Registry;
use super::{Outcome, Runnable, Schedule, Spawn, Task, TaskRef, spawn_local};
use crate::loom::{Arc, Mutex, StartLine, check, thread};

/// The one thread that may run what is in here.
struct Home {
    inbox: Mutex<VecDeque<Runnable>>,
    registry: Registry,
}

#[derive(Clone)]
struct AtHome(Arc<Home>);

impl Schedule for AtHome {
    fn schedule(&self, runnable: Runnable) {
        self.0.inbox.lock().push_back(runnable);
    }

    fn release(&self, task: TaskRef) -> bool {
        self.0.registry.remove(task).was_linked
    }
}

impl AtHome {
    fn new() -> AtHome {
        AtHome(Arc::new(Home { inbox: Mutex::new(VecDeque::new()), registry: Registry::new() }))
    }

    fn spawn(&self, future: Stays) -> Task<()> {
        // SAFETY: the inbox is emptied by `run` alone, which each model calls on the thread that spawns.
        let (runnable, task) = unsafe { spawn_local(future, self.clone(), Spawn::at(Location::caller())) };
        assert!(self.0.registry.insert(runnable.task_ref()));
        self.schedule(runnable);
        task
    }

    /// Runs what is here now. On the home thread.
    fn run(&self) {
        loop {
            let next = self.0.inbox.lock().pop_front();
            let Some(runnable) = next else { return };
            if let Outcome::Reschedule(runnable) = runnable.run() {
                self.schedule(runnable);
            }
        }
    }
}

/// What became of a future, outside the model.
#[derive(Default)]
struct Log {
    /// Polls and drops on another thread than the one that made it.
    strayed: Count,
    drops: Count,
}

/// A future that waits for ever, and belongs to the thread that made it.
struct Stays {
    home: thread::ThreadId,
    log: Unseen<Log>,
    waker: Unseen<Mutex<Option<Waker>>>,
}

impl Stays {
    fn new() -> (Stays, Unseen<Log>, Unseen<Mutex<Option<Waker>>>) {
        let (log, waker) = (Unseen::new(Log::default()), Unseen::new(Mutex::new(None)));
        (Stays { home: thread::current().id(), log: log.clone(), waker: waker.clone() }, log, waker)
    }

    fn note(&self) {
        // Ordering: Relaxed, a count that is read after all threads have been joined.
        self.log.strayed.fetch_add(usize::from(thread::current().id() != self.home), Order::Relaxed);
    }
}

impl Future for Stays {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.note();
        let waker = cx.waker().clone();
        let before = self.waker.lock().replace(waker);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        self.note();
        // Ordering: Relaxed, as in `note`.
        self.log.drops.fetch_add(1, Order::Relaxed);
    }
}

/// A task at home that was polled once, and its waker.
fn polled_once(home: &AtHome) -> (Task<()>, Unseen<Log>, Waker) {
    let (future, log, waker) = Stays::new();
    let task = home.spawn(future);
    home.run();
    let waker = waker.lock().take().expect("it was polled");
    (task, log, waker)
}

fn ended_at_home(home: &AtHome, log: &Log) {
    // Ordering: Relaxed, after the joins.
    assert_eq!((log.strayed.load(Order::Relaxed), log.drops.load(Order::Relaxed)), (0, 1));
    assert_eq!(home.0.registry.len(), 0);
}

/// 1 home thread that runs its tasks and drops the handle, 1 thread that aborts, 1 that wakes with the last waker: the future is polled and dropped at
/// home alone, once. Bound 2.
#[test]
fn a_local_task_aborted_elsewhere_is_dropped_at_home() {
    check("local_task_abort", 2, 390, || {
        let line = StartLine::new();
        let home = AtHome::new();
        let (task, log, waker) = polled_once(&home);
        let handle = task.handle();
        let aborter = line.spawn(move || handle.abort());
        let waking = line.spawn(move || waker.wake());
        line.pass();
        drop(task);
        home.run();
        aborter.join().unwrap();
        waking.join().unwrap();
        home.run();
        ended_at_home(&home, &log);
    });
}

/// 1 home thread that closes its registry and ends what is in it, 1 thread that cancels, 1 that wakes and keeps a waker: as above, and what the waker
/// does later is inert. Bound 2.
#[test]
fn a_local_task_cancelled_elsewhere_while_its_loop_ends_is_dropped_at_home() {
    check("local_task_shutdown", 2, 1_700, || {
        let line = StartLine::new();
        let home = AtHome::new();
        let (task, log, waker) = polled_once(&home);
        let handle = task.handle();
        let canceller = line.spawn(move || handle.cancel(None));
        let waking = line.spawn(move || {
            waker.wake_by_ref();
            waker
        });
        line.pass();
        home.0.registry.close();
        home.0.registry.abort_all();
        home.run();
        canceller.join().unwrap();
        let late = waking.join().unwrap();
        home.run();
        drop(task);
        late.wake();
        assert!(home.0.inbox.lock().is_empty());
        ended_at_home(&home, &log);
    });
}
