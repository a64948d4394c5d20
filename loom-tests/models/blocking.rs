//! Models of the blocking pool: the hand-off, the queue, expiry, shutdown and refused threads. Nothing spins here (`spin_limit` zero): the
//! spin looks at hints and takes the bunk's lock before it believes them, so it is only a later arrival at that lock.

use std::sync::atomic::{AtomicUsize as Count, Ordering as Order};

use super::*;
use crate::loom::check;

/// What happened to the jobs of one execution.
struct Tally {
    ran: Count,
    cancelled: Count,
    /// Jobs that ended one way or the other, as the model sees it.
    ended: Mutex<usize>,
    changed: Condvar,
}

impl Tally {
    fn new() -> Arc<Self> {
        let (ran, cancelled) = (Count::new(0), Count::new(0));
        Arc::new(Tally { ran, cancelled, ended: Mutex::new(0), changed: Condvar::new() })
    }

    /// A stranded job makes this a deadlock, which loom reports.
    fn wait_for(&self, jobs: usize) {
        let mut ended = self.ended.lock();
        while *ended < jobs {
            ended = self.changed.wait(ended);
        }
    }

    fn counts(&self) -> (usize, usize) {
        // Ordering: counts outside the model, which runs on one thread of the machine.
        (self.ran.load(Order::Relaxed), self.cancelled.load(Order::Relaxed))
    }

    fn end(&self, count: &Count) {
        // Ordering: as in `counts`.
        count.fetch_add(1, Order::Relaxed);
        *self.ended.lock() += 1;
        self.changed.notify_all();
    }
}

struct Probe(Arc<Tally>);

impl Job for Probe {
    type Description = &'static str;

    fn run(self) {
        self.0.end(&self.0.ran);
    }

    fn cancel(self) {
        self.0.end(&self.0.cancelled);
    }

    fn describe(&self) -> &'static str {
        "probe"
    }
}

fn probe(tally: &Arc<Tally>) -> Probe {
    Probe(tally.clone())
}

fn config(threads_max: usize) -> Config {
    let mut config = Config::new(threads_max);
    config.threads_max = threads_max;
    config.spin_limit = Duration::ZERO;
    config.on_panic = Box::new(|what, _| {
        // The pool would swallow loom's own panic.
        eprintln!("{what} panicked");
        std::process::abort();
    });
    config
}

/// Ends the keep-alive of the thread that has been idle longest, if there is one.
fn expire(pool: &Pool<Probe>) {
    let bunk = pool.shared.state.lock().idle.first().cloned();
    if let Some(bunk) = bunk {
        bunk.post.lock().expire();
        bunk.bell.notify_one();
    }
}

/// What must hold whenever the lock is free.
fn assert_exact(pool: &Pool<Probe>) {
    let state = pool.shared.state.lock();
    assert!(state.queue.is_empty() || state.idle.is_empty(), "B1: a job is queued while a thread is idle");
    assert!(state.queue.is_empty() || state.live > 0, "B1: a job is queued behind no thread");
    assert!(state.idle.len() <= state.live && state.live <= state.members.len(), "B5");
    for (place, bunk) in state.idle.iter().enumerate() {
        assert!(state.members.contains_key(&bunk.id()), "B5: a thread that is gone counts as idle");
        assert!(!state.idle[..place].iter().any(|other| Arc::ptr_eq(other, bunk)), "B5: a thread is idle twice");
    }
}

fn finish(pool: &Pool<Probe>) {
    pool.shutdown(None).expect("no deadline");
    assert_exact(pool);
    let counters = pool.counters();
    assert_eq!((counters.threads, counters.idle, counters.queued), (0, 0, 0));
}

/// 2 submitters x 1 pool thread at the cap; both jobs run (B1). Bound 2.
#[test]
fn a_job_submitted_at_the_cap_is_not_stranded() {
    check("blocking_at_the_cap", 2, 500, || {
        let (pool, tally) = (Arc::new(Pool::new(config(1))), Tally::new());
        let (there, its_tally) = (pool.clone(), tally.clone());
        let submitter = thread::spawn(move || there.submit(probe(&its_tally)).unwrap());
        pool.submit(probe(&tally)).unwrap();
        tally.wait_for(2);
        submitter.join().unwrap();
        finish(&pool);
        assert_eq!(tally.counts(), (2, 0));
    });
}

/// 1 submitter x 1 expiry x 1 or 2 pool threads; a job given to a thread whose keep-alive ends is run (B2). Bound 2.
#[test]
fn a_job_given_to_an_expiring_thread_is_not_lost() {
    check("blocking_expiry", 2, 500, || {
        let (pool, tally) = (Arc::new(Pool::new(config(1))), Tally::new());
        pool.submit(probe(&tally)).unwrap();
        tally.wait_for(1);
        let there = pool.clone();
        let clock = thread::spawn(move || expire(&there));
        pool.submit(probe(&tally)).unwrap();
        tally.wait_for(2);
        clock.join().unwrap();
        finish(&pool);
        assert_eq!(tally.counts(), (2, 0));
    });
}

/// 1 submitter x 1 shutdown x 1 pool thread with a job before; each accepted job is run or cancelled, once (B3). Bound 2.
#[test]
fn a_job_submitted_during_a_shutdown_ends_exactly_once() {
    check("blocking_shutdown", 2, 150, || {
        let (pool, tally) = (Arc::new(Pool::new(config(1))), Tally::new());
        pool.submit(probe(&tally)).unwrap();
        let (there, its_tally) = (pool.clone(), tally.clone());
        let submitter = thread::spawn(move || usize::from(there.submit(probe(&its_tally)).is_ok()));
        finish(&pool);
        let accepted = 1 + submitter.join().unwrap();
        assert_eq!(pool.counters().threads, 0, "a closed pool starts no thread");
        let (ran, cancelled) = tally.counts();
        assert_eq!(ran + cancelled, accepted);
    });
}

/// 2 shutdowns x 1 pool thread; both return, and then no thread is left (B3). Bound 2.
#[test]
fn two_shutdowns_both_end() {
    check("blocking_two_shutdowns", 2, 440, || {
        let (pool, tally) = (Arc::new(Pool::new(config(1))), Tally::new());
        pool.submit(probe(&tally)).unwrap();
        let there = pool.clone();
        let other = thread::spawn(move || finish(&there));
        finish(&pool);
        other.join().unwrap();
        assert_eq!(tally.counts(), (1, 0), "the thread was started for it");
    });
}

/// 2 submitters x 1 pool thread; the system refuses the thread number `refused`: each job runs or comes back (B4).
fn refuse(refused: usize) {
    let (mut config, tries) = (config(2), Count::new(0));
    let start = config.spawner;
    config.spawner = Box::new(move |plan, body| {
        // Ordering: a count outside the model.
        if tries.fetch_add(1, Order::Relaxed) == refused {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            start(plan, body)
        }
    });
    let (pool, tally) = (Arc::new(Pool::new(config)), Tally::new());
    let (there, its_tally) = (pool.clone(), tally.clone());
    let submitter = thread::spawn(move || usize::from(there.submit(probe(&its_tally)).is_ok()));
    let mut accepted = usize::from(pool.submit(probe(&tally)).is_ok());
    assert_exact(&pool);
    accepted += submitter.join().unwrap();
    tally.wait_for(accepted);
    finish(&pool);
    assert_eq!(tally.counts(), (accepted, 0));
    assert_eq!(accepted, if refused == 0 { 1 } else { 2 }, "only a pool without threads gives a job back");
}

/// 2 submitters; the first thread is refused: its job comes back, the other's runs (B4). Bound 2.
#[test]
fn a_job_without_any_thread_comes_back() {
    check("blocking_first_refused", 2, 100, || refuse(0));
}

/// 2 submitters x 1 pool thread; the second thread is refused: both jobs run on the first (B4). Bound 2.
#[test]
fn a_job_whose_thread_was_refused_runs_on_another() {
    check("blocking_second_refused", 2, 430, || refuse(1));
}

/// 1 submitter x 1 expiry x 2 pool threads; whenever the lock is free the idle stack holds living threads, each once (B5). Bound 2.
#[test]
fn the_idle_count_is_exact() {
    check("blocking_idle_count", 2, 43_000, || {
        let (pool, tally) = (Arc::new(Pool::new(config(2))), Tally::new());
        pool.submit(probe(&tally)).unwrap();
        let there = pool.clone();
        let clock = thread::spawn(move || {
            expire(&there);
            assert_exact(&there);
        });
        pool.submit(probe(&tally)).unwrap();
        assert_exact(&pool);
        tally.wait_for(2);
        assert_exact(&pool);
        clock.join().unwrap();
        finish(&pool);
        assert_eq!(tally.counts(), (2, 0));
    });
}
