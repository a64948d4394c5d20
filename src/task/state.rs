//! The task's state word: one atomic integer, and every edge it can take.
//!
//! ```text
//!   bit 0  RUNNING     the holder of the right to run polls or drops the future now
//!   bit 1  COMPLETE    the future is gone; its output is in the cell until somebody takes it
//!   bit 2  SCHEDULED   a Runnable exists; together with RUNNING: one has to be made when the poll ends; together with COMPLETE: nothing
//!   bit 3  ABORTED     whoever runs the task next drops the future instead of polling it
//!   bit 4  JOIN        the Task handle exists
//!   bit 5  JOIN_WAKER  the join waker's slot is filled and belongs to the side that completes the task; clear: it belongs to the handle
//!   bit 6  CANCEL      a cancellation was asked for at least once: whoever runs the task looks into its extension; never cleared
//!   bit 7  CANCELLED   together with COMPLETE: the output is the error `Cancelled`
//!   8..    references  one each for: the Runnable (or the poll it became), the registry, the Task handle, every Waker, every TaskHandle
//! ```
//!
//! Without COMPLETE, SCHEDULED and RUNNING give the four phases:
//!
//! ```text
//!               (4) wake                     (1) start_poll
//!    ┌──────┐ ───────────► ┌───────────┐ ───────────────────► ┌─────────┐ (3) complete  ┌──────────┐
//!    │ idle │              │ SCHEDULED │                      │ RUNNING │ ────────────► │ COMPLETE │
//!    └──────┘ ◄───┐        └───────────┘ ◄─────────┐          └─────────┘               └──────────┘
//!                 │                                │               │  │ (4) wake              ▲
//!                 │            (2) end_poll: woken │               │  ▼                       │
//!                 │                                │    ┌─────────────────────┐ (3) complete  │
//!                 │                                └─── │ RUNNING + SCHEDULED │ ──────────────┘
//!                 └──── (2) end_poll: not woken ─────── └─────────────────────┘ (from RUNNING alone)
//! ```
//!
//! (5) `abort` sets ABORTED, (12) `cancel` sets CANCEL, and both otherwise act as (4). (6) `drop_join`, (7) `set_join_waker`, (8) `unset_join_waker` and
//! (9) `release_join_waker` move the join waker's slot; (10) `retain` and (11) `release` count references.
//!
//! Invariants, cited by the SAFETY comments of this layer:
//!
//! - **T1** At most one Runnable exists, and while it does, or while the poll it turned into runs, its holder alone touches the future.
//! - **T2** A task completes only through its Runnable, so "not COMPLETE" is stable for whoever holds the Runnable.
//! - **T3** After COMPLETE the output belongs to the handle while JOIN is set, else to the completer.
//! - **T4** The join waker's slot has one owner at a time: the handle while JOIN_WAKER is clear, the completer while it is set. While it is
//!   set and the task is not COMPLETE both may read it, nobody writes.
//! - **T5** The cell lives while a reference is counted; who takes the count to zero frees it, alone.
//! - **T6** A wake happens before the poll that it causes, also when it found the task already SCHEDULED: the edge is always a
//!   read-modify-write with release semantics, never a plain load that decides there is nothing to do.
//!
//! A detached task costs four read-modify-writes in its life: start_poll, complete, release, drop_join.

use std::fmt;

use super::TaskState;
use crate::loom::atomic::AtomicUsize;
use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const RUNNING: usize = 1 << 0;
const COMPLETE: usize = 1 << 1;
const SCHEDULED: usize = 1 << 2;
const ABORTED: usize = 1 << 3;
const JOIN: usize = 1 << 4;
const JOIN_WAKER: usize = 1 << 5;
const CANCEL: usize = 1 << 6;
const CANCELLED: usize = 1 << 7;
const REFERENCE: usize = 1 << 8;

/// Above this many references something leaks them in a loop; the process ends before the count can wrap into the flags.
const REFERENCES_MAX: usize = usize::MAX >> 1;

/// The state word. Any thread reads and writes it, through the edges below only.
pub(super) struct State(AtomicUsize);

/// One value of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(usize);

/// What the holder of the Runnable has to do after [`State::start_poll`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum StartPoll {
    /// Poll the future.
    Poll,
    /// A cancellation was asked for, now or at some earlier time: ask the extension what is to be done.
    AskExtension,
    /// Drop the future; the task was aborted.
    Abort,
}

/// What the poller has to do after [`State::end_poll`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum EndPoll {
    /// Nothing: the poller's reference is released, the task waits for a wake.
    Idle,
    /// Schedule the task again: the poller's reference is the new Runnable's.
    Reschedule,
    /// Drop the future and complete the task; it is still RUNNING.
    Abort,
}

/// What a waker has to do after [`State::wake`] or [`State::abort`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Wake {
    /// Make the Runnable, with a reference of its own, and schedule it.
    Schedule,
    /// Nothing: it is scheduled, will be scheduled by its poller, or is complete.
    Nothing,
}

/// What the dropped handle has to clean up after [`State::drop_join`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct DropJoin {
    /// The output is the handle's to drop.
    pub(super) output: bool,
    /// The join waker's slot is the handle's to empty.
    pub(super) waker: bool,
}

impl Snapshot {
    pub(super) fn is_complete(self) -> bool {
        self.0 & COMPLETE != 0
    }

    pub(super) fn has_join(self) -> bool {
        self.0 & JOIN != 0
    }

    pub(super) fn has_join_waker(self) -> bool {
        self.0 & JOIN_WAKER != 0
    }

    /// A cancellation was asked for at least once.
    pub(super) fn has_cancel(self) -> bool {
        self.0 & CANCEL != 0
    }

    pub(super) fn task_state(self) -> TaskState {
        match (self.0 & COMPLETE != 0, self.0 & CANCELLED != 0, self.0 & RUNNING != 0) {
            (true, true, _) => TaskState::Cancelled,
            (true, false, _) => TaskState::Done,
            (false, _, true) => TaskState::Running,
            (false, _, false) => TaskState::Pending,
        }
    }

    fn references(self) -> usize {
        self.0 / REFERENCE
    }
}

impl State {
    /// A new task: scheduled, with a handle; referenced by the handle, the Runnable and, if `registered`, the registry.
    pub(super) fn new(registered: bool) -> Self {
        let references = if registered { 3 } else { 2 };
        State(AtomicUsize::new(SCHEDULED | JOIN | (references * REFERENCE)))
    }

    /// The word now.
    pub(super) fn load(&self) -> Snapshot {
        // Ordering: Acquire pairs with the AcqRel of `complete`: who sees COMPLETE sees the output. A reader that acts on any other bit
        // does so through one of the read-modify-writes below.
        Snapshot(self.0.load(Acquire))
    }

    /// (1) The Runnable becomes a poll. Only by the Runnable's holder (T1).
    #[inline]
    pub(super) fn start_poll(&self) -> StartPoll {
        // Ordering: Acquire pairs with the release half of `wake` and `abort` (what the waker wrote is visible to the poll, T6) and with the
        // Release of `end_poll` (the last poll's view of the future), whichever thread that ran on. Nothing is published here.
        let before = Snapshot(self.0.fetch_xor(SCHEDULED | RUNNING, Acquire));
        debug_assert!(before.0 & (SCHEDULED | RUNNING | COMPLETE) == SCHEDULED, "not runnable: {before:?}");
        match before.0 & (ABORTED | CANCEL) {
            0 => StartPoll::Poll,
            CANCEL => StartPoll::AskExtension,
            _ => StartPoll::Abort,
        }
    }

    /// (2) The poll answered Pending. Only by the poller. With `is_forsaken` the task must not go idle: a cancellation waits that nobody in
    /// the future has taken, and if nothing else is going to have the future polled, nobody ever will.
    #[inline]
    pub(super) fn end_poll(&self, is_forsaken: bool) -> EndPoll {
        // Ordering: Relaxed: a guess, which the compare-exchange below checks.
        let mut word = self.0.load(Relaxed);
        loop {
            debug_assert!(word & (RUNNING | COMPLETE) == RUNNING, "not running: {:?}", Snapshot(word));
            if word & ABORTED != 0 || is_forsaken && word & SCHEDULED == 0 {
                return EndPoll::Abort;
            }
            let (next, action) = if word & SCHEDULED == 0 {
                (word - RUNNING - REFERENCE, EndPoll::Idle)
            } else {
                (word - RUNNING, EndPoll::Reschedule)
            };
            // Ordering: Release pairs with the Acquire of `start_poll`: the future as this poll left it is visible to the next poller.
            // Relaxed on failure: the new value is again only a guess. The Abort answer needs no Acquire: the future is this thread's.
            match self.0.compare_exchange_weak(word, next, Release, Relaxed) {
                Ok(_) => return action,
                Err(now) => word = now,
            }
        }
    }

    /// (3) The future is gone and the output stored. Only by the poller. Returns the word before: whose the output is, and whether the join
    /// waker is to be woken. The output is the error `Cancelled` if `is_cancelled`.
    #[inline]
    pub(super) fn complete(&self, is_cancelled: bool) -> Snapshot {
        // Ordering: AcqRel. Release pairs with the Acquire of `load`, `set_join_waker` and `drop_join`: the output is visible to whoever sees
        // COMPLETE. Acquire pairs with the Release of `set_join_waker`: the waker in the slot is visible here.
        let before = Snapshot(self.0.fetch_xor(RUNNING | COMPLETE | if is_cancelled { CANCELLED } else { 0 }, AcqRel));
        debug_assert!(before.0 & (RUNNING | COMPLETE | CANCELLED) == RUNNING, "not running: {before:?}");
        before
    }

    /// (4) Somebody has news for the task. Any thread that holds a reference.
    #[inline]
    pub(super) fn wake(&self) -> Wake {
        // Ordering: AcqRel. Release pairs with the Acquire of `start_poll` (T6). Acquire pairs with the Release of `end_poll`, so that the
        // thread which schedules the task, and may drop it, sees the future as the last poll left it.
        Snapshot(self.0.fetch_or(SCHEDULED, AcqRel)).wake_action()
    }

    /// (5) The task is to be dropped at the next chance. Any thread that holds a reference.
    pub(super) fn abort(&self) -> Wake {
        // Ordering: AcqRel, as `wake`.
        Snapshot(self.0.fetch_or(SCHEDULED | ABORTED, AcqRel)).wake_action()
    }

    /// (12) The extension holds a cancellation for the task. Any thread that holds a reference. `None`: the task is complete.
    pub(super) fn cancel(&self) -> Option<Wake> {
        // Ordering: AcqRel, as `wake`: what was written into the extension before is visible to the poll that follows.
        let before = Snapshot(self.0.fetch_or(SCHEDULED | CANCEL, AcqRel));
        if before.is_complete() { None } else { Some(before.wake_action()) }
    }

    /// (6) The handle goes away. Only by the handle; its reference is still counted afterwards.
    pub(super) fn drop_join(&self) -> DropJoin {
        // Ordering: Relaxed: a guess, which the compare-exchange below checks.
        let mut word = self.0.load(Relaxed);
        loop {
            debug_assert!(word & JOIN != 0, "no handle: {:?}", Snapshot(word));
            let complete = word & COMPLETE != 0;
            let next = if complete { word & !JOIN } else { word & !(JOIN | JOIN_WAKER) };
            let action = DropJoin { output: complete, waker: next & JOIN_WAKER == 0 };
            // Ordering: AcqRel. Acquire pairs with the AcqRel of `complete` (the output to be dropped is visible) and of
            // `release_join_waker` (the completer no longer reads the slot). Release pairs with the acquire half of `complete` and
            // `release_join_waker`: the completer that finds JOIN gone frees after everything the handle did.
            match self.0.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) => return action,
                Err(now) => word = now,
            }
        }
    }

    /// (6) and (11) in one step for the common case of a handle dropped right after the spawn, when nothing has happened yet.
    #[inline]
    pub(super) fn drop_join_at_once(&self) -> bool {
        let fresh = SCHEDULED | JOIN | (3 * REFERENCE);
        // Ordering: Release pairs with the acquire half of `complete` and of the last `release`; Relaxed on failure, where `drop_join`
        // looks again.
        self.0.compare_exchange(fresh, fresh - JOIN - REFERENCE, Release, Relaxed).is_ok()
    }

    /// (7) The handle has filled the slot: it now belongs to the completer. `false`: the task is complete and the slot still the handle's.
    pub(super) fn set_join_waker(&self) -> bool {
        // Ordering: Release on success pairs with the Acquire of `complete`: the waker in the slot is visible there. Acquire on failure
        // pairs with the Release of `complete`: the caller goes on to take the output.
        self.update_unless_complete(|word| {
            debug_assert!(word & (JOIN | JOIN_WAKER) == JOIN, "slot not the handle's: {:?}", Snapshot(word));
            word | JOIN_WAKER
        })
    }

    /// (8) The handle takes the slot back to change the waker. `false`: the task is complete, and the slot the completer's.
    pub(super) fn unset_join_waker(&self) -> bool {
        self.update_unless_complete(|word| word & !JOIN_WAKER)
    }

    fn update_unless_complete(&self, change: impl Fn(usize) -> usize) -> bool {
        // Ordering: Acquire: the value may be the last word on it, as it is when COMPLETE is set; see `load`.
        let mut word = self.0.load(Acquire);
        loop {
            if word & COMPLETE != 0 {
                return false;
            }
            // Ordering: Release and Acquire as the two callers say.
            match self.0.compare_exchange_weak(word, change(word), Release, Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// (9) The completer has woken the join waker and gives the slot back. Returns the word before: if JOIN is gone, emptying it is the
    /// completer's duty.
    pub(super) fn release_join_waker(&self) -> Snapshot {
        // Ordering: AcqRel. Release pairs with the Acquire of `drop_join`: this thread's reads of the slot are over. Acquire pairs with the
        // Release of `drop_join`, for the case that the slot has to be emptied here.
        Snapshot(self.0.fetch_and(!JOIN_WAKER, AcqRel))
    }

    /// (10) One more reference. Only by who holds one.
    #[inline]
    pub(super) fn retain(&self) {
        // Ordering: Relaxed: the new reference is made from one that exists, so the cell cannot be freed meanwhile, and nothing is published.
        let before = self.0.fetch_add(REFERENCE, Relaxed);
        if before > REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// (11) `count` references less. `true`: that was the last, the caller frees the cell.
    #[inline]
    #[must_use]
    pub(super) fn release(&self, count: usize) -> bool {
        // Ordering: AcqRel: every release but the last publishes its holder's accesses to the last one, which acquires them all before it
        // frees (T5). As in `Arc`, with the fence folded into the operation.
        let before = Snapshot(self.0.fetch_sub(count * REFERENCE, AcqRel));
        debug_assert!(before.references() >= count, "released more than was held: {before:?}");
        before.references() == count
    }
}

impl Snapshot {
    fn wake_action(self) -> Wake {
        if self.0 & (SCHEDULED | RUNNING | COMPLETE) == 0 { Wake::Schedule } else { Wake::Nothing }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (RUNNING, "running"),
            (COMPLETE, "complete"),
            (SCHEDULED, "scheduled"),
            (ABORTED, "aborted"),
            (CANCEL, "cancel"),
            (CANCELLED, "cancelled"),
            (JOIN, "join"),
            (JOIN_WAKER, "join-waker"),
        ];
        for (bit, name) in names {
            if self.0 & bit != 0 {
                write!(f, "{name} ")?;
            }
        }
        write!(f, "references={}", self.references())
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/references.rs"]
mod models;

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    /// Every word that can occur (with two references), and what each edge makes of it, against the table in the file's head.
    #[test]
    fn every_edge_from_every_valid_word() {
        for flags in 0..REFERENCE {
            let word = flags | (2 * REFERENCE);
            let phase = flags & (RUNNING | SCHEDULED | COMPLETE);
            let at = |word| State(AtomicUsize::new(word));
            let now = |state: &State| state.0.load(Relaxed);

            let state = at(word);
            let expected = if phase == 0 { Wake::Schedule } else { Wake::Nothing };
            assert_eq!(state.wake(), expected, "wake at {:?}", Snapshot(word));
            assert_eq!(now(&state), word | SCHEDULED);

            let state = at(word);
            assert_eq!(state.abort(), expected, "abort at {:?}", Snapshot(word));
            assert_eq!(now(&state), word | SCHEDULED | ABORTED);

            let state = at(word);
            let answer = if flags & COMPLETE == 0 { Some(expected) } else { None };
            assert_eq!(state.cancel(), answer, "cancel at {:?}", Snapshot(word));
            assert_eq!(now(&state), word | SCHEDULED | CANCEL);

            if phase == SCHEDULED {
                let state = at(word);
                let expected = match (flags & ABORTED != 0, flags & CANCEL != 0) {
                    (true, _) => StartPoll::Abort,
                    (false, true) => StartPoll::AskExtension,
                    (false, false) => StartPoll::Poll,
                };
                assert_eq!(state.start_poll(), expected);
                assert_eq!(now(&state), word & !SCHEDULED | RUNNING);
            }
            if phase & (RUNNING | COMPLETE) == RUNNING && flags & CANCELLED == 0 {
                for is_forsaken in [false, true] {
                    let state = at(word);
                    let (expected, left) = match (flags & ABORTED != 0, flags & SCHEDULED != 0) {
                        (true, _) => (EndPoll::Abort, word),
                        (false, true) => (EndPoll::Reschedule, word & !RUNNING),
                        (false, false) if is_forsaken => (EndPoll::Abort, word),
                        (false, false) => (EndPoll::Idle, (word & !RUNNING) - REFERENCE),
                    };
                    assert_eq!(state.end_poll(is_forsaken), expected);
                    assert_eq!(now(&state), left);
                }
                for (is_cancelled, bit) in [(false, 0), (true, CANCELLED)] {
                    let state = at(word);
                    assert_eq!(state.complete(is_cancelled), Snapshot(word));
                    assert_eq!(now(&state), word & !RUNNING | COMPLETE | bit);
                }
            }
            if flags & JOIN != 0 {
                let state = at(word);
                let complete = flags & COMPLETE != 0;
                let waker = !complete || flags & JOIN_WAKER == 0;
                assert_eq!(state.drop_join(), DropJoin { output: complete, waker });
                assert_eq!(now(&state) & JOIN, 0);
                assert_eq!(now(&state) & JOIN_WAKER != 0, !waker);
            }
            if flags & (JOIN | JOIN_WAKER) == JOIN {
                let state = at(word);
                assert_eq!(state.set_join_waker(), flags & COMPLETE == 0);
            }
        }
    }

    #[test]
    fn the_last_reference_is_told() {
        let state = State::new(true);
        state.retain();
        assert!(!state.release(2));
        assert!(!state.release(1));
        assert!(state.release(1));
    }
}
