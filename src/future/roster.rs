//! Who is in a group, and whether it goes on: the state that the group's future, its handles and its children share, under one lock.
//!
//! | | who |
//! |---|---|
//! | `enter`, `poll_body`, `poll_end`, `close` | the future, which is in one task at a time |
//! | `admit`, `attach`, `abort` | whoever has a handle, on any thread |
//! | `leave`, `fail` | a child's wrapper, on the thread that runs the child or drops it |
//!
//! Invariants:
//!
//! - **G1** A child is in the set from before it can run until its future is gone. So the group does not end before its children, and a child that is done
//!   in its first poll takes itself out like any other.
//! - **G2** Every child that is in the set when the group aborts is cancelled: by whoever aborts, if its handle is in the set, and else by whoever spawns it,
//!   to whom `attach` says so. Nobody is admitted after that.
//! - **G3** The future stores its waker in the critical section in which it looks. So what happens later wakes it.
//! - **G4** Under the lock nothing of the user's runs: handles, wakers and failures come out to be cancelled, woken and dropped.

use std::collections::BTreeMap;
use std::mem;
use std::task::{Poll, Waker};

use crate::error::Cancelled;
use crate::loom::Mutex;

/// `F` is a failure, `H` names a child to whoever cancels it.
pub(super) struct Roster<F, H>(Mutex<State<F, H>>);

struct State<F, H> {
    phase: Phase,
    /// Whether a child's failure leaves the others alone. Written by `enter`.
    supervised: bool,
    /// By number, in the order in which they were admitted. `None` until the handle is attached.
    children: BTreeMap<u64, Option<H>>,
    /// The last number given to a child.
    last: u64,
    /// In the order in which they came.
    failures: Vec<F>,
    /// Of the future; taken by whoever has news for it.
    waker: Option<Waker>,
}

#[derive(Clone)]
enum Phase {
    /// The future was not polled yet.
    New,
    /// Children are admitted.
    Open,
    /// Body and children are being cancelled, for this reason.
    Aborting(Cancelled),
    /// Nobody is in it, or comes in, any more. `dropped`: its future was, and the children are aborted.
    Closed { dropped: bool },
}

/// Why nobody is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotBegun,
    Aborting,
    Finished,
}

/// What is to happen to a child that was just spawned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stay,
    Cancel(Cancelled),
    Abort,
}

/// What whoever ended the group has to do, without the lock (G4).
#[must_use]
pub(super) struct Ending<H> {
    /// To be cancelled for this reason.
    pub(super) children: Vec<H>,
    pub(super) reason: Cancelled,
    /// The future's.
    pub(super) waker: Option<Waker>,
}

impl<F, H> Roster<F, H> {
    pub(super) fn new() -> Self {
        Roster(Mutex::new(State {
            phase: Phase::New,
            supervised: false,
            children: BTreeMap::new(),
            last: 0,
            failures: Vec::new(),
            waker: None,
        }))
    }

    /// The group begins, unless it was ended before.
    pub(super) fn enter(&self, supervised: bool) {
        let mut state = self.0.lock();
        state.supervised = supervised;
        if let Phase::New = state.phase {
            state.phase = Phase::Open;
        }
    }

    /// Puts a child in that is to be spawned now (G1).
    pub(super) fn admit(&self) -> Result<u64, Refusal> {
        let mut state = self.0.lock();
        match state.phase {
            Phase::New => return Err(Refusal::NotBegun),
            Phase::Open => {}
            Phase::Aborting(_) => return Err(Refusal::Aborting),
            Phase::Closed { .. } => return Err(Refusal::Finished),
        }
        state.last += 1;
        let number = state.last;
        state.children.insert(number, None);
        Ok(number)
    }

    /// The child has been spawned, and may be done already. What is to happen to it (G2).
    pub(super) fn attach(&self, number: u64, handle: H) -> Fate {
        let mut state = self.0.lock();
        let fate = match &state.phase {
            Phase::New | Phase::Open => Fate::Stay,
            Phase::Aborting(reason) => Fate::Cancel(reason.clone()),
            Phase::Closed { dropped } => {
                if *dropped {
                    Fate::Abort
                } else {
                    Fate::Stay
                }
            }
        };
        if let Some(place) = state.children.get_mut(&number) {
            *place = Some(handle);
            return fate;
        }
        drop(state);
        drop(handle);
        Fate::Stay
    }

    /// The child's future is gone. Returns the waker of the future, if that waits for the last one.
    pub(super) fn leave(&self, number: u64) -> Option<Waker> {
        let mut state = self.0.lock();
        let handle = state.children.remove(&number);
        let waker = if state.children.is_empty() { state.waker.take() } else { None };
        drop(state);
        drop(handle);
        waker
    }

    /// A child has failed: the others, and the body, are to end. The child is still in the set.
    pub(super) fn fail(&self, failure: F, number: u64, reason: &'static str) -> Ending<H>
    where
        H: Clone,
    {
        let mut state = self.0.lock();
        state.failures.push(failure);
        if state.supervised {
            return Ending { children: Vec::new(), reason: Cancelled::default(), waker: None };
        }
        state.abort(Cancelled::new(Some(reason)), Some(number))
    }

    /// The body has failed.
    pub(super) fn fail_body(&self, failure: F, reason: &'static str) -> Ending<H>
    where
        H: Clone,
    {
        let mut state = self.0.lock();
        state.failures.push(failure);
        state.abort(Cancelled::new(Some(reason)), None)
    }

    /// The group is to end. Returns nobody to be cancelled if it does already.
    pub(super) fn abort(&self, reason: Cancelled) -> Ending<H>
    where
        H: Clone,
    {
        self.0.lock().abort(reason, None)
    }

    /// While the body runs, at the beginning of a poll of the future: why the group ends, if it does. Whatever comes later wakes the future (G3).
    pub(super) fn poll_body(&self, waker: Waker) -> Option<Cancelled> {
        let mut state = self.0.lock();
        let old = state.waker.replace(waker);
        let reason = match &state.phase {
            Phase::Aborting(reason) => Some(reason.clone()),
            Phase::New | Phase::Open | Phase::Closed { .. } => None,
        };
        drop(state);
        drop(old);
        reason
    }

    /// After the body: the group ends when no child is left, and gives the failures. From then on nobody is admitted.
    pub(super) fn poll_end(&self, waker: Waker) -> Poll<Vec<F>> {
        let mut state = self.0.lock();
        if state.children.is_empty() {
            state.phase = Phase::Closed { dropped: false };
            let (failures, old) = (mem::take(&mut state.failures), state.waker.take());
            drop(state);
            drop(old);
            return Poll::Ready(failures);
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// The future is dropped. Returns the children that are left, to be aborted.
    pub(super) fn close(&self) -> Vec<H>
    where
        H: Clone,
    {
        let mut state = self.0.lock();
        if let Phase::Closed { .. } = state.phase {
            return Vec::new();
        }
        state.phase = Phase::Closed { dropped: true };
        let left = state.children.values().flatten().cloned().collect();
        let (failures, old) = (mem::take(&mut state.failures), state.waker.take());
        drop(state);
        drop((failures, old));
        left
    }

    /// How many children are in it.
    pub(super) fn len(&self) -> usize {
        self.0.lock().children.len()
    }
}

impl<F, H: Clone> State<F, H> {
    fn abort(&mut self, reason: Cancelled, except: Option<u64>) -> Ending<H> {
        let (begins, waker) = match self.phase {
            // Before the group begins nobody is in it; it will find itself ended.
            Phase::New | Phase::Open => (true, self.waker.take()),
            Phase::Aborting(_) | Phase::Closed { .. } => (false, None),
        };
        let mut children = Vec::new();
        if begins {
            self.phase = Phase::Aborting(reason.clone());
            let others = self.children.iter().filter(|&(&number, _)| Some(number) != except);
            children = others.filter_map(|(_, handle)| handle.clone()).collect();
        }
        Ending { children, reason, waker }
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/task_group.rs"]
mod models;
