//! Models of [`Timers`] whose entries are moved, or taken out while their loop ends: what `timers.rs` leaves out.

use std::sync::atomic::{AtomicUsize as StdAtomicUsize, Ordering as StdOrdering};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::{TimerKey, Timers};
use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, StartLine, check};

/// A waker that counts. Of std, as loom has nothing to find out about it.
#[derive(Default)]
struct Count(StdAtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        // Ordering: Relaxed, a count that is read after all threads have been joined.
        self.0.fetch_add(1, StdOrdering::Relaxed);
    }
}

impl Count {
    fn new() -> (std::sync::Arc<Count>, Waker) {
        let count = std::sync::Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        // Ordering: Relaxed, after the joins.
        self.0.load(StdOrdering::Relaxed)
    }
}

fn timers() -> Arc<Timers> {
    Arc::new(Timers::new(Instant::now()))
}

fn insert(timers: &Timers, deadline: u64, waker: Waker) -> TimerKey {
    timers.insert_at(0, deadline, waker).expect("nobody has closed them").0
}

/// Fires what is due at `now`, as the owner does, and wakes outside the lock.
fn fire(timers: &Timers, now: u64) {
    let mut wakers = Vec::new();
    timers.fire_due_at(now, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

/// As [`fire`], as a thief does.
fn steal(timers: &Timers, now: u64) {
    let mut wakers = Vec::new();
    timers.try_fire_due_at(now, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

/// 1 owner that fires, 1 thief that does, 1 thread that moves the timer from 10 to 20: it fires at 10 and the move comes too late, or it fires at 20
/// and not before; once (T1, T2). Bound 2.
#[test]
fn a_timer_moved_while_it_fires_fires_once_and_not_early() {
    check("timers_fire_vs_reset", 2, 190, || {
        let line = StartLine::new();
        let timers = timers();
        let ((count, waker), (neighbour, neighbour_waker)) = (Count::new(), Count::new());
        let key = insert(&timers, 10, waker);
        insert(&timers, 12, neighbour_waker);
        let (of_mover, of_thief) = (timers.clone(), timers.clone());
        let mover = line.spawn(move || of_mover.reset_at(key, 20).is_some());
        let thief = line.spawn(move || steal(&of_thief, 10));
        line.pass();
        fire(&timers, 10);
        let was_moved = mover.join().unwrap();
        thief.join().unwrap();
        assert_eq!(count.get(), usize::from(!was_moved), "early, or never");
        assert_eq!((neighbour.get(), timers.next_tick().is_some_and(|next| next <= 12)), (0, true), "early");
        fire(&timers, 19);
        assert_eq!((count.get(), neighbour.get()), (usize::from(!was_moved), 1), "early");
        assert_eq!(timers.next_tick().is_some(), was_moved);
        fire(&timers, 20);
        assert_eq!((count.get(), timers.next_tick()), (1, None));
    });
}

/// 1 owner about to sleep until 1000, 1 thread that moves that timer to 10: the owner reads the new deadline, or the mover finds it asleep after its
/// fence (T3, T4). Bound 3.
#[test]
fn a_timer_moved_forward_is_seen_by_the_sleeper_or_nudges_it() {
    check("timers_reset_vs_sleep", 3, 19, || {
        let line = StartLine::new();
        let timers = timers();
        let key = insert(&timers, 1000, Waker::noop().clone());
        let is_asleep = Arc::new(AtomicBool::new(false));
        let of_mover = (timers.clone(), is_asleep.clone());
        let mover = line.spawn(move || {
            let (timers, is_asleep) = of_mover;
            assert!(timers.reset_at(key, 10).is_some());
            // What a nudge does. Ordering: SeqCst, pairs with the same fence of the sleeper below.
            fence(Ordering::SeqCst);
            // Ordering: Relaxed, ordered by the fence.
            is_asleep.load(Ordering::Relaxed)
        });
        line.pass();
        // What falling asleep does. Ordering: Relaxed, ordered by the fence.
        is_asleep.store(true, Ordering::Relaxed);
        // Ordering: SeqCst, pairs with the fence of the nudge above.
        fence(Ordering::SeqCst);
        let sleeps_until = timers.next_tick().expect("it waits");
        let was_nudged = mover.join().unwrap();
        assert!(sleeps_until <= 10 || was_nudged, "the owner sleeps until {sleeps_until} and nobody tells it");
    });
}

/// 1 loop that closes its timers, 1 thread that drops a sleep, 1 that moves another: each waker goes to one of them, and none is left (T2). Bound 2.
#[test]
fn each_waker_of_a_loop_that_ends_goes_to_one() {
    check("timers_close_vs_cancel_vs_reset", 2, 80, || {
        let line = StartLine::new();
        let timers = timers();
        let ((dropped, dropped_waker), (moved, moved_waker)) = (Count::new(), Count::new());
        let (dropped_key, moved_key) = (insert(&timers, 10, dropped_waker), insert(&timers, 20, moved_waker));
        let (of_dropper, of_mover) = (timers.clone(), timers.clone());
        let dropper = line.spawn(move || of_dropper.cancel(dropped_key).is_some());
        let mover = line.spawn(move || of_mover.reset_at(moved_key, 5).is_some());
        line.pass();
        timers.close().into_iter().for_each(Waker::wake);
        let was_cancelled = dropper.join().unwrap();
        mover.join().unwrap();
        assert_eq!(dropped.get(), usize::from(!was_cancelled));
        assert_eq!(moved.get(), 1, "moved or not, its loop tells it");
        assert_eq!(timers.next_tick(), None);
        fire(&timers, 100);
        assert_eq!(moved.get(), 1);
    });
}

/// 1 loop that closes its timers while 1 thief fires: each waker is woken once (T2). Bound 3.
#[test]
fn close_and_a_thief_share_out_the_timers() {
    check("timers_close_vs_thief", 3, 19, || {
        let line = StartLine::new();
        let timers = timers();
        let ((due, due_waker), (late, late_waker)) = (Count::new(), Count::new());
        insert(&timers, 10, due_waker);
        insert(&timers, 1000, late_waker);
        let of_thief = timers.clone();
        let thief = line.spawn(move || steal(&of_thief, 10));
        line.pass();
        timers.close().into_iter().for_each(Waker::wake);
        thief.join().unwrap();
        assert_eq!((due.get(), late.get(), timers.next_tick()), (1, 1, None));
    });
}
