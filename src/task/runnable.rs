//! The right to run a task once.

#![allow(unsafe_code, reason = "a Runnable is one counted reference to a task's cell")]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::cell::Header;
use super::join::TaskHandle;
use crate::queue::inbox::Node;

/// The single right to poll a task (T1). Whoever runs it polls the task once; dropping it unrun drops the task's future as an abort would.
///
/// One pointer, so that a queue's slot can hold it in one word.
pub(crate) struct Runnable(NonNull<Header>);

/// What came of [`Runnable::run`].
#[must_use]
pub(crate) enum Outcome {
    /// The task waits to be woken.
    Idle,
    /// The task was woken while it ran, by itself or by another thread: it goes to the back of a queue.
    Reschedule(Runnable),
    /// The task is complete.
    Finished,
}

// SAFETY: the constructors of a task (`task::spawn`, `task::spawn_local`) admit only futures that are Send, or a scheduler that keeps the
// Runnable on the thread that the future belongs to.
unsafe impl Send for Runnable {}

impl Runnable {
    /// # Safety
    ///
    /// The caller owns a reference and the only right to run the task (T1), and gives both up.
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Runnable(header)
    }

    /// The pointer, with the reference and the right that it stands for.
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// The pointer, without either.
    pub(super) fn raw(&self) -> NonNull<Header> {
        self.0
    }

    /// The pointer, as one that an inbox links.
    pub(crate) fn into_node(self) -> NonNull<Node> {
        self.into_raw().cast()
    }

    /// # Safety
    ///
    /// `node` came from [`into_node`](Runnable::into_node), and is turned back this once.
    pub(crate) unsafe fn from_node(node: NonNull<Node>) -> Self {
        // The node is the first field of the `repr(C)` header, so the addresses are the same, and the pointer was the header's.
        Runnable(node.cast())
    }

    /// Polls the task once, or drops its future when it was aborted. Never panics.
    #[inline]
    pub(crate) fn run(self) -> Outcome {
        let header = self.into_raw();
        // SAFETY: a Runnable is a reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: this was the task's Runnable, and it is given up.
        unsafe { (vtable.run)(header) }
    }

    /// Identifies the task among the live ones.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// A reference to the task, without the right to run it.
    pub(crate) fn reference(&self) -> TaskHandle {
        // SAFETY: a Runnable is a reference, from which another is made.
        unsafe { TaskHandle::new(self.0) }
    }

    /// Drops the task's future, as an abort does.
    pub(crate) fn cancel(self) {
        // SAFETY: a Runnable is a reference. Whatever the answer, this thread holds the one Runnable, and runs it next.
        let _ = unsafe { self.0.as_ref() }.state.abort();
        let outcome = self.run();
        debug_assert!(matches!(outcome, Outcome::Finished), "an aborted task finishes when it is run");
        // An outcome that holds a Runnable again would come back to this function through its destructor; there is none.
        std::mem::forget(outcome);
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        Runnable(self.0).cancel();
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: a Runnable is a reference.
        let header = unsafe { self.0.as_ref() };
        write!(f, "Runnable({}, {:?})", header.label, header.state.load())
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::task::{Schedule, Spawn, TaskRef};

    /// Ends what is woken.
    #[derive(Clone)]
    struct Nowhere;

    impl Schedule for Nowhere {
        fn schedule(&self, runnable: Runnable) {
            drop(runnable);
        }

        fn release(&self, _: TaskRef) -> bool {
            false
        }
    }

    #[test]
    fn a_runnable_shows_its_task_and_cancels_it_when_it_is_dropped() {
        let spawn = Spawn { name: Some("shown".to_owned()), ..Spawn::at(Location::caller()) };
        let (runnable, task) = crate::task::spawn(async {}, Nowhere, spawn, false);
        let text = format!("{runnable:?}");
        assert!(text.contains("`shown`") && text.contains("scheduled join references=2"), "{text}");
        drop(runnable);
        assert!(task.is_finished());
    }
}
