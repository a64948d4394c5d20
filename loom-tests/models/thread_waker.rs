//! Models of a main future's first waker, while its thread gets a seat.

use super::ThreadWaker;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Arc, Condvar, Mutex, StartLine, check};

/// A thread's token: loom's own does not get along with its join.
struct Token(Mutex<bool>, Condvar);

impl Token {
    fn unpark(&self) {
        *self.0.lock() = true;
        self.1.notify_one();
    }

    fn park(&self) {
        let mut is_there = self.0.lock();
        while !*is_there {
            is_there = self.1.wait(is_there);
        }
        *is_there = false;
    }
}

/// The waker, what there is to be seen when it is called, and the loop that it may reach.
struct Bench {
    waker: ThreadWaker<Arc<Token>, ()>,
    token: Arc<Token>,
    news: AtomicBool,
    seat_is_woken: AtomicBool,
}

impl Bench {
    fn new() -> Arc<Bench> {
        let token = Arc::new(Token(Mutex::new(false), Condvar::new()));
        let waker = ThreadWaker::new(token.clone());
        Arc::new(Bench { waker, token, news: AtomicBool::new(false), seat_is_woken: AtomicBool::new(false) })
    }

    fn wake(&self) {
        // Ordering: Relaxed: the wake is to publish it.
        self.news.store(true, Ordering::Relaxed);
        // Ordering: Relaxed: read after a join.
        self.waker.wake(|token| token.unpark(), |()| self.seat_is_woken.store(true, Ordering::Relaxed));
    }

    fn poll(&self) -> bool {
        // Ordering: Relaxed: that it sees what was there before the wake is what the model checks.
        self.news.load(Ordering::Relaxed)
    }
}

/// 1 thread that polls, sits down and polls again, 1 waker: the news is seen by a poll, or the seat is woken (K1). Bound 3.
#[test]
fn a_wake_finds_the_poll_or_the_seat() {
    check("thread_waker_sits", 3, 20, || {
        let line = StartLine::new();
        let bench = Bench::new();
        let other = bench.clone();
        let waking = line.spawn(move || other.wake());
        line.pass();
        let mut has_seen = bench.waker.take() && bench.poll();
        bench.waker.sit(());
        has_seen |= bench.poll();
        waking.join().unwrap();
        // Ordering: Relaxed: after the join.
        assert!(has_seen || bench.seat_is_woken.load(Ordering::Relaxed), "the wake was lost");
    });
}

/// 1 thread that parks without a seat until there is news, 1 waker: it does not sleep through it. Bound 3.
#[test]
fn a_thread_without_a_seat_is_unparked() {
    check("thread_waker_parks", 3, 10, || {
        let line = StartLine::new();
        let bench = Bench::new();
        let other = bench.clone();
        let waking = line.spawn(move || other.wake());
        line.pass();
        loop {
            if bench.waker.take() && bench.poll() {
                break;
            }
            if !bench.waker.is_woken() {
                bench.token.park();
            }
        }
        waking.join().unwrap();
    });
}
