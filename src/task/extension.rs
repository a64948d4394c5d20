//! What few tasks need, in an allocation of its own: a cancellation that was asked for with the scopes that may catch it, context variables, and
//! which shared futures the task waits for.
//!
//! A task is born without an extension, unless it inherits a context. Whoever first has something to put there makes it: any thread that cancels the
//! task, or the task itself. It lives as long as the cell.
//!
//! - **E1** The pointer changes once, from null to the extension, and the extension is freed with the cell: while somebody holds a reference to the
//!   task, a pointer that was read stays good.

#![allow(unsafe_code, reason = "an owned pointer that is set once, in one word")]

use std::ptr;

use super::cancellation::Cancellation;
use super::context::Context;
use super::waits::Waits;
use crate::loom::Mutex;
use crate::loom::atomic::AtomicPtr;
use crate::loom::atomic::Ordering::{Acquire, Release};

/// The extension of one task. Any thread that holds a reference to the task.
#[derive(Default)]
pub(super) struct Extension {
    pub(super) cancellation: Mutex<Cancellation>,
    /// The task's context: `None` until it has one.
    pub(super) context: Mutex<Option<Context>>,
    /// What it waits for, where that tells.
    pub(super) waits: Mutex<Waits>,
}

/// The place for the extension in a task's header.
pub(super) struct ExtensionSlot(AtomicPtr<Extension>);

impl ExtensionSlot {
    #[inline]
    pub(super) fn new(context: Option<Context>) -> Self {
        let extension = match context {
            None => ptr::null_mut(),
            Some(context) => {
                Box::into_raw(Box::new(Extension { context: Mutex::new(Some(context)), ..Extension::default() }))
            }
        };
        ExtensionSlot(AtomicPtr::new(extension))
    }

    /// The extension, if there is one.
    #[inline]
    pub(super) fn get(&self) -> Option<&Extension> {
        // Ordering: Acquire pairs with the release half of `get_or_make`: the extension is seen as it was made.
        let extension = self.0.load(Acquire);
        // SAFETY: null, or an extension that lives as long as this slot (E1).
        unsafe { extension.as_ref() }
    }

    /// The extension, made now if there is none.
    pub(super) fn get_or_make(&self) -> &Extension {
        if let Some(extension) = self.get() {
            return extension;
        }
        let made = Box::into_raw(Box::<Extension>::default());
        // Ordering: Release on success pairs with the Acquire in `get`: the extension is seen as it was made. Acquire on failure pairs with the
        // Release of the thread that was faster, whose extension is used.
        let extension = match self.0.compare_exchange(ptr::null_mut(), made, Release, Acquire) {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: made above, and shown to nobody.
                drop(unsafe { Box::from_raw(made) });
                other
            }
        };
        // SAFETY: not null, and it lives as long as this slot (E1).
        unsafe { &*extension }
    }
}

impl Drop for ExtensionSlot {
    #[inline]
    fn drop(&mut self) {
        // Ordering: Acquire: whoever made it released its reference to the task before, which orders it too.
        let extension = self.0.load(Acquire);
        if !extension.is_null() {
            // SAFETY: `new` or `get_or_make` leaked this box for this slot, which is dropped once (E1).
            drop(unsafe { Box::from_raw(extension) });
        }
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;
    use crate::loom::thread;

    #[test]
    fn of_several_that_make_it_all_get_the_same() {
        for _ in 0..if cfg!(miri) { 5 } else { 500 } {
            let slot = ExtensionSlot::new(None);
            let start = std::sync::Barrier::new(3);
            let make = || {
                start.wait();
                ptr::from_ref(slot.get_or_make()).addr()
            };
            let made = thread::scope(|scope| {
                [scope.spawn(make), scope.spawn(make), scope.spawn(make)].map(|t| t.join().unwrap())
            });
            assert_eq!(made, [made[0]; 3]);
        }
    }
}
