//! Models of the monitor's request for help: the word, and the two ways in which the helper hears of it.
//!
//! The stall that a request is about is a plain write of the monitor's, as weak as what it has seen of a stalled loop.

use super::Rescue;
use crate::loom::atomic::{AtomicUsize, Ordering, fence};
use crate::loom::{Arc, StartLine, check};
use crate::scheduler::park::{Notice, Parker, Place};
use crate::scheduler::signals::Signals;
use crate::scheduler::sleep::Sleep;

/// One helper, loop 0, as others may use it; loops 1 and 2 are stalled.
struct Asked {
    sleep: Sleep,
    parker: Parker,
    signals: Signals,
    rescue: Rescue,
    /// Whether loop 1, and loop 2, was seen to be stalled.
    stalls: [AtomicUsize; 3],
    queue: AtomicUsize,
}

const HELP: u32 = 1;

impl Asked {
    fn new() -> Arc<Asked> {
        Arc::new(Asked {
            sleep: Sleep::new(1),
            parker: Parker::new(),
            signals: Signals::new(),
            rescue: Rescue::new(),
            stalls: std::array::from_fn(|_| AtomicUsize::new(0)),
            queue: AtomicUsize::new(0),
        })
    }

    fn note_stall(&self, stalled: usize) {
        // Ordering: Relaxed: the request is to publish it (G1).
        self.stalls[stalled].store(1, Ordering::Relaxed);
    }

    /// As `Shared::send_rescuer`.
    fn send(&self, stalled: usize) -> bool {
        self.note_stall(stalled);
        if !self.sleep.is_idle(0) || !self.sleep.claim(0) {
            return false;
        }
        self.rescue.ask(stalled);
        assert!(!self.parker.notify(Notice::Work), "it does not sleep in a reactor");
        true
    }

    /// As `Shared::ask_for_help`: the signal, and the nudge that belongs to it.
    fn ask(&self, stalled: usize) {
        self.note_stall(stalled);
        self.rescue.ask(stalled);
        if self.signals.leave(HELP) {
            // Ordering: SeqCst fence, as in `LoopShared::nudge`: pairs with S3.
            fence(Ordering::SeqCst);
            if self.sleep.claim(0) {
                assert!(!self.parker.notify(Notice::Work), "it does not sleep in a reactor");
            }
        }
    }

    fn publish(&self) {
        // Ordering: Release, no stronger than a deque's push.
        self.queue.fetch_add(1, Ordering::Release);
        if self.sleep.publish().is_some() {
            assert!(!self.parker.notify(Notice::Search), "it does not sleep in a reactor");
        }
    }

    /// The helper takes a request, and sees the stall that it is about (G1).
    fn take(&self) -> Option<usize> {
        let stalled = self.rescue.take()?;
        // Ordering: Relaxed: the request has published it.
        assert_eq!(self.stalls[stalled].load(Ordering::Relaxed), 1, "a request without its stall");
        Some(stalled)
    }

    /// One sleep of the helper, as `Worker::sleep`: the request that came with its end.
    fn sleep_once(&self) -> Option<usize> {
        self.sleep.announce(0);
        let mut notice = None;
        // Ordering: Relaxed: ordered by the fence in `announce`.
        if self.signals.is_empty() && self.queue.load(Ordering::Relaxed) == 0 {
            if self.parker.begin(Place::Futex) {
                self.parker.wait(None);
            }
            notice = self.parker.end();
        }
        if notice.is_none() && !self.sleep.retract(0) {
            notice = Some(self.parker.await_notice());
        }
        if notice == Some(Notice::Search) {
            self.sleep.end_search();
        }
        self.take()
    }
}

/// 1 monitor that sends a sleeper, 1 publisher that claims it too, 1 helper that falls asleep: a request that was sent is taken with the
/// notice that belongs to it, and whoever claims, the helper wakes. Bound 2.
#[test]
fn a_sleeper_that_is_sent_finds_its_request() {
    check("rescue_sent", 2, 2_500, || {
        let line = StartLine::new();
        let helper = Asked::new();
        let (monitor, publisher) = (helper.clone(), helper.clone());
        let monitor = line.spawn(move || monitor.send(1));
        let publisher = line.spawn(move || publisher.publish());
        line.pass();
        // The publisher's item ends this in any case.
        let mut taken = 0;
        // Ordering: Acquire, no stronger than a steal.
        while helper.queue.load(Ordering::Acquire) == 0 {
            taken += usize::from(helper.sleep_once().is_some());
        }
        publisher.join().unwrap();
        let was_sent = monitor.join().unwrap();
        taken += usize::from(helper.take().is_some());
        assert_eq!(taken, usize::from(was_sent), "one request, one helper");
    });
}

/// 1 monitor that asks a helper that runs, which is about to fall asleep: it wakes, or does not sleep, and finds the request (G1, L1). Bound 3.
#[test]
fn a_busy_loop_that_is_asked_helps_before_it_sleeps() {
    check("rescue_asked", 3, 140, || {
        let line = StartLine::new();
        let helper = Asked::new();
        let monitor = helper.clone();
        let monitor = line.spawn(move || monitor.ask(1));
        line.pass();
        let mut taken = None;
        while taken.is_none() {
            if helper.signals.take() & HELP != 0 {
                taken = helper.take();
                assert!(taken.is_some(), "the signal came before its request");
                break;
            }
            taken = helper.sleep_once();
        }
        monitor.join().unwrap();
        assert_eq!(taken, Some(1));
    });
}

/// 2 that ask at once, a monitor and a worker that lends its loop: the helper takes the later request, or both, and sees the stall of what it took
/// (G2). Bound 2.
#[test]
fn of_two_requests_the_last_is_taken() {
    check("rescue_two", 2, 840, || {
        let line = StartLine::new();
        let helper = Asked::new();
        let askers: Vec<_> = (1..=2)
            .map(|stalled| {
                let helper = helper.clone();
                line.spawn(move || helper.ask(stalled))
            })
            .collect();
        line.pass();
        let mut taken = 0;
        for _ in 0..2 {
            taken += usize::from(helper.take().is_some());
        }
        for asker in askers {
            asker.join().unwrap();
        }
        taken += usize::from(helper.take().is_some());
        assert!((1..=2).contains(&taken));
        assert!(helper.take().is_none());
    });
}
