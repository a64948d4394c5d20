//! The live tasks of one loop: what a shutdown has to end.
//!
//! An intrusive, doubly linked list under a lock, threaded through the headers, so that a spawn allocates nothing for it. A task is linked
//! when it is spawned, before its Runnable goes anywhere, and unlinked by whoever completes it. The list owns one reference to each.
//!
//! - **G1** A task is linked exactly while it is in the list of the registry it was inserted into, and it is completed, hence unlinked, only
//!   by its Runnable's holder (T2).
//! - **G2** A closed registry takes no new task; once it is empty it stays empty. A paused one is the same until its owner resumes it, which
//!   does not open what somebody closed meanwhile.

#![allow(unsafe_code, reason = "an intrusive list of type-erased tasks")]

use std::panic::Location;
use std::ptr::NonNull;

use super::TaskRef;
use super::cell::Header;
use super::join::{TaskHandle, abort, cancel};
use super::waker::release;
use crate::error::Cancelled;
use crate::loom::Mutex;

/// The live tasks of one loop. Any thread.
pub(crate) struct Registry {
    list: Mutex<List>,
}

/// Read and written under the registry's lock.
struct List {
    head: Option<NonNull<Header>>,
    len: usize,
    /// For good, by the shutdown.
    is_closed: bool,
    /// For a while, by the owner of the loop.
    is_paused: bool,
}

impl List {
    fn takes_tasks(&self) -> bool {
        !self.is_closed && !self.is_paused
    }
}

// SAFETY: the pointers are references to tasks, which any thread may hold; what they link is touched under the lock only.
unsafe impl Send for List {}

impl Registry {
    pub(crate) fn new() -> Self {
        Registry { list: Mutex::new(List { head: None, len: 0, is_closed: false, is_paused: false }) }
    }

    /// Links a new task, taking over the registry's reference. `false`: the registry is closed, and the reference released; the caller
    /// drops the Runnable.
    #[inline]
    pub(crate) fn insert(&self, task: TaskRef) -> bool {
        let mut list = self.list.lock();
        if !list.takes_tasks() {
            drop(list);
            // SAFETY: the new task was counted with a reference for the registry, which is given up.
            unsafe { release(task.0) };
            return false;
        }
        let next = list.head.replace(task.0);
        links(task.0, |links| links.next = next);
        if let Some(next) = next {
            links(next, |links| links.previous = Some(task.0));
        }
        list.len += 1;
        true
    }

    /// Unlinks a task that completes. Returns whether it was linked, so that the caller has the registry's reference to release, and whether
    /// the registry is now closed and empty.
    #[inline]
    pub(crate) fn remove(&self, task: TaskRef) -> Removed {
        let mut list = self.list.lock();
        let mut place = None;
        links(task.0, |links| place = Some((links.previous.take(), links.next.take())));
        let Some((previous, next)) = place else { unreachable!("the closure ran") };
        match previous {
            Some(previous) => links(previous, |links| links.next = next),
            None if list.head == Some(task.0) => list.head = next,
            // Not first and without a predecessor: it never was in the list (G1).
            None => return Removed { was_linked: false, is_drained: false },
        }
        if let Some(next) = next {
            links(next, |links| links.previous = previous);
        }
        list.len -= 1;
        Removed { was_linked: true, is_drained: !list.takes_tasks() && list.len == 0 }
    }

    /// Refuses new tasks from now on, for good.
    pub(crate) fn close(&self) {
        self.list.lock().is_closed = true;
    }

    /// Refuses new tasks until [`resume`](Registry::resume). Only by the owner of the loop.
    pub(crate) fn pause(&self) {
        self.list.lock().is_paused = true;
    }

    /// Takes tasks again, unless the registry was closed.
    pub(crate) fn resume(&self) {
        self.list.lock().is_paused = false;
    }

    /// How many tasks live.
    pub(crate) fn len(&self) -> usize {
        self.list.lock().len
    }

    /// Asks every task that is in the list now to end.
    pub(crate) fn cancel_all(&self, reason: &str) {
        let reason = Cancelled::new(Some(reason));
        for task in self.references() {
            cancel(task, reason.clone());
            // SAFETY: the reference made by `references`.
            unsafe { release(task) };
        }
    }

    /// The tasks that are in the list now, the one spawned last first.
    pub(crate) fn handles(&self) -> Vec<TaskHandle> {
        let adopt = |task| {
            // SAFETY: `references` has made a reference, from which the handle's is made.
            let handle = unsafe { TaskHandle::new(task) };
            // SAFETY: the reference made by `references`.
            unsafe { release(task) };
            handle
        };
        self.references().into_iter().map(adopt).collect()
    }

    /// Aborts every task that is in the list now.
    pub(crate) fn abort_all(&self) {
        for task in self.references() {
            abort(task);
            // SAFETY: the reference made by `references`.
            unsafe { release(task) };
        }
    }

    /// What the first `limit` tasks in the list are called.
    pub(crate) fn describe(&self, limit: usize) -> Vec<String> {
        let mut all = self.references();
        let rest = all.split_off(limit.min(all.len()));
        let describe = |task: &NonNull<Header>| {
            // SAFETY: the reference made by `references`.
            format!("task {}", unsafe { task.as_ref() }.label)
        };
        let mut lines: Vec<String> = all.iter().map(describe).collect();
        if !rest.is_empty() {
            lines.push(format!("and {} tasks more", rest.len()));
        }
        for task in all.into_iter().chain(rest) {
            // SAFETY: the reference made by `references`.
            unsafe { release(task) };
        }
        lines
    }

    /// Name and spawn location of the task at `address`, if it is among the `limit` tasks that were spawned last. The lock is held for the
    /// search, which is for reports only.
    pub(crate) fn find(&self, address: usize, limit: usize) -> Option<(Option<String>, &'static Location<'static>)> {
        let list = self.list.lock();
        let mut next = list.head;
        for _ in 0..limit {
            let task = next?;
            if task.addr().get() == address {
                // SAFETY: the list holds a reference to what is in it, and the lock is held.
                let label = unsafe { &task.as_ref().label };
                return Some((label.name().map(str::to_owned), label.location()));
            }
            links(task, |links| next = links.next);
        }
        None
    }

    /// A new reference to each task in the list.
    fn references(&self) -> Vec<NonNull<Header>> {
        let list = self.list.lock();
        let mut all = Vec::with_capacity(list.len);
        let mut next = list.head;
        while let Some(task) = next {
            // SAFETY: the list holds a reference to what is in it, and the lock is held.
            unsafe { task.as_ref() }.state.retain();
            all.push(task);
            links(task, |links| next = links.next);
        }
        all
    }
}

/// What [`Registry::remove`] found.
#[must_use]
pub(crate) struct Removed {
    /// The task was in the list: its reference is now the caller's.
    pub(crate) was_linked: bool,
    /// The registry is closed or paused, and this was its last task.
    pub(crate) is_drained: bool,
}

/// Gives the links of `task` to `change`. The caller holds the lock of the registry that `task` is or was in.
fn links(task: NonNull<Header>, change: impl FnOnce(&mut super::cell::Links)) {
    // SAFETY: the list, or the caller of `insert` and `remove`, holds a reference.
    let header = unsafe { task.as_ref() };
    header.links.with_mut(|links| {
        // SAFETY: links are touched under the registry's lock only, which the caller holds, and one at a time.
        change(unsafe { &mut *links });
    });
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    #[test]
    fn resuming_does_not_open_what_was_closed_meanwhile() {
        let registry = Registry::new();
        let takes_tasks = || registry.list.lock().takes_tasks();
        registry.pause();
        assert!(!takes_tasks());
        registry.resume();
        assert!(takes_tasks());
        registry.pause();
        registry.close();
        registry.resume();
        assert!(!takes_tasks());
    }
}
