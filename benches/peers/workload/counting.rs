//! The allocator of all benchmarks of this package that count bytes: the system's, or mimalloc, behind a count of the bytes that are asked for and not
//! given back.
//!
//! The count begins when [`Counting::begin`] is called, which only the processes do that measure memory and nothing else: elsewhere an
//! allocation costs one load and one branch more than without this, for all peers alike.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

#[cfg(feature = "mimalloc")]
static BEHIND: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(not(feature = "mimalloc"))]
static BEHIND: std::alloc::System = std::alloc::System;

static IS_ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// To be named as the global allocator.
pub(crate) struct Counting;

impl Counting {
    /// Counts from now on. To be called first thing in `main`.
    pub(crate) fn begin() {
        // Ordering: Relaxed: there is no other thread yet.
        IS_ON.store(true, Ordering::Relaxed);
    }

    /// Bytes asked for and not given back since `begin`.
    pub(crate) fn bytes() -> i64 {
        // Ordering: Relaxed: whoever asks has synchronised with those whose allocations it wants to see.
        BYTES.load(Ordering::Relaxed)
    }

    #[inline]
    fn add(bytes: i64) {
        // Ordering: Relaxed: a count; see `begin` and `bytes`.
        if IS_ON.load(Ordering::Relaxed) {
            // Ordering: Relaxed: the same.
            BYTES.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is handed on as it came to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size() as i64);
        // SAFETY: the caller's promise about `layout` is what `alloc` asks for.
        unsafe { BEHIND.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size() as i64);
        // SAFETY: as in `alloc`.
        unsafe { BEHIND.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::add(-(layout.size() as i64));
        // SAFETY: `pointer` came from `BEHIND` with this layout, because every block does.
        unsafe { BEHIND.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::add(size as i64 - layout.size() as i64);
        // SAFETY: as in `dealloc`; the promise about `size` is the caller's.
        unsafe { BEHIND.realloc(pointer, layout, size) }
    }
}
