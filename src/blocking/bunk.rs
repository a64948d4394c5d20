//! A bunk: where one thread of the pool waits for its next order.
//!
//! Its thread waits; whoever took the bunk off the pool's idle stack gives exactly one [`Order`] (invariant B2 of `blocking.rs`). Order,
//! sleep and expiry stand under the bunk's own lock, so nothing can be lost between looking and sleeping. The one atomic word beside the
//! lock is a hint that lets the thread spin without touching it.
//!
//! A giver notifies only a thread that sleeps: one that still spins, or has not come to wait yet, costs no system call.

use std::fmt;
use std::time::{Duration, Instant};

use super::Job;
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::loom::{Condvar, Mutex};

/// Looks at the hint between two readings of the clock.
const LOOKS_PER_CLOCK: u32 = 16;

/// What a waiting thread is told.
pub(super) enum Order<J> {
    /// Run this.
    Run(J),
    /// End.
    Leave,
}

/// What a thread does now, for the report of a shutdown that came to its deadline.
pub(super) enum Doing<D> {
    /// No job: not yet, or not any more.
    Nothing,
    /// This job; or it ended a moment ago.
    Job(D),
    /// The stop hook.
    Hook,
}

/// How long to wait.
pub(super) struct Patience {
    /// `None`: until the order comes.
    pub(super) keep_alive: Option<Duration>,
    /// `None`: sleep at once.
    pub(super) spin_limit: Option<Duration>,
}

/// How a wait ended.
pub(super) enum Waited<J> {
    /// With an order.
    Ordered(Order<J>),
    /// Without one.
    Expired,
}

/// What is written under the bunk's lock.
pub(super) struct Post<J: Job> {
    /// Written by the giver, taken by the thread.
    order: Option<Order<J>>,
    /// The thread is inside a wait on the condition variable. Written by the thread, read by the giver.
    is_asleep: bool,
    /// The keep-alive ended. Set by [`Post::expire`], reset by the thread.
    is_expired: bool,
    /// Written by the thread, read by shutdowns.
    doing: Doing<J::Description>,
}

/// See the head of this file.
pub(super) struct Bunk<J: Job> {
    /// The number in the thread's name. Never changes.
    id: usize,
    /// The thread's name. Never changes.
    name: String,
    /// An order has been given. Written by giver and thread under the lock of `post`, read by the spinning thread without it.
    called: AtomicBool,
    pub(super) post: Mutex<Post<J>>,
    /// With the lock of `post`; the bunk's thread waits.
    pub(super) bell: Condvar,
}

impl<J: Job> Post<J> {
    /// Ends the keep-alive: the timed wait when its time ran out; a model, where no time passes, before it rings the bell.
    pub(super) fn expire(&mut self) {
        self.is_expired = true;
    }
}

impl<J: Job> Bunk<J> {
    /// The bunk of a thread that begins with `first`.
    pub(super) fn new(id: usize, name: String, first: Option<J>) -> Self {
        let order = first.map(Order::Run);
        let post = Post { order, is_asleep: false, is_expired: false, doing: Doing::Nothing };
        Bunk { id, name, called: AtomicBool::new(false), post: Mutex::new(post), bell: Condvar::new() }
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// The job that the thread was started for. The thread, before it first waits; or the starter, when there is no thread.
    pub(super) fn take_first(&self) -> Option<J> {
        match self.post.lock().order.take() {
            Some(Order::Run(job)) => Some(job),
            Some(Order::Leave) | None => None,
        }
    }

    /// Whoever took the bunk off the idle stack.
    pub(super) fn give(&self, order: Order<J>) {
        let mut post = self.post.lock();
        post.order = Some(order);
        // Ordering: Relaxed, a hint for `spin`, which takes the lock before it believes it; what is published is published by the lock.
        self.called.store(true, Ordering::Relaxed);
        let is_asleep = post.is_asleep;
        drop(post);
        if is_asleep {
            self.bell.notify_one();
        }
    }

    /// Owner thread only. Waits for the order.
    pub(super) fn wait(&self, patience: Patience, spinner: &AtomicUsize, spun: &mut Option<bool>) -> Waited<J> {
        if let Some(limit) = patience.spin_limit {
            *spun = self.spin(limit, spinner);
        }
        let limited = patience.keep_alive.and_then(|keep_alive| Instant::now().checked_add(keep_alive));
        // Declared before the guard, so dropped after it.
        let mut ended = Doing::Nothing;
        let mut post = self.post.lock();
        std::mem::swap(&mut ended, &mut post.doing);
        post.is_asleep = true;
        let waited = loop {
            if let Some(order) = post.order.take() {
                // Ordering: Relaxed, under the lock of `post` like its other write in `give`.
                self.called.store(false, Ordering::Relaxed);
                break Waited::Ordered(order);
            }
            let is_expired = std::mem::take(&mut post.is_expired);
            if is_expired && patience.keep_alive.is_some() {
                break Waited::Expired;
            }
            post = match limited {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let (mut post, timed_out) = self.bell.wait_timeout(post, left);
                    if timed_out {
                        post.expire();
                    }
                    post
                }
                None => self.bell.wait(post),
            };
        };
        post.is_asleep = false;
        waited
    }

    /// Looks for the order for at most `limit`, while this is the thread that became idle last. Whether it came; `None` when a thread
    /// that became idle later took over.
    fn spin(&self, limit: Duration, spinner: &AtomicUsize) -> Option<bool> {
        let end = Instant::now() + limit;
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                // Ordering: Relaxed, pairs with `give`: a hint only, the order itself is taken under the lock.
                if self.called.load(Ordering::Relaxed) {
                    return Some(true);
                }
                // Ordering: Relaxed, pairs with `blocking.rs::Shared::next`: read late it costs a few rounds.
                if spinner.load(Ordering::Relaxed) != self.id {
                    return None;
                }
                std::hint::spin_loop();
            }
            if Instant::now() >= end {
                return Some(false);
            }
        }
    }

    /// Owner thread only. Says what the thread does from now on.
    pub(super) fn begin(&self, doing: Doing<J::Description>) {
        let before = std::mem::replace(&mut self.post.lock().doing, doing);
        // After the lock, which the line above has released.
        drop(before);
    }

    /// Any thread. One line about what the thread does.
    pub(super) fn describe(&self) -> String {
        match &self.post.lock().doing {
            Doing::Nothing => format!("thread `{}`, between jobs", self.name),
            Doing::Job(description) => description.to_string(),
            Doing::Hook => format!("thread `{}`, in its stop hook", self.name),
        }
    }
}

impl<J: Job> fmt::Debug for Bunk<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bunk").field("id", &self.id).finish_non_exhaustive()
    }
}
