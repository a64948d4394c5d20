//! The children of a wait: their futures, a waker for each, and the list of those that were woken.
//!
//! The *parent* is the task that waits; it alone touches [`Children`] and [`Woken`]. What other threads touch is [`Shared`]: a child's waker
//! puts the child's number on the list and wakes the parent.
//!
//! Invariants:
//!
//! - **F1** A child that is woken after its last poll began is polled again, or the parent is woken. A poll of the parent stores its waker and
//!   takes the list in one critical section. A wake before that is on the list that is taken; a wake after it finds the parent's waker.
//! - **F2** A poll of the parent polls each child at most as often as it was woken, and none that was woken during this poll: a child that
//!   always wakes itself does not keep the parent for ever.
//! - **F3** Under the lock only numbers move. Wakers are cloned, woken and dropped outside.
//! - **F4** When the wait is dropped, nothing here keeps the parent's waker, though a child's waker may live on where the child left it.
//!
//! Nothing here is allocated by a poll, once the lists have grown to the number of children woken at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use crate::coop;
use crate::loom::{Arc, Mutex};

/// What the parent and the wakers of its children share.
#[derive(Debug)]
struct Shared(Mutex<Wakes>);

#[derive(Debug)]
struct Wakes {
    /// The children that were woken since the parent last looked. Filled by any thread, emptied by the parent.
    list: Vec<usize>,
    /// Whether a child is on the list, so that it is there once.
    listed: Vec<bool>,
    /// Stored by each poll of the parent, taken by the first wake after it.
    parent: Option<Waker>,
}

/// A child's waker.
struct ChildWaker {
    shared: Arc<Shared>,
    child: usize,
}

impl Wake for ChildWaker {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        let parent = {
            let mut wakes = self.shared.0.lock();
            if mem::replace(&mut wakes.listed[self.child], true) {
                // The wake that listed it took the parent's waker, and the parent has not looked since.
                return;
            }
            wakes.list.push(self.child);
            wakes.parent.take()
        };
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

/// Which children are to be polled: the parent's side.
#[derive(Debug)]
pub(super) struct Woken {
    shared: Arc<Shared>,
    /// One for each child.
    wakers: Vec<Waker>,
    /// Taken from the list, and not polled yet; the one that has waited longest is in front.
    queue: VecDeque<usize>,
}

impl Woken {
    /// For so many children, all of which are yet to be polled.
    pub(super) fn new(children: usize) -> Woken {
        let wakes = Wakes { list: Vec::new(), listed: vec![false; children], parent: None };
        let shared = Arc::new(Shared(Mutex::new(wakes)));
        let waker = |child| Waker::from(std::sync::Arc::new(ChildWaker { shared: shared.clone(), child }));
        Woken { wakers: (0..children).map(waker).collect(), queue: (0..children).collect(), shared }
    }

    /// Begins a poll of the parent. Returns how many children it should poll (F2).
    pub(super) fn begin(&mut self, parent: &Waker) -> usize {
        let parent = parent.clone();
        let old = {
            let mut wakes = self.shared.0.lock();
            let Wakes { list, listed, parent: stored } = &mut *wakes;
            for child in list.drain(..) {
                listed[child] = false;
                self.queue.push_back(child);
            }
            stored.replace(parent)
        };
        drop(old);
        self.queue.len()
    }

    /// The next child to be polled.
    pub(super) fn next(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    /// The waker to poll `child` with.
    pub(super) fn waker(&self, child: usize) -> &Waker {
        &self.wakers[child]
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        // F4.
        let parent = self.shared.0.lock().parent.take();
        drop(parent);
    }
}

/// Children that are futures.
#[derive(Debug)]
pub(super) struct Children<F> {
    woken: Woken,
    /// By number; `None` when it has given its output.
    futures: Vec<Option<Pin<Box<F>>>>,
    /// How many have not.
    left: usize,
}

impl<F: Future> Children<F> {
    pub(super) fn new(futures: impl Iterator<Item = F>) -> Children<F> {
        let futures: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
        Children { woken: Woken::new(futures.len()), left: futures.len(), futures }
    }

    /// How many have not given their outputs.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Begins a poll of the parent. Returns the turns to be spent in [`advance`](Self::advance).
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) -> usize {
        self.woken.begin(cx.waker())
    }

    /// Spends turns on children that were woken, until one gives its output. `None`: the turns are spent, or the poll's budget is.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, turns: &mut usize) -> Option<(usize, F::Output)> {
        while *turns > 0 {
            if !coop::has_budget() {
                // Children that wait for something of this crate would only wake themselves. They stay in the queue for the next poll.
                cx.waker().wake_by_ref();
                return None;
            }
            *turns -= 1;
            let child = self.woken.next()?;
            // A waker that outlived its future's last poll may still be used.
            let Some(future) = &mut self.futures[child] else { continue };
            let poll = future.as_mut().poll(&mut Context::from_waker(self.woken.waker(child)));
            if let Poll::Ready(output) = poll {
                self.left -= 1;
                self.futures[child] = None;
                return Some((child, output));
            }
        }
        None
    }

    /// Drops the futures that have not given their outputs.
    pub(super) fn clear(&mut self) {
        self.left = 0;
        self.futures.clear();
        self.woken.queue.clear();
    }
}
