//! Calls that wait for their time: `call_later` and `call_at`.
//!
//! Each is a callback made when it was registered, whose Runnable lies here, in the order of the deadlines and, among equal ones, of the
//! registrations, instead of in the queue. The first has an entry in the loop's timing wheel. When that is due it leaves the signal CALLS
//! for the loop's owner, who moves what is due by then to the back of its queue. A thief may fire the entry; the owner alone acts on it.
//!
//! A cancelled call is taken out and dropped at once: nothing is left for a later purge.
//!
//! One thread's own: the owner of the loop makes it with its worker, and handles that point to it stay on that thread.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::{LoopShared, fresh_timer, signal};
use crate::loom::Arc;
use crate::reactor::timer::TimerKey;
use crate::task::Runnable;

/// Names a call that waits: its deadline and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimedCall {
    pub(crate) when: Instant,
    number: u64,
}

/// The calls of one loop that wait for their time.
pub(crate) struct CallTimers {
    home: Arc<LoopShared>,
    /// Leaves CALLS; what lies in the wheel is a clone of it.
    waker: Waker,
    waiting: RefCell<BTreeMap<TimedCall, Runnable>>,
    /// How many calls there have been.
    count: Cell<u64>,
    /// The entry in the wheel, and the deadline it stands for.
    armed: Cell<Option<(Instant, TimerKey)>>,
}

struct CallsAreDue(Arc<LoopShared>);

impl Wake for CallsAreDue {
    fn wake(self: Arc<Self>) {
        self.0.signal(signal::CALLS);
    }
}

impl CallTimers {
    pub(super) fn new(home: &Arc<LoopShared>) -> Self {
        CallTimers {
            home: home.clone(),
            waker: Waker::from(Arc::new(CallsAreDue(home.clone()))),
            waiting: RefCell::new(BTreeMap::new()),
            count: Cell::new(0),
            armed: Cell::new(None),
        }
    }

    /// Keeps `runnable` until `when`.
    pub(super) fn insert(&self, when: Instant, runnable: Runnable) -> TimedCall {
        let number = self.count.get();
        self.count.set(number + 1);
        let call = TimedCall { when, number };
        self.waiting.borrow_mut().insert(call, runnable);
        self.arm();
        call
    }

    /// Takes the call out and drops it, if it still waits.
    pub(crate) fn cancel(&self, call: TimedCall) {
        let runnable = self.waiting.borrow_mut().remove(&call);
        self.arm();
        drop(runnable);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Moves what is due to `queue`.
    pub(super) fn fire(&self, queue: &mut VecDeque<Runnable>) {
        let now = self.home.clock.now();
        let mut waiting = self.waiting.borrow_mut();
        let before = waiting.len();
        while let Some(first) = waiting.first_entry()
            && first.key().when <= now
        {
            queue.push_back(first.remove());
        }
        let has_fired = waiting.len() < before;
        drop(waiting);
        if has_fired {
            // The entry in the wheel was for one of them, and may be gone.
            self.disarm();
            self.arm();
        }
    }

    /// Moves everything to `queue`, to be dropped when its turn comes: the loop is closed, or its thread leaves.
    pub(super) fn clear(&self, queue: &mut VecDeque<Runnable>) {
        for (_, runnable) in self.waiting.take() {
            runnable.reference().abort();
            queue.push_back(runnable);
        }
        self.disarm();
    }

    /// Sees to it that the wheel holds an entry for the first deadline.
    fn arm(&self) {
        let first = self.waiting.borrow().first_key_value().map(|(call, _)| call.when);
        if self.armed.get().map(|(when, _)| when) == first {
            return;
        }
        self.disarm();
        // This thread is the owner and awake: it looks at the wheel before it sleeps. A closed loop has closed its registries before its
        // timers, and so has nothing that waits here.
        let entry = first.and_then(|when| {
            fresh_timer::settle_any();
            self.home.timers.insert(self.home.clock.now(), when, self.waker.clone()).map(|(key, _)| (when, key))
        });
        self.armed.set(entry);
    }

    fn disarm(&self) {
        if let Some((_, key)) = self.armed.take() {
            drop(self.home.timers.cancel(key));
        }
    }
}
