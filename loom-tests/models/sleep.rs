//! Models of falling asleep and waking: the idle set, the search token and the park word together, with queues that are counters.
//!
//! A queue is an atomic counter written with no more than release semantics, as weak as the deque is. A reactor is a bell that stays rung, as
//! an eventfd does. What a model shows is that the loop comes to an end: a lost wake-up is a thread that waits for ever, which loom reports as
//! a deadlock; and that each claim is followed by one notice that is heard.

use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};

use super::Sleep;
use crate::loom::atomic::{AtomicUsize, Ordering, fence};
use crate::loom::{Arc, Condvar, Mutex, StartLine, check};
use crate::queue::inbox::Inbox;
use crate::queue::inbox::tests::Parcel;
use crate::queue::locked::LockedQueue;
use crate::scheduler::park::{Notice, Parker, Place};
use crate::scheduler::signals::Signals;

/// A reactor whose only source is its own waker, and events that a model makes.
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
    /// Events of other sources, to be taken by the owner's turn. Written before the ring.
    ready: AtomicUsize,
}

impl Bell {
    fn new() -> Self {
        Bell { is_rung: Mutex::new(false), rung: Condvar::new(), ready: AtomicUsize::new(0) }
    }

    fn ring(&self) {
        *self.is_rung.lock() = true;
        self.rung.notify_one();
    }

    fn turn(&self) {
        let mut is_rung = self.is_rung.lock();
        while !*is_rung {
            is_rung = self.rung.wait(is_rung);
        }
        *is_rung = false;
    }
}

/// One loop, as any thread may use it.
struct Face {
    queue: AtomicUsize,
    yielded: LockedQueue<()>,
    inbox: Inbox<Box<Parcel>>,
    signals: Signals,
    parker: Parker,
    bell: Bell,
}

/// Some loops, each with queues that anybody may push to and take from.
struct Ring {
    sleep: Sleep,
    loops: Vec<Face>,
    /// Claims made and notices heard, outside the model.
    claims: Count,
    heard: Count,
}

/// How a loop of a model behaves.
#[derive(Clone, Copy)]
struct Manner {
    place: Place,
    takes_token: bool,
    /// It takes what yielded, as workers do and spare workers do not.
    takes_yielded: bool,
}

const PLAIN: Manner = Manner { place: Place::Futex, takes_token: false, takes_yielded: true };
const SEARCHING: Manner = Manner { place: Place::Futex, takes_token: true, takes_yielded: true };
const IN_REACTOR: Manner = Manner { place: Place::Reactor, takes_token: false, takes_yielded: true };
const SPARE: Manner = Manner { place: Place::Futex, takes_token: true, takes_yielded: false };

impl Ring {
    fn new(loops: usize) -> Arc<Ring> {
        let face = |_| Face {
            queue: AtomicUsize::new(0),
            yielded: LockedQueue::new(),
            inbox: Inbox::new(),
            signals: Signals::new(),
            parker: Parker::new(),
            bell: Bell::new(),
        };
        let loops_of = (0..loops).map(face).collect();
        Arc::new(Ring { sleep: Sleep::new(loops), loops: loops_of, claims: Count::new(0), heard: Count::new(0) })
    }

    /// W1 to W7: `items` onto the queue of loop `index`, and one decision for all of them.
    fn push(&self, index: usize, items: usize) {
        // Ordering: Release, no stronger than a deque's push.
        self.loops[index].queue.fetch_add(items, Ordering::Release);
        self.publish();
    }

    fn publish(&self) {
        if let Some(claimed) = self.sleep.publish() {
            self.notify(claimed, Notice::Search);
        }
    }

    /// As `LoopShared::notify`.
    fn notify(&self, index: usize, notice: Notice) {
        // Ordering: a count outside the model.
        self.claims.fetch_add(1, Order::Relaxed);
        if self.loops[index].parker.notify(notice) {
            self.loops[index].bell.ring();
        }
    }

    /// As `LoopShared::nudge`.
    fn nudge(&self, index: usize) {
        // Ordering: SeqCst fence, as in `LoopShared::nudge`: pairs with S3.
        fence(Ordering::SeqCst);
        if self.sleep.claim(index) {
            self.notify(index, Notice::Work);
        }
    }

    /// As `Shared::push_from_outside`.
    fn push_from_outside(&self, index: usize) {
        if self.loops[index].inbox.push(Parcel::new(index)) {
            // Ordering: SeqCst fence, as in `Shared::push_from_outside`: pairs with S3.
            fence(Ordering::SeqCst);
            if self.sleep.claim(index) {
                self.notify(index, Notice::Work);
            } else {
                self.publish();
            }
        }
    }

    /// As `Worker::reschedule_last` and `Shared::publish_yielded`, where the loops before `workers` are those of workers.
    fn push_yielded(&self, index: usize, workers: usize) {
        self.loops[index].yielded.push(());
        if let Some(claimed) = self.sleep.publish_before(workers) {
            self.notify(claimed, Notice::Work);
        }
    }

    /// Takes one item from any queue, or all of an inbox.
    fn take(&self, manner: Manner) -> usize {
        for each in &self.loops {
            // Ordering: Acquire, no stronger than a steal.
            let take = each.queue.fetch_update(Ordering::Acquire, Ordering::Relaxed, |items| items.checked_sub(1));
            if take.is_ok() {
                return 1;
            }
            let drained = each.inbox.take_all().inspect(|parcel| _ = parcel.open()).count();
            if drained > 0 {
                return drained;
            }
        }
        usize::from(manner.takes_yielded && self.loops.iter().any(|each| each.yielded.pop().is_some()))
    }

    fn sees_stealable(&self) -> bool {
        // Ordering: Relaxed: ordered by the caller's fence, or not at all.
        self.loops.iter().any(|each| each.queue.load(Ordering::Relaxed) > 0 || !each.inbox.is_empty())
    }

    fn sees_work(&self, manner: Manner) -> bool {
        self.sees_stealable() || manner.takes_yielded && self.loops.iter().any(|each| !each.yielded.is_empty())
    }

    /// A loop: takes `count` items and events and ends. The order of steps is that of `Worker::search_or_sleep` and `Worker::sleep`.
    fn run(&self, index: usize, count: usize, manner: Manner) {
        let mut taken = 0;
        self.run_until(index, manner, |found| {
            taken += found;
            taken >= count
        });
    }

    /// The same, until `is_done` says so, which hears of all that was found.
    fn run_until(&self, index: usize, manner: Manner, mut is_done: impl FnMut(usize) -> bool) {
        let own = &self.loops[index];
        loop {
            // Ordering: Acquire: the reactor's lock does no less.
            let events = own.bell.ready.swap(0, Ordering::Acquire);
            if is_done(events) {
                return;
            }
            let has_token = manner.takes_token && self.sleep.begin_search();
            let found = self.take(manner);
            if has_token {
                self.end_search(found > 0);
            }
            if is_done(found) {
                return;
            }
            if found == 0 && self.sleep_once(index, manner) == Notice::Search {
                let found = self.take(manner);
                self.end_search(found > 0);
                if is_done(found) {
                    return;
                }
            }
        }
    }

    fn sleep_once(&self, index: usize, manner: Manner) -> Notice {
        let own = &self.loops[index];
        self.sleep.announce(index);
        let mut notice = None;
        if !self.sees_work(manner) && own.signals.is_empty() {
            if own.parker.begin(manner.place) {
                match manner.place {
                    Place::Futex => own.parker.wait(None),
                    Place::Reactor => own.bell.turn(),
                }
            }
            notice = own.parker.end();
        }
        if notice.is_none() {
            if self.sleep.retract(index) {
                return Notice::Work;
            }
            notice = Some(own.parker.await_notice());
        }
        // Ordering: a count outside the model.
        self.heard.fetch_add(1, Order::Relaxed);
        notice.unwrap()
    }

    fn end_search(&self, found: bool) {
        self.sleep.end_search();
        if found && self.sees_stealable() {
            self.publish();
        }
    }

    /// When all threads are joined: nobody is left with a claim and no notice, or with a notice and no claim (S-c), and nobody with the token.
    fn assert_settled(&self) {
        // Ordering: counts outside the model.
        assert_eq!(self.claims.load(Order::Relaxed), self.heard.load(Order::Relaxed), "claims and notices");
        assert!(!self.sleep.has_idle(), "an idle bit without a sleeper");
        assert!(self.sleep.begin_search(), "the token was lost");
    }
}

/// 1 publisher, 1 loop that falls asleep: the item is taken (S-a). Bound 3.
#[test]
fn a_push_against_falling_asleep_is_not_lost() {
    check("sleep_publish_vs_sleep", 3, 120, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0, 1));
        line.pass();
        ring.run(0, 1, PLAIN);
        publisher.join().unwrap();
        assert!(!ring.sees_work(PLAIN));
        ring.assert_settled();
    });
}

/// The same with a loop that holds the token while it searches: who publishes meanwhile relies on its last look (S-b). Bound 3.
#[test]
fn a_push_against_a_searcher_is_not_lost() {
    check("sleep_publish_vs_searcher", 3, 380, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0, 1));
        line.pass();
        ring.run(0, 1, SEARCHING);
        publisher.join().unwrap();
        ring.assert_settled();
    });
}

/// The same with a loop that sleeps in its reactor: the notice finds it there, also on its way in or out. Bound 3.
#[test]
fn a_push_against_a_sleeper_in_its_reactor_is_not_lost() {
    check("sleep_reactor", 3, 100, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0, 1));
        line.pass();
        ring.run(0, 1, IN_REACTOR);
        publisher.join().unwrap();
        ring.assert_settled();
    });
}

/// 1 publisher, 1 event, 1 loop that sleeps in its reactor: when the event ends the sleep, the loop takes its bit back or awaits the notice of
/// the claimer that was faster (S5). Bound 3.
#[test]
fn an_event_against_a_claim() {
    check("sleep_reactor_event", 3, 15_000, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let (pushing, firing) = (ring.clone(), ring.clone());
        let publisher = line.spawn(move || pushing.push(0, 1));
        let kernel = line.spawn(move || {
            // Ordering: Release: the bell's lock does no less.
            firing.loops[0].bell.ready.fetch_add(1, Ordering::Release);
            firing.loops[0].bell.ring();
        });
        line.pass();
        ring.run(0, 2, IN_REACTOR);
        publisher.join().unwrap();
        kernel.join().unwrap();
        ring.assert_settled();
    });
}

/// 2 publishers, 1 loop: of two that publish at once one may stop because the other holds the token; that one looks again (W6). Bound 2.
#[test]
fn two_publishers_and_a_sleeper() {
    check("sleep_two_publishers", 2, 2_800, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let ring = ring.clone();
                line.spawn(move || ring.push(0, 1))
            })
            .collect();
        line.pass();
        ring.run(0, 2, PLAIN);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        ring.assert_settled();
    });
}

/// 1 publisher of two items, 2 loops that take one each and end: a searcher that found work passes the search on while there is more
/// (S-b), and every notice is heard (S-c). Bound 2.
#[test]
fn two_sleepers_share_two_items() {
    check("sleep_two_sleepers", 2, 9_900, || {
        let line = StartLine::new();
        let ring = Ring::new(2);
        let other = ring.clone();
        let second = line.spawn(move || other.run(1, 1, SEARCHING));
        let pushing = ring.clone();
        let publisher = line.spawn(move || {
            pushing.push(0, 1);
            pushing.push(0, 1);
        });
        line.pass();
        ring.run(0, 1, SEARCHING);
        publisher.join().unwrap();
        second.join().unwrap();
        assert!(!ring.sees_work(PLAIN));
        ring.assert_settled();
    });
}

/// 1 publisher of a batch of two, with one decision for both, 2 loops that take one each and end: the one that was woken wakes the other.
/// Bound 2.
#[test]
fn a_searcher_that_finds_a_batch_wakes_the_next() {
    check("sleep_batch", 2, 2_100, || {
        let line = StartLine::new();
        let ring = Ring::new(2);
        let other = ring.clone();
        let second = line.spawn(move || other.run(1, 1, PLAIN));
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push(0, 2));
        line.pass();
        ring.run(0, 1, PLAIN);
        publisher.join().unwrap();
        second.join().unwrap();
        ring.assert_settled();
    });
}

/// 1 loop, 1 thread that leaves something for that loop alone and nudges it. Bound 3.
#[test]
fn a_nudge_is_not_lost() {
    check("sleep_nudge", 3, 110, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let nudging = ring.clone();
        let nudger = line.spawn(move || {
            // Ordering: Release, as the push to a pinned inbox.
            nudging.loops[0].queue.fetch_add(1, Ordering::Release);
            nudging.nudge(0);
        });
        line.pass();
        ring.run(0, 1, PLAIN);
        nudger.join().unwrap();
        ring.assert_settled();
    });
}

/// 1 loop, 1 thread that nudges it, 1 that publishes: both would claim it while it takes its bit back; one notice for each claim, and no
/// second one on top (K1). Bound 2.
#[test]
fn a_nudge_and_a_publication_leave_one_notice_each() {
    check("sleep_nudge_vs_publish", 2, 1_700, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let (nudging, pushing) = (ring.clone(), ring.clone());
        let nudger = line.spawn(move || {
            // Ordering: Release, as the push to a pinned inbox.
            nudging.loops[0].queue.fetch_add(1, Ordering::Release);
            nudging.nudge(0);
        });
        let publisher = line.spawn(move || pushing.push(0, 1));
        line.pass();
        ring.run(0, 2, IN_REACTOR);
        nudger.join().unwrap();
        publisher.join().unwrap();
        ring.assert_settled();
    });
}

/// 2 threads that signal one loop with the same bit, each after a write of its own: the loop sees both writes, though one of the two may have
/// found the bit there and nudged nobody (L1). Bound 2.
#[test]
fn a_signal_that_was_there_already_is_not_lost() {
    check("sleep_two_signallers", 2, 2_000, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let news = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let signallers: Vec<_> = (0..2)
            .map(|i| {
                let (ring, news) = (ring.clone(), news.clone());
                line.spawn(move || {
                    // Ordering: Relaxed: the signal is to publish it.
                    news[i].store(1, Ordering::Relaxed);
                    if ring.loops[0].signals.leave(1) {
                        ring.nudge(0);
                    }
                })
            })
            .collect();
        line.pass();
        let mut seen = 0;
        ring.run_until(0, PLAIN, |_| {
            if ring.loops[0].signals.take() != 0 {
                // Ordering: Relaxed: the signal has published it.
                seen = news.iter().map(|each| each.load(Ordering::Relaxed)).sum();
            }
            seen == 2
        });
        for signaller in signallers {
            signaller.join().unwrap();
        }
        ring.assert_settled();
    });
}

/// 2 threads outside the ring that push to the inbox of a loop that falls asleep: the second may find the inbox filled and tells nobody, and
/// its item comes with the first. Bound 2.
#[test]
fn two_pushes_from_outside_are_not_lost() {
    check("sleep_outside", 2, 1_500, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushers: Vec<_> = (0..2)
            .map(|_| {
                let ring = ring.clone();
                line.spawn(move || ring.push_from_outside(0))
            })
            .collect();
        line.pass();
        ring.run(0, 2, PLAIN);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        ring.assert_settled();
    });
}

/// 1 thread outside the ring that pushes to the inbox of a loop that is stuck in a poll, 1 sleeper: the sleeper is told. Bound 3.
#[test]
fn a_push_from_outside_to_a_busy_loop_finds_a_sleeper() {
    check("sleep_outside_busy", 3, 490, || {
        let line = StartLine::new();
        let ring = Ring::new(2);
        let pushing = ring.clone();
        let pusher = line.spawn(move || pushing.push_from_outside(0));
        line.pass();
        ring.run(1, 1, SEARCHING);
        pusher.join().unwrap();
        ring.assert_settled();
    });
}

/// 1 thread that puts a task into a `yielded` queue, 1 worker that falls asleep: the task is taken (S-d). Bound 3.
#[test]
fn what_yielded_against_falling_asleep_is_not_lost() {
    check("sleep_yielded", 3, 110, || {
        let line = StartLine::new();
        let ring = Ring::new(1);
        let pushing = ring.clone();
        let publisher = line.spawn(move || pushing.push_yielded(0, 1));
        line.pass();
        ring.run(0, 1, SEARCHING);
        publisher.join().unwrap();
        assert!(!ring.sees_work(PLAIN));
        ring.assert_settled();
    });
}

/// The same beside a spare worker that searches and may have the token, and leaves the task alone: the worker is told all the same (S-d).
/// Bound 2.
#[test]
fn what_yielded_finds_a_worker_while_a_spare_one_searches() {
    check("sleep_yielded_spare", 2, 500, || {
        let line = StartLine::new();
        let ring = Ring::new(2);
        let (pushing, other) = (ring.clone(), ring.clone());
        let publisher = line.spawn(move || pushing.push_yielded(0, 1));
        let spare = line.spawn(move || {
            let has_token = other.sleep.begin_search();
            let found = other.take(SPARE);
            if has_token {
                other.end_search(found > 0);
            }
            found
        });
        line.pass();
        ring.run(0, 1, SEARCHING);
        publisher.join().unwrap();
        assert_eq!(spare.join().unwrap(), 0);
        ring.assert_settled();
    });
}
