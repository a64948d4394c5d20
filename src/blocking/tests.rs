//! The pool on real threads. Time enters as an argument or as a deadline that has passed; nothing sleeps.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering as Order};
use std::sync::mpsc;
use std::thread::ThreadId;

use super::*;

/// A closure with a name.
struct Named(&'static str, Box<dyn FnOnce(bool) + Send>);

impl Job for Named {
    type Description = &'static str;

    fn run(self) {
        (self.1)(true);
    }

    fn cancel(self) {
        (self.1)(false);
    }

    fn describe(&self) -> &'static str {
        self.0
    }
}

/// A job that gets `true` when it runs and `false` when it is cancelled.
fn named(name: &'static str, f: impl FnOnce(bool) + Send + 'static) -> Named {
    Named(name, Box::new(f))
}

fn pool(config: Config) -> Pool<Named> {
    Pool::new(config)
}

/// Waits until `pool` has `idle` idle threads. Nothing but the pool's own progress ends it.
fn until_idle(pool: &Pool<Named>, idle: usize) {
    while pool.counters().idle != idle {
        std::thread::yield_now();
    }
}

/// Occupies one thread until the sender is dropped; returns when the job runs.
fn occupy(pool: &Pool<Named>, name: &'static str) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (began, begin) = mpsc::channel();
    let job = named(name, move |ran| {
        if ran {
            began.send(()).unwrap();
            let _ = released.recv();
        }
    });
    pool.submit(job).unwrap();
    begin.recv().unwrap();
    release
}

#[test]
fn jobs_that_wait_for_one_another_all_get_threads() {
    const JOBS: usize = 100;
    let pool = pool(Config::new(2));
    let barrier = Arc::new(Barrier::new(JOBS + 1));
    for _ in 0..JOBS {
        let barrier = barrier.clone();
        let job = named("barrier", move |ran| {
            assert!(ran);
            barrier.wait();
        });
        pool.submit(job).unwrap();
    }
    let mut growing = 0;
    while pool.counters().queued > 0 {
        growing += usize::from(pool.grow_if_stalled(Instant::now() + STALL_AFTER * 2));
        std::thread::yield_now();
    }
    barrier.wait();
    assert!(growing <= 12, "98 missing threads are 1 + 2 + 4 + 8 + 16 + 32 + 35: {growing} steps");
    pool.shutdown(None).unwrap();
    assert_eq!(pool.counters().threads, 0);
}

#[test]
fn short_jobs_do_not_start_threads() {
    let pool = pool(Config::new(2));
    let (first, second) = (occupy(&pool, "first"), occupy(&pool, "second"));
    // A rendezvous: no job ends before it is received here, so the pool cannot run ahead of the looks.
    let (done, finished) = mpsc::sync_channel(0);
    for _ in 0..1_000 {
        let done = done.clone();
        pool.submit(named("short", move |_| done.send(()).unwrap())).unwrap();
    }
    drop((first, second));
    for job in 1..=1_000 {
        finished.recv().unwrap();
        // 50 jobs on two threads: between two looks a thread came back at least 48 times.
        if let (0, Some(oldest)) = (job % 50, pool.counters().oldest_queued) {
            assert!(!pool.grow_if_stalled(oldest + STALL_AFTER * 2));
        }
    }
    assert_eq!(pool.counters().threads, 2);
}

#[test]
fn a_job_for_a_thread_whose_keep_alive_ends_is_not_lost() {
    let pool = pool(Config::new(1));
    for _ in 0..500 {
        let (send, ran) = mpsc::channel();
        let bunk = pool.shared.state.lock().idle.first().cloned();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(bunk) = bunk {
                    bunk.post.lock().expire();
                    bunk.bell.notify_one();
                }
            });
            pool.submit(named("short", move |ran| send.send(ran).unwrap())).unwrap();
        });
        assert!(ran.recv().unwrap());
    }
    pool.shutdown(None).unwrap();
}

#[test]
fn a_thread_that_came_back_is_progress_and_a_long_wait_is_not() {
    let mut state = State::<Named>::new();
    state.enqueue(named("first", |_| {}));
    state.enqueue(named("second", |_| {}));
    let since = state.queue[0].since;
    assert_eq!(state.threads_wanted(since + STALL_AFTER), 0, "not yet");
    assert_eq!(state.threads_wanted(since + STALL_AFTER * 2), 1);
    assert_eq!(state.threads_wanted(since + STALL_AFTER * 2), 2);
    state.came_back = true;
    assert_eq!(state.threads_wanted(since + STALL_AFTER * 2), 0, "somebody came back");
    state.came_back = true;
    assert_eq!(state.threads_wanted(since + BEHIND_AFTER * 2), 1, "it is not enough");
    state.arriving = 1;
    assert_eq!(state.threads_wanted(since + BEHIND_AFTER * 2), 0, "a thread is on its way");
}

#[test]
fn the_thread_that_became_idle_last_is_used_again() {
    let pool = pool(Config::new(4));
    let first = occupy(&pool, "first");
    let second = occupy(&pool, "second");
    drop(first);
    until_idle(&pool, 1);
    drop(second);
    until_idle(&pool, 2);
    let ids: Vec<ThreadId> = (0..10)
        .map(|_| {
            let (send, id) = mpsc::channel();
            pool.submit(named("who", move |_| send.send(std::thread::current().id()).unwrap())).unwrap();
            let id = id.recv().unwrap();
            until_idle(&pool, 2);
            id
        })
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let state = pool.shared.state.lock();
    assert_eq!(state.members[&1].thread.thread().id(), ids[0], "the second was the last to become idle");
    assert_eq!(state.members[&1].thread.thread().name(), Some("eddies-blocking-1"));
}

#[test]
fn a_panic_is_reported_and_the_thread_goes_on() {
    let (report, reports) = mpsc::channel();
    let mut config = Config::new(1);
    config.on_panic = Box::new(move |what, payload| {
        report.send((what.to_owned(), *payload.downcast::<&str>().unwrap())).unwrap();
        panic!("the reporter panics too");
    });
    let pool = pool(config);
    pool.submit(named("careless", |_| panic!("oh"))).unwrap();
    let (send, ran) = mpsc::channel();
    pool.submit(named("next", move |ran| send.send(ran).unwrap())).unwrap();
    assert!(ran.recv().unwrap());
    assert_eq!(reports.recv().unwrap(), ("careless".to_owned(), "oh"));
    assert_eq!(pool.counters().threads, 1);
    pool.shutdown(None).unwrap();
}

#[test]
fn a_shutdown_names_what_still_runs_and_can_be_repeated() {
    let mut config = Config::new(1);
    config.threads_max = 1;
    let pool = pool(config);
    let release = occupy(&pool, "stuck at src/main.rs:7");
    let (send, cancelled) = mpsc::channel();
    pool.submit(named("queued", move |ran| send.send(ran).unwrap())).unwrap();
    assert_eq!(pool.shutdown(Some(Instant::now())), Err(vec!["stuck at src/main.rs:7".to_owned()]));
    assert!(!cancelled.recv().unwrap(), "a queued job is cancelled");
    assert!(matches!(pool.submit(named("late", |_| {})), Err(Rejected::Closed(_))));
    drop(release);
    pool.shutdown(None).unwrap();
    pool.shutdown(Some(Instant::now())).unwrap();
    assert_eq!(
        pool.counters(),
        BlockingCounters { threads: 0, idle: 0, queued: 0, oldest_queued: None, spawn_failures: 0 }
    );
}

#[test]
fn a_shutdown_from_inside_waits_for_the_others_alone() {
    let pool = Arc::new(pool(Config::new(2)));
    let (send, results) = mpsc::channel();
    let meet = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let (inside, send, meet) = (pool.clone(), send.clone(), meet.clone());
        let job = named("closes its own pool", move |_| {
            meet.wait();
            send.send(inside.shutdown(None)).unwrap();
        });
        pool.submit(job).unwrap();
    }
    assert_eq!(results.recv().unwrap(), Ok(()));
    assert_eq!(results.recv().unwrap(), Ok(()));
    pool.shutdown(None).unwrap();
    assert_eq!(pool.counters().threads, 0);
}

#[test]
fn a_full_queue_says_so() {
    let (asked, asks) = mpsc::channel();
    let mut config = Config::new(1);
    config.threads_max = 1;
    config.queue_max = Some(1);
    config.on_queue = Box::new(move || asked.send(()).unwrap());
    let pool = pool(config);
    let release = occupy(&pool, "the only thread");
    pool.submit(named("queued", |_| {})).unwrap();
    assert_eq!(asks.try_recv(), Ok(()), "the queue stopped being empty");
    assert!(matches!(pool.submit(named("one too many", |_| {})), Err(Rejected::Full(_))));
    assert!(!pool.needs_attention(), "at the cap no look helps");
    assert_eq!(pool.counters().queued, 1);
    drop(release);
    until_idle(&pool, 1);
    assert_eq!(pool.counters().queued, 0);
}

#[test]
fn idle_threads_leave_after_the_keep_alive() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let (counted, mut config) = (stopped.clone(), Config::new(2));
    config.keep_alive = Duration::from_millis(1);
    config.on_thread_stop = Some(Arc::new(move || {
        // Ordering: publishes nothing, a count.
        counted.fetch_add(1, Order::Relaxed);
    }));
    let pool = pool(config);
    for _ in 0..20 {
        let (send, ran) = mpsc::channel();
        pool.submit(named("short", move |_| send.send(()).unwrap())).unwrap();
        ran.recv().unwrap();
        while pool.counters().threads > 0 {
            std::thread::yield_now();
        }
        assert_eq!(pool.counters().idle, 0);
    }
    pool.shutdown(None).unwrap();
    // Ordering: the threads have been joined.
    assert_eq!(stopped.load(Order::Relaxed), 20);
}

#[test]
fn a_keep_alive_without_end_does_not_overflow() {
    let mut config = Config::new(1);
    config.keep_alive = Duration::MAX;
    let pool = pool(config);
    pool.submit(named("short", |_| {})).unwrap();
    until_idle(&pool, 1);
    pool.shutdown(None).unwrap();
}

#[test]
fn without_any_thread_the_job_comes_back_and_the_next_submit_tries_again() {
    let tries = AtomicUsize::new(0);
    let mut config = Config::new(2);
    let start = config.spawner;
    config.spawner = Box::new(move |plan, body| {
        // Ordering: publishes nothing, a count.
        match tries.fetch_add(1, Order::Relaxed) {
            0 | 2 => Err(io::ErrorKind::WouldBlock.into()),
            _ => start(plan, body),
        }
    });
    let pool = pool(config);
    match pool.submit(named("first", |_| {})) {
        Err(Rejected::NoThread(error, job)) => assert_eq!((error.kind(), job.0), (io::ErrorKind::WouldBlock, "first")),
        other => panic!("{other:?}"),
    }
    let release = occupy(&pool, "second");
    let (send, ran) = mpsc::channel();
    pool.submit(named("third", move |ran| send.send(ran).unwrap())).unwrap();
    assert_eq!(pool.counters().queued, 1, "queued behind the living thread");
    drop(release);
    assert!(ran.recv().unwrap());
    assert_eq!(pool.counters().spawn_failures, 2);
}

#[test]
fn spinning_stops_when_it_does_not_pay_and_is_tried_again() {
    let mut state = State::<Named>::new();
    while state.decide_spin(Some(false)) && state.spin_score > 0 {}
    let tries: Vec<bool> = (0..SPIN_PROBE).map(|_| state.decide_spin(None)).collect();
    assert_eq!(tries.iter().filter(|spin| **spin).count(), 1, "{tries:?}");
    assert!(state.decide_spin(Some(true)), "it paid");
}
