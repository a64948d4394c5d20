//! Models of the turn: the owner that sleeps in the kernel, a thief that turns the reactor in its place, registrations that come and go, the
//! wake-up and the deadline. R1 and R3 to R5 of `reactor.rs`, with the kernel of `src/loom/kernel.rs`.
//!
//! A lost event or wake-up shows as a deadlock: whoever waits for it sleeps for ever. The kernel orders nobody's memory, so whoever was woken learns
//! the reason by a read-modify-write, which sees the newest value as the park word's does.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use loom::future::block_on;

use super::super::readiness::Direction;
use super::super::table::INDEX_MASK;
use super::{Interest, Reactor, Registration};
use crate::loom::atomic::{AtomicUsize, Ordering, fence};
use crate::loom::mio::Registry;
use crate::loom::{Arc, StartLine, check};
use crate::scheduler::park::{Notice, Parker, Place};
use crate::scheduler::sleep::Sleep;

/// A descriptor's number.
const FD: i32 = 3;
const OTHER: i32 = 4;

/// Some time, that passes when the model lets it.
const A_WHILE: Option<Duration> = Some(Duration::from_secs(1));

/// A waker that counts. Of std, as loom has nothing to find out about it.
#[derive(Default)]
struct Counted(Count);

impl Wake for Counted {
    fn wake(self: std::sync::Arc<Self>) {
        // Ordering: Relaxed, a count that is read after all threads have been joined.
        self.0.fetch_add(1, Order::Relaxed);
    }
}

impl Counted {
    fn get(&self) -> usize {
        // Ordering: Relaxed, after the joins.
        self.0.load(Order::Relaxed)
    }
}

fn reactor() -> Arc<Reactor> {
    Arc::new(Reactor::new(0))
}

fn kernel(reactor: &Reactor) -> &Registry {
    &reactor.opened.get().expect("something was registered").registry
}

/// A turn of the owner's, and what comes of it: how many events there were.
fn turn(reactor: &Reactor, timeout: Option<Duration>) -> usize {
    let mut wakers = Vec::new();
    let events = reactor.turn(timeout, &mut wakers).expect("this kernel reports no error");
    wakers.into_iter().for_each(Waker::wake);
    events
}

/// A turn of a thief's.
fn steal(reactor: &Reactor) -> usize {
    let mut wakers = Vec::new();
    let events = reactor.try_turn(&mut wakers).unwrap_or(0);
    wakers.into_iter().for_each(Waker::wake);
    events
}

/// Whether something is known to be ready for reading.
fn is_ready(registration: &Registration) -> bool {
    registration.ready_now(Direction::Read).is_some()
}

/// 1 owner that sleeps in its turn, 1 thief, 1 task that waits for a descriptor which becomes ready: whoever takes the event wakes the task, it is
/// taken once, and the owner's sleep ends, by the event or by the wake-up after it (R1, R5). Bound 2.
#[test]
fn owner_and_thief_take_an_event_once() {
    check("turn_owner_vs_thief", 2, 890, || {
        let line = StartLine::new();
        let reactor = reactor();
        let registration = Reactor::register(&reactor, FD).unwrap();
        let (of_owner, of_thief) = (reactor.clone(), reactor.clone());
        let owner = line.spawn(move || turn(&of_owner, None));
        let thief = line.spawn(move || steal(&of_thief));
        line.pass();
        kernel(&reactor).raise(FD, Interest::READABLE);
        block_on(poll_fn(|cx| registration.poll_ready(cx, Direction::Read)));
        reactor.wake();
        assert_eq!(owner.join().unwrap() + thief.join().unwrap(), 1, "one edge");
        drop(registration);
        assert_eq!((reactor.sources(), kernel(&reactor).tokens().len()), (0, 0));
    });
}

/// 1 owner that sleeps until it sees some news, 1 thief that turns its reactor twice, 1 thread that leaves the news and wakes: a wake-up that the
/// kernel gave to the thief ends the owner's next turn (R5). Bound 3.
#[test]
fn a_wake_up_that_a_thief_got_is_owed() {
    check("turn_wake_vs_thief", 3, 1_230, || {
        let line = StartLine::new();
        let reactor = reactor();
        let registration = Reactor::register(&reactor, FD).unwrap();
        let news = Arc::new(AtomicUsize::new(0));
        let (of_thief, of_waker) = (reactor.clone(), (reactor.clone(), news.clone()));
        let thief = line.spawn(move || steal(&of_thief) + steal(&of_thief));
        let waker = line.spawn(move || {
            let (reactor, news) = of_waker;
            // Ordering: Release, pairs with the owner's look.
            news.fetch_add(1, Ordering::Release);
            reactor.wake();
        });
        line.pass();
        // Ordering: Acquire, pairs with the addition above.
        while news.fetch_add(0, Ordering::Acquire) == 0 {
            assert_eq!(turn(&reactor, None), 0);
        }
        assert_eq!(thief.join().unwrap(), 0, "a wake-up is no event");
        waker.join().unwrap();
        drop(registration);
    });
}

/// 1 owner that sleeps for a while, 1 thread that lets the time pass, 1 that wakes it: the sleep ends by one of the two and for nothing else; the
/// deadline that has passed ends the next one too, whatever became of the wake-up. Bound 3.
#[test]
fn a_sleep_ends_by_its_deadline_or_by_a_wake_up() {
    check("turn_wake_vs_deadline", 3, 1_760, || {
        let line = StartLine::new();
        let reactor = reactor();
        let registration = Reactor::register(&reactor, FD).unwrap();
        let reasons = std::sync::Arc::new(Count::new(0));
        let (of_clock, of_waker) = ((reactor.clone(), reasons.clone()), (reactor.clone(), reasons.clone()));
        let clock = line.spawn(move || {
            // Ordering: Relaxed, outside the model.
            of_clock.1.fetch_add(1, Order::Relaxed);
            kernel(&of_clock.0).let_time_pass();
        });
        let waker = line.spawn(move || {
            // Ordering: Relaxed, outside the model.
            of_waker.1.fetch_add(1, Order::Relaxed);
            of_waker.0.wake();
        });
        line.pass();
        assert_eq!(turn(&reactor, A_WHILE), 0);
        // Ordering: Relaxed, outside the model.
        assert_ne!(reasons.load(Order::Relaxed), 0, "it woke for nothing");
        clock.join().unwrap();
        waker.join().unwrap();
        // A wake-up that came after the deadline, and the deadline.
        turn(&reactor, A_WHILE);
        turn(&reactor, A_WHILE);
        drop(registration);
    });
}

/// 1 owner that sleeps for a while with a thief beside it, 1 thread that lets the time pass, 1 that leaves news and wakes: whoever gets the
/// wake-up, and whether the deadline came first, the owner sees the news. Bound 2.
#[test]
fn a_wake_up_beside_a_deadline_and_a_thief_is_heard() {
    check("turn_wake_vs_deadline_vs_thief", 2, 4_180, || {
        let line = StartLine::new();
        let reactor = reactor();
        let registration = Reactor::register(&reactor, FD).unwrap();
        let news = Arc::new(AtomicUsize::new(0));
        let (of_clock, of_thief, of_waker) = (reactor.clone(), reactor.clone(), (reactor.clone(), news.clone()));
        let clock = line.spawn(move || kernel(&of_clock).let_time_pass());
        let thief = line.spawn(move || steal(&of_thief));
        let waker = line.spawn(move || {
            let (reactor, news) = of_waker;
            // Ordering: Release, pairs with the owner's look.
            news.fetch_add(1, Ordering::Release);
            reactor.wake();
        });
        line.pass();
        let mut timeout = A_WHILE;
        // Ordering: Acquire, pairs with the addition above.
        while news.fetch_add(0, Ordering::Acquire) == 0 {
            turn(&reactor, timeout);
            timeout = None;
        }
        clock.join().unwrap();
        thief.join().unwrap();
        waker.join().unwrap();
        drop(registration);
    });
}

/// 1 owner that turns, 1 task that gives its descriptor up and gets another one with the same number, while an event of the first is on its
/// way: the second hears nothing of it, and hears its own event (R3, R4). Who waited for the first is woken once, by either. Bound 4.
#[test]
fn an_event_of_the_last_tenant_reaches_nobody() {
    check("turn_stale_event", 4, 91, || {
        let line = StartLine::new();
        let reactor = reactor();
        let first = Reactor::register(&reactor, FD).unwrap();
        let waiting = std::sync::Arc::new(Counted::default());
        let waker = Waker::from(waiting.clone());
        assert!(first.poll_ready(&mut Context::from_waker(&waker), Direction::Read).is_pending());
        kernel(&reactor).raise(FD, Interest::READABLE);
        let of_owner = reactor.clone();
        let owner = line.spawn(move || turn(&of_owner, Some(Duration::ZERO)));
        line.pass();
        drop(first);
        kernel(&reactor).close(FD);
        let second = Reactor::register(&reactor, FD).unwrap();
        assert!(owner.join().unwrap() <= 1);
        assert_eq!(waiting.get(), 1);
        assert!(!is_ready(&second), "the event was for somebody else");
        kernel(&reactor).raise(FD, Interest::READABLE);
        assert_eq!((turn(&reactor, Some(Duration::ZERO)), is_ready(&second)), (1, true));
    });
}

/// 1 owner that turns, 1 thief that does, 1 task that polls its descriptor, hears of it or gives it up, and gets another with the same number: one
/// edge is delivered once at most, and never to the second. Bound 2.
#[test]
fn owner_and_thief_against_a_task_that_polls_and_leaves() {
    check("turn_owner_thief_deregister", 2, 290, || {
        let line = StartLine::new();
        let reactor = reactor();
        let first = Reactor::register(&reactor, FD).unwrap();
        kernel(&reactor).raise(FD, Interest::READABLE);
        let (of_owner, of_thief) = (reactor.clone(), reactor.clone());
        let owner = line.spawn(move || turn(&of_owner, Some(Duration::ZERO)));
        let thief = line.spawn(move || steal(&of_thief));
        line.pass();
        let waiting = std::sync::Arc::new(Counted::default());
        let waker = Waker::from(waiting.clone());
        let is_pending = first.poll_ready(&mut Context::from_waker(&waker), Direction::Read).is_pending();
        drop(first);
        kernel(&reactor).close(FD);
        let second = Reactor::register(&reactor, FD).unwrap();
        let delivered = owner.join().unwrap() + thief.join().unwrap();
        assert!(delivered <= 1, "one edge");
        assert!(is_pending || delivered == 1, "nobody delivered what the task saw");
        assert_eq!(waiting.get(), usize::from(is_pending), "by the event, or because the registration went");
        assert!(!is_ready(&second), "the event was for somebody else");
        drop(second);
        assert_eq!((reactor.sources(), kernel(&reactor).tokens().len()), (0, 0));
    });
}

/// 1 thread that gives a descriptor up, 1 that registers another: the kernel never knows two tokens of one slot, which R4 is for. Bound 4.
#[test]
fn a_slot_is_free_when_the_kernel_has_forgotten_it() {
    check("turn_deregister_vs_register", 4, 107, || {
        let line = StartLine::new();
        let reactor = reactor();
        let first = Reactor::register(&reactor, FD).unwrap();
        let of_leaver = reactor.clone();
        let leaver = line.spawn(move || {
            drop(first);
            kernel(&of_leaver).close(FD);
        });
        line.pass();
        let second = Reactor::register(&reactor, OTHER).unwrap();
        let slots: Vec<_> = kernel(&reactor).tokens().iter().map(|token| token.0 & INDEX_MASK).collect();
        assert!(!slots.is_empty() && slots.iter().skip(1).all(|slot| *slot != slots[0]), "one slot, two tokens");
        leaver.join().unwrap();
        drop(second);
    });
}

/// 2 threads that register the first descriptors of a loop: the kernel's side is opened once, and both are in it. Bound 3.
#[test]
fn a_reactor_is_opened_once() {
    check("turn_open_once", 3, 102, || {
        let line = StartLine::new();
        let reactor = reactor();
        let of_other = reactor.clone();
        let other = line.spawn(move || Reactor::register(&of_other, OTHER).unwrap());
        line.pass();
        let own = Reactor::register(&reactor, FD).unwrap();
        let other = other.join().unwrap();
        assert_eq!((reactor.sources(), kernel(&reactor).tokens().len()), (2, 2));
        kernel(&reactor).raise(OTHER, Interest::READABLE);
        assert_eq!((turn(&reactor, None), is_ready(&other), is_ready(&own)), (1, true, false));
    });
}

/// A loop whose thread sleeps as a worker's does: on the futex, or in its reactor once that holds something.
struct Seat {
    sleep: Sleep,
    parker: Parker,
    reactor: Arc<Reactor>,
    queue: AtomicUsize,
}

impl Seat {
    fn new() -> Arc<Seat> {
        Arc::new(Seat { sleep: Sleep::new(1), parker: Parker::new(), reactor: reactor(), queue: AtomicUsize::new(0) })
    }

    /// As `LoopShared::notify`.
    fn notify(&self, notice: Notice) {
        if self.parker.notify(notice) {
            self.reactor.wake();
        }
    }

    /// As `LoopShared::nudge`.
    fn nudge(&self) {
        // Ordering: SeqCst fence, as in `LoopShared::nudge`: pairs with S3.
        fence(Ordering::SeqCst);
        if self.sleep.claim(0) {
            self.notify(Notice::Work);
        }
    }

    fn publish(&self) {
        // Ordering: Release, no stronger than a deque's push.
        self.queue.fetch_add(1, Ordering::Release);
        if self.sleep.publish().is_some() {
            self.notify(Notice::Search);
        }
    }

    /// One sleep, as `Worker::sleep`: how many events it served.
    fn sleep_once(&self) -> usize {
        self.sleep.announce(0);
        let (mut notice, mut events) = (None, 0);
        // Ordering: Relaxed: ordered by the fence in `announce`.
        if self.queue.load(Ordering::Relaxed) == 0 {
            let place = if self.reactor.sources() > 0 { Place::Reactor } else { Place::Futex };
            if self.parker.begin(place) {
                match place {
                    Place::Reactor => events += turn(&self.reactor, None),
                    Place::Futex => self.parker.wait(None),
                }
            }
            notice = self.parker.end();
        }
        if notice.is_none() && !self.sleep.retract(0) {
            notice = Some(self.parker.await_notice());
        }
        if notice == Some(Notice::Search) {
            self.sleep.end_search();
        }
        events + turn(&self.reactor, Some(Duration::ZERO))
    }
}

/// 1 loop without descriptors that falls asleep, 1 thread that registers one which is ready: the loop sleeps in its reactor, or is nudged out of the
/// futex, and serves the event. Bound 3.
#[test]
fn the_first_descriptor_of_a_sleeping_loop_is_served() {
    check("turn_register_vs_sleep", 3, 430, || {
        let line = StartLine::new();
        let seat = Seat::new();
        let of_other = seat.clone();
        let other = line.spawn(move || {
            let registration = Reactor::register(&of_other.reactor, FD).unwrap();
            of_other.nudge();
            kernel(&of_other.reactor).raise(FD, Interest::READABLE);
            registration
        });
        line.pass();
        while seat.sleep_once() == 0 {}
        assert!(is_ready(&other.join().unwrap()));
    });
}

/// 1 loop that falls asleep in its reactor, 1 thread that publishes work and claims it, 1 thief that takes the loop for a stalled one and turns its
/// reactor: the loop finds the work (K1, S-c, R5). Bound 3.
#[test]
fn a_loop_asleep_in_its_reactor_hears_its_notice_beside_a_thief() {
    check("turn_notice_vs_thief", 3, 3_490, || {
        let line = StartLine::new();
        let seat = Seat::new();
        let registration = Reactor::register(&seat.reactor, FD).unwrap();
        let (of_publisher, of_thief) = (seat.clone(), seat.clone());
        let publisher = line.spawn(move || of_publisher.publish());
        let thief = line.spawn(move || steal(&of_thief.reactor));
        line.pass();
        // Ordering: Acquire, no stronger than a steal.
        while seat.queue.load(Ordering::Acquire) == 0 {
            seat.sleep_once();
        }
        publisher.join().unwrap();
        assert_eq!(thief.join().unwrap(), 0);
        drop(registration);
    });
}
