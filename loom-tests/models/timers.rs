//! Models of [`Timers`]: fire, cancel, poll, steal, settle and close against one another, and the news of an earlier deadline.
//!
//! Time is a tick that each model passes in. What the lock protects, these models can only confirm; what they are for is `next`, which
//! is read without it.

use std::sync::atomic::{AtomicUsize as StdAtomicUsize, Ordering as StdOrdering};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::{Polled, TimerKey, Timers};
use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, check, thread};

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

fn insert(timers: &Timers, deadline: u64, waker: Waker) -> (TimerKey, bool) {
    timers.insert_at(0, deadline, waker).expect("nobody has closed them")
}

/// Fires what is due at `now`, and wakes outside the lock, as a loop does.
fn fire(timers: &Timers, now: u64) {
    let mut wakers = Vec::new();
    timers.fire_due_at(now, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

/// 2 threads: the owner fires, a sleep is dropped on another worker. Woken once when the cancel came too late, else never; and a
/// neighbour that is due at the same tick is not lost. Bound 3.
#[test]
fn fire_vs_cancel_wakes_once_or_never() {
    check("timers_fire_vs_cancel", 3, 4, || {
        let timers = timers();
        let ((count, waker), (other_count, other_waker)) = (Count::new(), Count::new());
        let (key, _) = insert(&timers, 10, waker);
        insert(&timers, 10, other_waker);
        let dropper = thread::spawn({
            let timers = timers.clone();
            move || timers.cancel(key).is_some()
        });
        fire(&timers, 10);
        let was_cancelled = dropper.join().unwrap();
        assert_eq!(count.get(), usize::from(!was_cancelled));
        assert_eq!(other_count.get(), 1);
        assert_eq!(timers.next_tick(), None);
    });
}

/// 2 threads: the owner fires while the sleep is polled with another waker. Whoever was promised a wake-up gets exactly one. Bound 3.
#[test]
fn fire_vs_poll_wakes_the_waker_that_was_promised() {
    check("timers_fire_vs_poll", 3, 4, || {
        let timers = timers();
        let ((old_count, old), (new_count, new)) = (Count::new(), Count::new());
        let (key, _) = insert(&timers, 10, old);
        let poller = thread::spawn({
            let timers = timers.clone();
            move || timers.poll(key, &new)
        });
        fire(&timers, 10);
        match poller.join().unwrap() {
            Polled::Waiting => assert_eq!((old_count.get(), new_count.get()), (0, 1)),
            Polled::Fired => assert_eq!((old_count.get(), new_count.get()), (1, 0)),
            Polled::Closed | Polled::Unsettled => panic!("nobody has closed them, or kept it back"),
        }
    });
}

/// 3 threads: the owner fires, a thief tries to, the sleep is dropped. Together they take every timer out once. Bound 2.
#[test]
fn owner_and_thief_and_drop_share_out_each_timer_once() {
    check("timers_owner_thief_drop", 2, 76, || {
        let timers = timers();
        let ((count, waker), (other_count, other_waker)) = (Count::new(), Count::new());
        let (key, _) = insert(&timers, 10, waker);
        insert(&timers, 11, other_waker);
        let thief = thread::spawn({
            let timers = timers.clone();
            move || {
                let mut wakers = Vec::new();
                timers.try_fire_due_at(11, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            }
        });
        let dropper = thread::spawn({
            let timers = timers.clone();
            move || timers.cancel(key).is_some()
        });
        fire(&timers, 11);
        thief.join().unwrap();
        let was_cancelled = dropper.join().unwrap();
        assert_eq!(count.get(), usize::from(!was_cancelled));
        assert_eq!(other_count.get(), 1);
    });
}

/// 2 threads: the owner is about to sleep until 1000, and another thread inserts 10. The owner reads the new deadline, or the inserter is
/// told that it is the earliest and finds the owner asleep (T4). Bound 3.
#[test]
fn an_earlier_deadline_is_seen_by_the_sleeper_or_nudges_it() {
    check("timers_insert_vs_sleep", 3, 6, || {
        let timers = timers();
        insert(&timers, 1000, Waker::noop().clone());
        let is_asleep = Arc::new(AtomicBool::new(false));
        let inserter = thread::spawn({
            let (timers, is_asleep) = (timers.clone(), is_asleep.clone());
            move || {
                let (_, is_earlier) = insert(&timers, 10, Waker::noop().clone());
                assert!(is_earlier);
                // What a nudge does. Ordering: SeqCst, pairs with the same fence of the sleeper below.
                fence(Ordering::SeqCst);
                // Ordering: Relaxed, ordered by the fence.
                is_asleep.load(Ordering::Relaxed)
            }
        });
        // What falling asleep does. Ordering: Relaxed, ordered by the fence.
        is_asleep.store(true, Ordering::Relaxed);
        // Ordering: SeqCst, pairs with the fence of the nudge above.
        fence(Ordering::SeqCst);
        let sleeps_until = timers.next_tick().expect("1000 waits");
        let was_nudged = inserter.join().unwrap();
        assert!(sleeps_until == 10 || was_nudged, "the owner sleeps until 1000 and nobody tells it");
    });
}

/// 2 threads: the earliest timer is cancelled while an earlier one is inserted. `next` ends as what the wheel says (T3). Bound 3.
#[test]
fn cancel_vs_insert_leaves_the_true_next_deadline() {
    check("timers_cancel_vs_insert", 3, 4, || {
        let timers = timers();
        let (key, _) = insert(&timers, 20, Waker::noop().clone());
        let canceller = thread::spawn({
            let timers = timers.clone();
            move || timers.cancel(key).is_some()
        });
        insert(&timers, 10, Waker::noop().clone());
        assert!(canceller.join().unwrap());
        assert_eq!(timers.next_tick(), Some(10));
    });
}

/// 2 threads: a timer is inserted while the owner fires the only one. The new one stays announced (T3). Bound 3.
#[test]
fn fire_vs_insert_leaves_the_true_next_deadline() {
    check("timers_fire_vs_insert", 3, 4, || {
        let timers = timers();
        insert(&timers, 10, Waker::noop().clone());
        let inserter = thread::spawn({
            let timers = timers.clone();
            move || {
                insert(&timers, 20, Waker::noop().clone());
            }
        });
        fire(&timers, 10);
        inserter.join().unwrap();
        assert_eq!(timers.next_tick(), Some(20));
    });
}

/// 2 threads: the loop closes while a timer is inserted. It is refused or its waker comes back from `close`; none is left behind. Bound 3.
#[test]
fn close_vs_insert_strands_nobody() {
    check("timers_close_vs_insert", 3, 3, || {
        let timers = timers();
        let (count, waker) = Count::new();
        let inserter = thread::spawn({
            let timers = timers.clone();
            move || timers.insert_at(0, 10, waker).map(|(key, _)| key)
        });
        timers.close().into_iter().for_each(Waker::wake);
        let key = inserter.join().unwrap();
        assert_eq!(count.get(), usize::from(key.is_some()));
        if let Some(key) = key {
            assert_eq!(timers.poll(key, Waker::noop()), Polled::Closed);
        }
        assert_eq!(timers.next_tick(), None);
    });
}

/// 2 threads: the owner registers a timer whose key another thread has, and drops it there. It is cancelled or the waker comes back: woken
/// never, and nothing is left in the wheel (F3). The next place is another one. Bound 3.
#[test]
fn settle_vs_cancel_leaves_nothing() {
    check("timers_settle_vs_cancel", 3, 4, || {
        let timers = timers();
        let (count, waker) = Count::new();
        let key = timers.keep().expect("nobody has closed them");
        let dropper = thread::spawn({
            let timers = timers.clone();
            move || timers.cancel(key).is_some()
        });
        let (next, left) = timers.settle_at(0, 10, waker);
        let next = next.expect("nobody has closed them");
        assert_ne!(next, key);
        assert_ne!(dropper.join().unwrap(), left.is_some(), "the waker comes back once");
        drop(left);
        assert_eq!((timers.next_tick(), std::sync::Arc::strong_count(&count)), (None, 1));
        fire(&timers, 10);
        assert_eq!((count.get(), timers.poll(next, Waker::noop())), (0, Polled::Unsettled));
    });
}

/// 2 threads: the owner registers a timer at 10 that another thread moves to 20. It fires once, at 20, under the key that the reset
/// returned (F3). Bound 3.
#[test]
fn settle_vs_reset_keeps_the_new_deadline() {
    check("timers_settle_vs_reset", 3, 3, || {
        let timers = timers();
        let (count, waker) = Count::new();
        let key = timers.keep().expect("nobody has closed them");
        let resetter = thread::spawn({
            let timers = timers.clone();
            move || timers.reset_at(key, 20).expect("it waits").0
        });
        let (_, left) = timers.settle_at(0, 10, waker);
        assert!(left.is_none());
        let key = resetter.join().unwrap();
        assert_eq!(timers.next_tick(), Some(20));
        fire(&timers, 19);
        assert_eq!(count.get(), 0);
        fire(&timers, 20);
        assert_eq!((count.get(), timers.poll(key, Waker::noop())), (1, Polled::Fired));
    });
}

/// 3 threads: the owner registers a timer that another task polls, with its own waker, while a thief fires. That task is woken once, or learns
/// that it has to register for itself, or that the timer has fired; and then the first waker was woken, once. Bound 2.
#[test]
fn settle_vs_poll_and_thief_promises_one_wake_up() {
    check("timers_settle_vs_poll", 2, 70, || {
        let timers = timers();
        let ((old_count, old), (new_count, new)) = (Count::new(), Count::new());
        let key = timers.keep().expect("nobody has closed them");
        let poller = thread::spawn({
            let timers = timers.clone();
            move || {
                let polled = timers.poll(key, &new);
                if polled == Polled::Unsettled {
                    drop(timers.cancel(key));
                }
                polled
            }
        });
        let thief = thread::spawn({
            let timers = timers.clone();
            move || {
                let mut wakers = Vec::new();
                timers.try_fire_due_at(10, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            }
        });
        drop(timers.settle_at(0, 10, old));
        let polled = poller.join().unwrap();
        thief.join().unwrap();
        fire(&timers, 10);
        match polled {
            Polled::Waiting => assert_eq!((old_count.get(), new_count.get()), (0, 1)),
            Polled::Fired => assert_eq!((old_count.get(), new_count.get()), (1, 0)),
            // It may have been registered between the poll and the cancel; then it was dropped, or fired.
            Polled::Unsettled => assert!(old_count.get() <= 1 && new_count.get() == 0),
            Polled::Closed => panic!("nobody has closed them"),
        }
        assert_eq!(timers.next_tick(), None);
    });
}

/// 2 threads: the owner registers a timer while the loop closes. It is woken by the close, or comes back to be woken; and nothing is kept in
/// closed timers. Bound 3.
#[test]
fn settle_vs_close_strands_nobody() {
    check("timers_settle_vs_close", 3, 3, || {
        let timers = timers();
        let (count, waker) = Count::new();
        let key = timers.keep().expect("nobody has closed them");
        let closer = thread::spawn({
            let timers = timers.clone();
            move || timers.close().into_iter().for_each(Waker::wake)
        });
        let (next, left) = timers.settle_at(0, 10, waker);
        if let Some(waker) = left {
            assert_eq!(next, None);
            waker.wake();
        }
        closer.join().unwrap();
        assert_eq!((count.get(), timers.poll(key, Waker::noop())), (1, Polled::Closed));
        timers.unkeep();
        assert_eq!((timers.keep(), timers.next_tick()), (None, None));
    });
}
