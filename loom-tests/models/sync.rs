//! Models of the primitives: two or three threads with plain wakers, one of which gives up.
//!
//! Handles are std's `Arc`, which loom does not see and does not have to: what is explored is the order of the critical sections.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};

use loom::future::block_on;

use super::{Barrier, BoundedSemaphore, Condition, Event, Lock, Queue, Semaphore, oneshot};
use crate::loom::{StartLine, check};

/// One poll, and then the future is dropped: a waiter that is cancelled, wherever the others are by then. What it got, if anything.
pub(super) fn poll_and_give_up<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match Pin::as_mut(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Three threads, the lock held at the start: one gives it up, one waits for it, one begins to wait and leaves. The one that waits gets it,
/// nobody is inside with another, and it is free in the end. Bound 3.
#[test]
fn a_lock_reaches_the_waiter_past_one_that_leaves() {
    check("sync_lock_hand_over", 3, 100, || {
        let line = StartLine::new();
        let lock = Arc::new(Lock::new(0));
        let guard = lock.clone().try_lock_owned().unwrap();
        let theirs = lock.clone();
        let leaver = line.spawn(move || poll_and_give_up(theirs.lock()).map(|mut guard| *guard += 1).is_some());
        let released = line.spawn(move || drop(guard));
        line.pass();
        *block_on(lock.lock()) += 1;
        released.join().unwrap();
        let both = leaver.join().unwrap();
        assert_eq!(*lock.try_lock().expect("it is free in the end"), 1 + i32::from(both));
    });
}

/// Three threads: two permits come one by one, one waiter wants both, one wants one and leaves. The first gets them, and in the end there
/// are as many as were added. Bound 3.
#[test]
fn permits_are_conserved_when_a_waiter_leaves() {
    check("sync_semaphore_conserves", 3, 100, || {
        let line = StartLine::new();
        let semaphore = Arc::new(Semaphore::new(0));
        let (giver, leaver) = (semaphore.clone(), semaphore.clone());
        let gives = line.spawn(move || {
            giver.add_permits(1);
            giver.add_permits(1);
        });
        let leaves = line.spawn(move || drop(poll_and_give_up(leaver.acquire())));
        line.pass();
        assert_eq!(block_on(semaphore.acquire_many(2)).count(), 2);
        gives.join().unwrap();
        leaves.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
    });
}

/// Three threads, one permit that was forgotten: two release it, one acquires it. One release succeeds, the permit comes, and there is one in
/// the end. Bound 3.
#[test]
fn a_bounded_semaphore_has_no_more_than_it_began_with() {
    check("sync_bounded_semaphore", 3, 2_100, || {
        let line = StartLine::new();
        let semaphore = Arc::new(BoundedSemaphore::new(1));
        semaphore.try_acquire().unwrap().forget();
        let releasers = [(); 2].map(|()| {
            let theirs = semaphore.clone();
            line.spawn(move || theirs.release().is_ok())
        });
        line.pass();
        drop(block_on(semaphore.acquire()));
        let released = releasers.map(|releaser| releaser.join().unwrap());
        assert_ne!(released[0], released[1], "one permit was away");
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Two threads that meet twice at a barrier for two: nobody passes before both have come, and in each round one is 0 and one is 1. Bound 4.
#[test]
fn two_rounds_of_a_barrier_are_passed_together() {
    check("sync_barrier_rounds", 4, 1_100, || {
        let line = StartLine::new();
        let barrier = Arc::new(Barrier::new(2));
        let arrived = Arc::new(AtomicUsize::new(0));
        let meet = |barrier: Arc<Barrier>, arrived: Arc<AtomicUsize>| {
            move || {
                [2, 4].map(|all| {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    let index = block_on(barrier.wait()).unwrap();
                    assert!(arrived.load(Ordering::Relaxed) >= all, "passed alone");
                    index
                })
            }
        };
        let other = line.spawn(meet(barrier.clone(), arrived.clone()));
        line.pass();
        let (mine, theirs) = (meet(barrier, arrived)(), other.join().unwrap());
        assert_eq!([mine[0] + theirs[0], mine[1] + theirs[1]], [1, 1]);
    });
}

/// Three threads at a barrier for two: one begins to wait and leaves, one waits, and once the first is gone the third waits. Whoever had left
/// before the second came does not count: then the second and the third meet. Bound 3.
#[test]
fn who_left_a_barrier_does_not_count() {
    check("sync_barrier_leaver", 3, 2_100, || {
        let line = StartLine::new();
        let barrier = Arc::new(Barrier::new(2));
        let has_left = Arc::new(AtomicBool::new(false));
        let (leaves, waits) = (barrier.clone(), barrier.clone());
        let (leaving, left) = (has_left.clone(), has_left);
        let leaver = line.spawn(move || {
            let index = poll_and_give_up(leaves.wait());
            leaving.store(true, Ordering::Relaxed);
            index.map(Result::unwrap)
        });
        let waiter = line.spawn(move || {
            let was_left = left.load(Ordering::Relaxed);
            let index = block_on(waits.wait());
            // The third came for nothing if these two have met.
            waits.abort();
            (was_left, index.unwrap())
        });
        line.pass();
        let first = leaver.join().unwrap();
        let third = block_on(barrier.wait()).ok();
        let (was_left, second) = waiter.join().unwrap();
        let met: Vec<usize> = first.into_iter().chain(third).collect();
        assert!(met.len() <= 1, "three passed a barrier for two");
        assert!(met.iter().all(|index| index + second == 1));
        assert!(!was_left || first.is_some() || third.is_some(), "it met somebody who had left");
    });
}

/// Three threads at a barrier for two: two wait, one aborts it. Both pass, or neither. Bound 3.
#[test]
fn an_aborted_barrier_is_passed_by_both_or_by_neither() {
    check("sync_barrier_abort", 3, 2_300, || {
        let line = StartLine::new();
        let barrier = Arc::new(Barrier::new(2));
        let (waits, aborts) = (barrier.clone(), barrier.clone());
        let waiter = line.spawn(move || block_on(waits.wait()).ok());
        let aborter = line.spawn(move || aborts.abort());
        line.pass();
        let mine = block_on(barrier.wait()).ok();
        let theirs = waiter.join().unwrap();
        aborter.join().unwrap();
        assert_eq!(mine.is_some(), theirs.is_some());
        assert!(mine.zip(theirs).is_none_or(|(mine, theirs)| mine + theirs == 1));
        assert!(barrier.is_broken());
    });
}

/// Two threads: one sets and clears, one waits, having been listed before or finding the flag. It is woken unless it came after the clear,
/// and then the next set wakes it. Bound: 5.
#[test]
fn an_event_reaches_who_waited_before_it() {
    check("sync_event_set", 5, 10, || {
        let line = StartLine::new();
        let event = Arc::new(Event::new());
        let theirs = event.clone();
        let setter = line.spawn(move || {
            theirs.set();
            theirs.clear();
            theirs.set();
        });
        line.pass();
        block_on(event.wait());
        setter.join().unwrap();
        assert!(event.is_set());
    });
}

/// Three threads: two wait for a condition, one of them leaves after its first poll; the third changes the value and notifies one. The one
/// that stays is reached. Bound 3.
#[test]
fn a_notice_reaches_the_waiter_past_one_that_leaves() {
    check("sync_condition_notice", 3, 100, || {
        let line = StartLine::new();
        let shared = Arc::new((Lock::new(false), Condition::new()));
        let (notifier, leaver) = (shared.clone(), shared.clone());
        let leaves = line.spawn(move || {
            let (lock, condition) = &*leaver;
            if let Ok(guard) = lock.try_lock() {
                let _ = poll_and_give_up(condition.wait(guard));
            }
        });
        let notifies = line.spawn(move || {
            let (lock, condition) = &*notifier;
            *block_on(lock.lock()) = true;
            condition.notify_one();
        });
        line.pass();
        let (lock, condition) = &*shared;
        let guard = block_on(async { condition.wait_for(lock.lock().await, |is_set| *is_set).await });
        assert!(*guard);
        drop(guard);
        leaves.join().unwrap();
        notifies.join().unwrap();
    });
}

/// Three threads and a queue with room for one: two puts, one getter that leaves after its first poll, one that stays for what is left. No
/// item is lost, and none comes twice. Bound 3.
#[test]
fn no_item_is_lost_with_a_getter_that_leaves() {
    check("sync_queue_items", 3, 100, || {
        let line = StartLine::new();
        let queue = Arc::new(Queue::new(1));
        let (putter, leaver) = (queue.clone(), queue.clone());
        let puts = line.spawn(move || {
            block_on(putter.put(1)).unwrap();
            block_on(putter.put(2)).unwrap();
        });
        let leaves = line.spawn(move || poll_and_give_up(leaver.get()).map(|item| item.unwrap()));
        line.pass();
        let first = block_on(queue.get()).unwrap();
        let got = leaves.join().unwrap();
        let second = got.unwrap_or_else(|| block_on(queue.get()).unwrap());
        puts.join().unwrap();
        assert_eq!(first + second, 3);
        assert!(queue.is_empty() && queue.get_nowait().is_err());
    });
}

/// Counts how often it was dropped.
#[derive(Debug)]
pub(super) struct Probe(pub(super) Arc<AtomicUsize>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two threads: one sends, the other closes, polls once and goes. The send says it succeeded exactly when the value was received, and the
/// value is dropped once. Bound 5.
#[test]
fn a_send_against_a_close_succeeds_exactly_when_received() {
    check("sync_oneshot_close", 5, 5, || {
        let line = StartLine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, mut receiver) = oneshot();
        let probe = Probe(drops.clone());
        let sends = line.spawn(move || sender.send(probe).is_ok());
        line.pass();
        receiver.close();
        let is_received = poll_and_give_up(receiver).expect("after a close it is decided").is_ok();
        assert_eq!(sends.join().unwrap(), is_received);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

/// Two threads: one sends or goes without, one waits. It is woken, and has the value in the first case. Bound 5.
#[test]
fn a_receiver_is_woken_by_a_send_and_by_a_drop() {
    for sends in [true, false] {
        check("sync_oneshot_wake", 5, 5, move || {
            let line = StartLine::new();
            let (sender, receiver) = oneshot();
            let thread = line.spawn(move || {
                if sends {
                    sender.send(7).unwrap();
                }
            });
            line.pass();
            assert_eq!(block_on(receiver).ok(), sends.then_some(7));
            thread.join().unwrap();
        });
    }
}

/// Two threads: the sender waits for the receiver to go, which polls once and goes, or closes. The sender is woken, and cannot send any more. Bound 5.
#[test]
fn a_sender_is_woken_by_a_receiver_that_goes() {
    for closes in [true, false] {
        check("sync_oneshot_closed", 5, 170, move || {
            let line = StartLine::new();
            let (mut sender, mut receiver) = oneshot();
            let goes = line.spawn(move || {
                if closes {
                    receiver.close();
                }
                let polled = poll_and_give_up(receiver);
                assert!(polled.is_none_or(|received| closes && received.is_err()));
            });
            line.pass();
            block_on(sender.closed());
            assert_eq!(sender.send(1), Err(1));
            goes.join().unwrap();
        });
    }
}
