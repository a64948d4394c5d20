//! Models of falling asleep and waking: the idle set, the search token and the park word together, with queues that are counters.
//!
//! A queue is an atomic counter written with no more than release semantics, as weak as the deque is. What a model shows is that the loop
//! comes to an end: a lost wake-up is a thread that waits for ever, which loom reports as a deadlock.

use super::Sleep;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, StartLine, check};
use crate::scheduler::park::{Notice, Parker, Place};

/// Some loops, each with a queue that anybody may push to and take from.
struct Ring {
    sleep: Sleep,
    queues: Vec<AtomicUsize>,
    parkers: Vec<Parker>,
}

impl Ring {
    fn new(loops: usize) -> Arc<Ring> {
        Arc::new(Ring {
            sleep: Sleep::new(loops),
            queues: (0..loops).map(|_| AtomicUsize::new(0)).collect(),
            parkers: (0..loops).map(|_| Parker::new()).collect(),
        })
    }

    /// W1 to W7, onto the queue of loop `index`.
    fn push(&self, index: usize) {
        // Ordering: Release, no stronger than a deque's push.
        self.queues[index].fetch_add(1, Ordering::Release);
        self.publish();
    }

    fn publish(&self) {
        if let Some(claimed) = self.sleep.publish() {
            let _ = self.parkers[claimed].notify(Notice::Search);
        }
    }

    /// Takes one item from any queue.
    fn take(&self) -> bool {
        self.queues.iter().any(|queue| {
            // Ordering: Acquire, no stronger than a steal.
            let take = queue.fetch_update(Ordering::Acquire, Ordering::Relaxed, |items| items.checked_sub(1));
            take.is_ok()
        })
    }

    fn sees_work(&self) -> bool {
        // Ordering: Relaxed: ordered by the caller's fence, or not at all.
        self.queues.iter().any(|queue| queue.load(Ordering::Relaxed) > 0)
    }

    /// A loop: takes `count` items and ends. The order of steps is that of `Worker::search_or_sleep` and `Worker::sleep`.
    fn run(&self, index: usize, count: usize, searches_with_token: bool) {
        let mut taken = 0;
        while taken < count {
            let has_token = searches_with_token && self.sleep.begin_search();
            let found = self.take();
            if has_token {
                self.end_search(found);
            }
            if found {
                taken += 1;
                continue;
            }
            self.sleep.announce(index);
            let mut notice = None;
            if !self.sees_work() {
                if self.parkers[index].begin(Place::Futex) {
                    self.parkers[index].wait(None);
                }
                notice = self.parkers[index].end();
            }
            let notice = match notice {
                Some(notice) => notice,
                None if self.sleep.retract(index) => Notice::Work,
                None => self.parkers[index].await_notice(),
            };
            if notice == Notice::Search {
                let found = self.take();
                taken += usize::from(found);
                self.end_search(found);
            }
        }
    }

    fn end_search(&self, found: bool) {
        self.sleep.end_search();
        if found && self.sees_work() {
            self.publish();
        }
    }
}

/// 1 publisher, 1 loop that falls asleep: the item is taken (S-a). Bound 3.
#[test]
fn a_push_against_falling_asleep_is_not_lost() {
    check("sleep_publish_vs_sleep", 3, 100, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0));
        line.pass();
        ring.run(0, 1, false);
        publisher.join().unwrap();
        assert!(!ring.sees_work());
    });
}

/// The same with a loop that holds the token while it searches: who publishes meanwhile relies on its last look (S-b). Bound 3.
#[test]
fn a_push_against_a_searcher_is_not_lost() {
    check("sleep_publish_vs_searcher", 3, 100, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0));
        line.pass();
        ring.run(0, 1, true);
        publisher.join().unwrap();
    });
}

/// 2 publishers, 1 loop: of two that publish at once one may stop because the other holds the token; that one looks again (W6). Bound 2.
#[test]
fn two_publishers_and_a_sleeper() {
    check("sleep_two_publishers", 2, 500, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let ring = ring.clone();
                line.spawn(move || ring.push(0))
            })
            .collect();
        line.pass();
        ring.run(0, 2, false);
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

/// 1 publisher of two items, 2 loops that take one each and end: a searcher that found work passes the search on while there is more
/// (S-b), and every notice is heard (S-c). Bound 2.
#[test]
fn two_sleepers_share_two_items() {
    check("sleep_two_sleepers", 2, 500, || {
        let line = StartLine::new();
        let ring = Ring::new(2);
        let other = ring.clone();
        let second = line.spawn(move || other.run(1, 1, true));
        let pushing = ring.clone();
        let publisher = line.spawn(move || {
            pushing.push(0);
            pushing.push(0);
        });
        line.pass();
        ring.run(0, 1, true);
        publisher.join().unwrap();
        second.join().unwrap();
        assert!(!ring.sees_work());
    });
}

/// 1 loop, 1 thread that leaves something for that loop alone and nudges it, as `LoopShared::nudge` does. Bound 3.
#[test]
fn a_nudge_is_not_lost() {
    check("sleep_nudge", 3, 50, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let nudging = ring.clone();
        let nudger = line.spawn(move || {
            // Ordering: Release, as the push to a pinned inbox.
            nudging.queues[0].fetch_add(1, Ordering::Release);
            // Ordering: SeqCst fence, as in `LoopShared::nudge`: pairs with S3.
            crate::loom::atomic::fence(Ordering::SeqCst);
            if nudging.sleep.claim(0) {
                let _ = nudging.parkers[0].notify(Notice::Work);
            }
        });
        line.pass();
        ring.run(0, 1, false);
        nudger.join().unwrap();
    });
}
