//! Models of the end of a loop: tasks, registry, inbox, signals, idle set and park word are the real ones, put together as the scheduler does it.

#![allow(unsafe_code, reason = "the link between a Runnable and the inbox, as the scheduler makes it")]

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc as Unseen;
use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};
use std::task::{Context, Poll};

use super::Signals;
use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, Condvar, Mutex, StartLine, check};
use crate::queue::inbox::{Inbox, Link, Node};
use crate::scheduler::park::{Notice, Parker, Place};
use crate::scheduler::sleep::Sleep;
use crate::task::registry::Registry;
use crate::task::{Outcome, Runnable, Schedule, Spawn, Task, TaskRef, spawn};

// SAFETY: as in `src/scheduler/home.rs`: the node is the first field of the task's header, and the two functions are each other's inverse.
unsafe impl Link for Runnable {
    fn into_raw(self) -> NonNull<Node> {
        self.into_node()
    }

    unsafe fn from_raw(node: NonNull<Node>) -> Self {
        // SAFETY: the caller's contract: the pointer comes from `into_raw`.
        unsafe { Runnable::from_node(node) }
    }
}

const CLOSE: u32 = 1;

/// A runtime of one loop, as any thread may use it.
struct Home {
    registry: Registry,
    inbox: Inbox<Runnable>,
    signals: Signals,
    sleep: Sleep,
    parker: Parker,
    is_closing: AtomicBool,
    /// Whether the loop's thread runs; and who waits for its end, or for that of the last task.
    runs: Mutex<bool>,
    exited: Condvar,
}

/// What a task holds of its loop.
#[derive(Clone)]
struct AtHome(Arc<Home>);

impl Schedule for AtHome {
    fn schedule(&self, runnable: Runnable) {
        self.0.push_from_outside(runnable);
    }

    /// As `unlink` and `tell_drained`.
    fn release(&self, task: TaskRef) -> bool {
        let removed = self.0.registry.remove(task);
        if removed.is_drained {
            self.0.signal(CLOSE);
            if self.0.is_closing() {
                drop(self.0.runs.lock());
                self.0.exited.notify_all();
            }
        }
        removed.was_linked
    }
}

impl Home {
    fn new() -> Arc<Home> {
        Arc::new(Home {
            registry: Registry::new(),
            inbox: Inbox::new(),
            signals: Signals::new(),
            sleep: Sleep::new(1),
            parker: Parker::new(),
            is_closing: AtomicBool::new(false),
            runs: Mutex::new(true),
            exited: Condvar::new(),
        })
    }

    fn is_closing(&self) -> bool {
        // Ordering: Acquire, as in `Shared::is_closing`.
        self.is_closing.load(Ordering::Acquire)
    }

    /// As `LoopShared::nudge`.
    fn nudge(&self) {
        // Ordering: SeqCst fence, as in `LoopShared::nudge`: pairs with S3.
        fence(Ordering::SeqCst);
        if self.sleep.claim(0) {
            assert!(!self.parker.notify(Notice::Work), "it does not sleep in a reactor");
        }
    }

    fn signal(&self, bits: u32) {
        if self.signals.leave(bits) {
            self.nudge();
        }
    }

    /// As `Shared::push_from_outside`, with nobody else to publish to.
    fn push_from_outside(&self, runnable: Runnable) {
        if self.inbox.push(runnable) {
            self.nudge();
        }
    }

    /// As `Worker::run_until_closed`, and the end of its thread.
    fn run(&self) {
        if self.is_closing() {
            self.signal(CLOSE);
        }
        loop {
            let signals = self.signals.take();
            if signals & CLOSE != 0 && self.is_closing() && self.registry.len() == 0 {
                break;
            }
            for runnable in self.inbox.take_all() {
                if let Outcome::Reschedule(runnable) = runnable.run() {
                    self.push_from_outside(runnable);
                }
            }
            self.sleep_once();
        }
        *self.runs.lock() = false;
        self.exited.notify_all();
    }

    /// As `Worker::sleep`.
    fn sleep_once(&self) {
        self.sleep.announce(0);
        let mut notice = None;
        if self.signals.is_empty() && self.inbox.is_empty() {
            if self.parker.begin(Place::Futex) {
                self.parker.wait(None);
            }
            notice = self.parker.end();
        }
        if notice.is_none() && !self.sleep.retract(0) {
            self.parker.await_notice();
        }
    }

    /// As `Shared::begin_shutdown` and `Shared::await_threads`.
    fn shut_down(&self) {
        self.registry.close();
        // Ordering: Release, as in `Shared::begin_shutdown`.
        self.is_closing.store(true, Ordering::Release);
        self.registry.cancel_all("the runtime shuts down");
        self.signal(CLOSE);
        let mut runs = self.runs.lock();
        while *runs || self.registry.len() > 0 {
            runs = self.exited.wait(runs);
        }
    }
}

impl AtHome {
    /// As `Shared::spawn_from_outside`.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task<()> {
        let (runnable, task) = spawn(future, self.clone(), Spawn::at(Location::caller()), true);
        if self.0.registry.insert(runnable.task_ref()) {
            self.0.push_from_outside(runnable);
        } else {
            drop(runnable);
        }
        task
    }
}

/// Waits for ever, or is through at once; counts its drops.
struct Counted {
    is_ready: bool,
    drops: Unseen<Count>,
}

impl Future for Counted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.is_ready { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Order::Relaxed);
    }
}

/// A loop's thread, a thread that spawns, one that shuts down: the task ends, cancelled or refused if it waits for ever, its future is dropped once,
/// and all three come to their ends. Bound 2.
#[test]
fn a_spawn_beside_a_shutdown_is_run_or_refused() {
    for (name, is_ready, min) in [("shutdown_vs_spawn", false, 2_000), ("shutdown_vs_spawn_of_ready", true, 1_700)] {
        check(name, 2, min, move || {
            let line = StartLine::new();
            let home = AtHome(Home::new());
            let drops = Unseen::new(Count::new(0));
            let (runs, spawns, counted) = (home.clone(), home.clone(), drops.clone());
            let runner = line.spawn(move || runs.0.run());
            let spawner = line.spawn(move || spawns.spawn(Counted { is_ready, drops: counted }));
            line.pass();
            home.0.shut_down();
            let task = spawner.join().unwrap();
            runner.join().unwrap();
            assert!(task.is_finished());
            assert_eq!(drops.load(Order::Relaxed), 1);
            assert_eq!(home.0.registry.len(), 0);
        });
    }
}

/// A loop's thread with a task in its inbox that wakes nobody, one that aborts the task, one that shuts down: as above. Bound 2.
#[test]
fn an_abort_beside_a_shutdown_ends_the_loop() {
    check("shutdown_vs_abort", 2, 9_000, || {
        let line = StartLine::new();
        let home = AtHome(Home::new());
        let drops = Unseen::new(Count::new(0));
        let task = home.spawn(Counted { is_ready: false, drops: drops.clone() });
        let runs = home.clone();
        let runner = line.spawn(move || runs.0.run());
        let aborter = line.spawn(move || {
            task.abort();
            task
        });
        line.pass();
        home.0.shut_down();
        runner.join().unwrap();
        assert!(aborter.join().unwrap().is_finished());
        assert_eq!(drops.load(Order::Relaxed), 1);
    });
}
