//! The task's `std::task::Waker`: a counted reference to the cell.
//!
//! Any thread clones, wakes and drops it, also after the runtime is gone: once a task is complete a wake touches the state word only.

#![allow(unsafe_code, reason = "a RawWaker is a table of functions over a type-erased pointer")]

#[cfg(all(target_arch = "x86_64", not(miri)))]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::cell::{BorrowedWaker, Header};
use super::state::Wake;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// A waker of the task that does not count as a reference. It must not be dropped (its type sees to that), but can be cloned.
///
/// # Safety
///
/// The caller holds a reference to the task for as long as the waker is used.
pub(super) unsafe fn borrowed_waker(header: NonNull<Header>) -> BorrowedWaker {
    // SAFETY: the functions of `VTABLE` keep the contract of `RawWaker`; the pointer is valid for as long as the caller promises.
    ManuallyDrop::new(unsafe { Waker::new(header.as_ptr().cast_const().cast(), &VTABLE) })
}

/// Whether `waker` is one of the task at `address`, if a task is there.
#[inline]
pub(crate) fn is_waker_of(waker: &Waker, address: usize) -> bool {
    waker.data().addr() == address && std::ptr::eq(waker.vtable(), &VTABLE)
}

/// How much of a task is fetched ahead: the header, and a small future.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINES_AHEAD: usize = 4;

/// Says that the task of `waker` is about to be woken and polled: a processor that can be told to fetches it meanwhile. (Stable Rust can tell only one
/// kind.) Any waker may be given.
#[inline]
pub(crate) fn prefetch(waker: &Waker) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in 0..LINES_AHEAD {
        let address = waker.data().cast::<i8>().wrapping_add(64 * line);
        // SAFETY: a hint, which may name any address: it neither reads nor faults. Every processor of this architecture has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = waker;
}

/// The header behind a waker's data pointer, with the provenance of the whole cell.
fn pointer(waker: *const ()) -> NonNull<Header> {
    // SAFETY: every waker of `VTABLE` is made from a header's pointer, which is not null.
    unsafe { NonNull::new_unchecked(waker.cast_mut().cast()) }
}

/// # Safety
///
/// `waker` is the data of a waker that lives for `'a`.
unsafe fn header<'a>(waker: *const ()) -> &'a Header {
    // SAFETY: a waker is a counted reference to its task, or borrows from one (T5).
    unsafe { pointer(waker).as_ref() }
}

/// # Safety
///
/// `waker` is the data of a live waker of this table.
unsafe fn clone(waker: *const ()) -> RawWaker {
    // SAFETY: the contract of `RawWakerVTable`: the waker lives for the call.
    unsafe { header(waker) }.state.retain();
    RawWaker::new(waker, &VTABLE)
}

/// # Safety
///
/// `waker` is the data of a live waker of this table.
unsafe fn wake_by_ref(waker: *const ()) {
    // SAFETY: the contract of `RawWakerVTable`: the waker lives for the call.
    let header = unsafe { header(waker) };
    if header.state.wake() == Wake::Schedule {
        header.state.retain();
        // SAFETY: the edge went from idle to SCHEDULED, and the reference just made is given to the Runnable.
        unsafe { (header.vtable.schedule)(pointer(waker)) };
    }
}

/// # Safety
///
/// `waker` is the data of a waker of this table that the caller gives up.
unsafe fn wake(waker: *const ()) {
    // SAFETY: the contract of `RawWakerVTable`: the waker is this call's to consume.
    let header = unsafe { header(waker) };
    match header.state.wake() {
        // SAFETY: the edge went from idle to SCHEDULED, and this waker's own reference is given to the Runnable.
        Wake::Schedule => unsafe { (header.vtable.schedule)(pointer(waker)) },
        // SAFETY: this waker's reference is given up.
        Wake::Nothing => unsafe { release(pointer(waker)) },
    }
}

/// # Safety
///
/// `waker` is the data of a waker of this table that the caller gives up.
unsafe fn drop(waker: *const ()) {
    // SAFETY: the contract of `RawWakerVTable`: the waker, a reference, is given up.
    unsafe { release(pointer(waker)) };
}

/// Gives up one reference.
///
/// # Safety
///
/// The caller owns the reference.
pub(super) unsafe fn release(task: NonNull<Header>) {
    // SAFETY: the caller's reference.
    let header = unsafe { task.as_ref() };
    let free = header.vtable.free;
    if header.state.release(1) {
        // SAFETY: that was the last reference (T5); `header` is not used again.
        unsafe { free(task) };
    }
}
