//! The virtual clock through the public API: exact, in order, and never ahead of what may still happen at the present instant.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::{TcpListener, TcpStream};
use eddies::sync::oneshot;
use eddies::testing::wait_all_blocked;
use eddies::time::{MissedTickBehavior, advance, hold_clock, is_virtual};
use eddies::{
    Runtime, VirtualTimeRefused, interval, sleep, sleep_until, spawn, spawn_blocking, spawn_local, timeout, timeout_at,
};
use futures_util::{AsyncReadExt, AsyncWriteExt};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn runtime() -> Runtime {
    Runtime::builder().virtual_time(true).build().unwrap()
}

fn run<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// What happened, and when, counted from the beginning.
#[derive(Clone)]
struct Log {
    begin: Instant,
    lines: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Log {
    fn new() -> Log {
        Log { begin: eddies::now(), lines: Arc::default() }
    }

    fn add(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push((eddies::now() - self.begin, line.into()));
    }

    #[track_caller]
    fn expect(&self, expected: &[(Duration, &str)]) {
        let lines = self.lines.lock().unwrap();
        let lines: Vec<_> = lines.iter().map(|(when, line)| (*when, line.as_str())).collect();
        assert_eq!(lines, expected);
    }
}

// ---- jumping -----------------------------------------------------------------------------------------------------------------------

#[test]
fn an_hour_of_sleeps_takes_no_time() {
    let begin = Instant::now();
    run(async {
        let virtual_begin = eddies::now();
        for second in 1..=3600 {
            sleep(secs(1)).await;
            assert_eq!(eddies::now() - virtual_begin, secs(second));
        }
    });
    assert!(begin.elapsed() < secs(1), "{:?}", begin.elapsed());
}

#[test]
fn a_crowd_of_tasks_sleeps_through_a_day() {
    let begin = Instant::now();
    run(async {
        let virtual_begin = eddies::now();
        let one = |n: u64| async move {
            for step in 1..=24 {
                sleep(HOUR).await;
                assert_eq!(eddies::now() - virtual_begin, HOUR * step, "task {n}");
            }
        };
        let tasks: Vec<_> = (0..100).map(|n| spawn(one(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(eddies::now() - virtual_begin, HOUR * 24);
    });
    assert!(begin.elapsed() < secs(1), "{:?}", begin.elapsed());
}

#[test]
fn the_clock_stands_still_while_anything_runs() {
    run(async {
        let (begin, real) = (eddies::now(), Instant::now());
        let task = spawn(sleep(ms(1)));
        while real.elapsed() < ms(4) {
            eddies::yield_now().await;
        }
        assert_eq!(eddies::now(), begin);
        assert!(!task.is_finished());
        task.await.unwrap();
        assert_eq!(eddies::now() - begin, ms(1));
    });
}

#[test]
fn every_nanosecond_counts() {
    run(async {
        let begin = eddies::now();
        for nanos in [1, 999, 1_000_001, 1_500_000, 64, 4096] {
            let before = eddies::now();
            sleep(Duration::from_nanos(nanos)).await;
            assert_eq!(eddies::now() - before, Duration::from_nanos(nanos));
        }
        assert_eq!(eddies::now() - begin, Duration::from_nanos(2_505_161));
    });
}

/// Registers a timer, by polling it once.
async fn begin_to_wait(timer: &mut eddies::time::Sleep) {
    assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut *timer).poll(cx).is_pending())).await);
}

#[test]
fn a_dropped_timer_leaves_no_trace_in_time() {
    run(async {
        let begin = eddies::now();
        // The two lie side by side in the wheel, which remembers the earlier one when it is gone.
        let (mut never, mut cancelled) = (sleep(Duration::MAX), sleep(YEAR * 580));
        begin_to_wait(&mut never).await;
        begin_to_wait(&mut cancelled).await;
        drop(cancelled);
        let (send, receive) = oneshot();
        let outside = thread::spawn(move || {
            thread::sleep(ms(3));
            send.send(())
        });
        receive.await.unwrap();
        outside.join().unwrap().unwrap();
        assert_eq!(eddies::now(), begin);
    });
}

#[test]
fn the_clock_goes_on_between_two_block_ons() {
    let runtime = runtime();
    let begin = runtime.block_on(async { eddies::now() });
    let task = runtime.spawn(async { sleep(HOUR).await });
    runtime.block_on(async { sleep(secs(1)).await });
    assert_eq!(runtime.block_on(async { eddies::now() }) - begin, secs(1));
    runtime.block_on(task).unwrap();
    assert_eq!(runtime.block_on(async { eddies::now() }) - begin, HOUR);
}

// ---- order -------------------------------------------------------------------------------------------------------------------------

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    run(async {
        let log = Log::new();
        let tasks: Vec<_> = [30, 10, 20, 10]
            .into_iter()
            .enumerate()
            .map(|(n, millis)| {
                let log = log.clone();
                spawn(async move {
                    sleep(ms(millis)).await;
                    log.add(format!("{n}"));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        log.expect(&[(ms(10), "1"), (ms(10), "3"), (ms(20), "2"), (ms(30), "0")]);
    });
}

#[test]
fn within_a_millisecond_too_and_local_tasks_too() {
    run(async {
        let log = Log::new();
        let tasks: Vec<_> = [900, 100, 500, 101, 100]
            .into_iter()
            .enumerate()
            .map(|(n, micros)| {
                let log = log.clone();
                spawn_local(async move {
                    sleep(Duration::from_micros(micros)).await;
                    log.add(format!("{n}"));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let us = Duration::from_micros;
        log.expect(&[(us(100), "1"), (us(100), "4"), (us(101), "3"), (us(500), "2"), (us(900), "0")]);
    });
}

#[test]
fn a_thousand_equal_deadlines_fire_in_the_order_of_registration() {
    run(async {
        let deadline = eddies::now() + HOUR;
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..1_000 {
            let order = order.clone();
            tasks.push(spawn_local(async move {
                sleep_until(deadline).await;
                order.borrow_mut().push(n);
            }));
            // From many distances, so that they meet from many levels of the wheel.
            if n % 100 == 99 {
                sleep(secs(300)).await;
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), (0..1_000).collect::<Vec<_>>());
    });
}

// ---- timeouts and intervals --------------------------------------------------------------------------------------------------------

#[test]
fn what_is_done_at_the_very_instant_of_its_timeout_is_done() {
    run(async {
        for duration in [ms(1), secs(1), HOUR] {
            let output = timeout(duration, async {
                sleep(duration).await;
                7
            });
            assert_eq!(output.await, Ok(7));
            let begin = eddies::now();
            assert_eq!(timeout_at(begin + duration, sleep_until(begin + duration)).await, Ok(()));
            assert!(timeout_at(eddies::now() + duration, sleep(duration + Duration::from_nanos(1))).await.is_err());
        }
        // A task that began to wait before its waiter did.
        let task = spawn(async {
            sleep(secs(1)).await;
            7
        });
        wait_all_blocked().await;
        assert_eq!(timeout(secs(1), task).await.map(Result::unwrap), Ok(7));
        let task = spawn_local(async {
            sleep(secs(1)).await;
            7
        });
        wait_all_blocked().await;
        assert_eq!(timeout(secs(1), task).await.map(Result::unwrap), Ok(7));
    });
}

#[test]
fn a_timeout_ends_exactly_on_time() {
    run(async {
        let begin = eddies::now();
        assert!(timeout(HOUR, pending::<()>()).await.is_err());
        assert_eq!(eddies::now() - begin, HOUR);
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        assert_eq!(eddies::now() - begin, HOUR);
    });
}

#[test]
fn an_interval_ticks_exactly() {
    run(async {
        let begin = eddies::now();
        let mut ticks = interval(secs(60));
        for n in 0..60 {
            assert_eq!(ticks.tick().await, begin + secs(60) * n);
            assert_eq!(eddies::now(), begin + secs(60) * n);
        }
        // Too slow by two and a half.
        sleep(secs(210)).await;
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        assert_eq!(eddies::now() - begin, secs(59 * 60 + 210), "late");
        assert_eq!(ticks.tick().await, begin + secs(63 * 60));
        ticks.reset();
        assert_eq!(ticks.tick().await, begin + secs(64 * 60));
        ticks.reset_after(HOUR);
        assert_eq!(ticks.tick().await, begin + secs(64 * 60) + HOUR);
    });
}

#[test]
fn no_deadline_is_too_far_or_too_early() {
    run(async {
        let begin = eddies::now();
        sleep(YEAR * 500).await;
        assert_eq!(eddies::now() - begin, YEAR * 500);
        sleep(Duration::ZERO).await;
        sleep_until(begin).await;
        sleep_until(begin - secs(1)).await;
        assert_eq!(eddies::now() - begin, YEAR * 500);
        assert_eq!(timeout(Duration::MAX, sleep(HOUR)).await, Ok(()));
        assert!(timeout(HOUR, sleep(Duration::MAX)).await.is_err());
        assert!(timeout(HOUR, sleep(YEAR * 1_000)).await.is_err());
        let mut slow = interval(Duration::MAX);
        slow.tick().await;
        assert!(timeout(HOUR, slow.tick()).await.is_err());
        assert_eq!(eddies::now() - begin, YEAR * 500 + HOUR * 4);
    });
}

#[test]
fn the_end_of_time_is_not_reached_by_waiting() {
    run(async {
        let begin = eddies::now();
        let (send, receive) = oneshot();
        let task = spawn(timeout(Duration::MAX, receive));
        wait_all_blocked().await;
        let outside = thread::spawn(move || send.send(7));
        assert_eq!(task.await.unwrap(), Ok(Ok(7)));
        outside.join().unwrap().unwrap();
        assert_eq!(eddies::now(), begin, "it slept on the machine's clock");

        let mut for_ever = sleep(Duration::MAX);
        begin_to_wait(&mut for_ever).await;
        advance(Duration::MAX).await;
        let end = eddies::now();
        assert!(end - begin > YEAR * 584);
        begin_to_wait(&mut for_ever).await;
        advance(HOUR).await;
        assert_eq!(eddies::now(), end);
    });
}

#[test]
fn reset_moves_a_deadline_both_ways() {
    run(async {
        let begin = eddies::now();
        let mut moved = sleep(HOUR);
        begin_to_wait(&mut moved).await;
        moved.reset(begin + secs(5));
        assert!(!moved.is_elapsed());
        (&mut moved).await;
        assert_eq!(eddies::now() - begin, secs(5));
        assert!(moved.is_elapsed());
        moved.reset(begin + HOUR);
        moved.await;
        assert_eq!(eddies::now() - begin, HOUR);
    });
}

// ---- by hand -----------------------------------------------------------------------------------------------------------------------

#[test]
fn advance_fires_what_is_due_in_order_and_no_more() {
    run(async {
        let log = Log::new();
        for seconds in [3, 1, 2, 5] {
            let log = log.clone();
            drop(spawn(async move {
                sleep(secs(seconds)).await;
                log.add(format!("{seconds}"));
                // What follows from it belongs to its own instant.
                sleep(ms(500)).await;
                eddies::yield_now().await;
                log.add(format!("after {seconds}"));
            }));
        }
        advance(secs(3)).await;
        log.add("advanced");
        assert_eq!(eddies::now() - log.begin, secs(3));
        advance(Duration::ZERO).await;
        advance(ms(499)).await;
        log.add("advanced");
        advance(ms(1)).await;
        log.add("advanced");
        log.expect(&[
            (secs(1), "1"),
            (ms(1500), "after 1"),
            (secs(2), "2"),
            (ms(2500), "after 2"),
            (secs(3), "3"),
            (secs(3), "advanced"),
            (ms(3499), "advanced"),
            (ms(3500), "after 3"),
            (ms(3500), "advanced"),
        ]);
    });
}

#[test]
fn a_held_clock_moves_by_hand_alone() {
    run(async {
        let begin = eddies::now();
        let (first, second) = (hold_clock(), hold_clock());
        let task = spawn(sleep(secs(2)));
        let (send, receive) = oneshot();
        let outside = thread::spawn(move || send.send(()));
        receive.await.unwrap();
        outside.join().unwrap().unwrap();
        assert_eq!(eddies::now(), begin);
        advance(secs(1)).await;
        assert_eq!((eddies::now() - begin, task.is_finished()), (secs(1), false));
        drop(first);
        // The other one goes on a thread of its own: that has to wake the loop.
        let release = thread::spawn(move || drop(second));
        task.await.unwrap();
        assert_eq!(eddies::now() - begin, secs(2));
        release.join().unwrap();
    });
}

#[test]
fn two_advances_overlap_and_one_that_is_dropped_goes_no_further() {
    run(async {
        let begin = eddies::now();
        let _hold = hold_clock();
        let far = spawn(advance(secs(10)));
        advance(secs(4)).await;
        assert_eq!(eddies::now() - begin, secs(4), "the longer one waits for who waits for the shorter");
        far.await.unwrap();
        assert_eq!(eddies::now() - begin, secs(10));

        let begin = eddies::now();
        let task = spawn(sleep(secs(1)));
        wait_all_blocked().await;
        {
            let mut dropped = pin!(advance(HOUR));
            assert!(poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_pending())).await);
        }
        wait_all_blocked().await;
        assert_eq!((eddies::now(), task.is_finished()), (begin, false));
    });
}

/// Goes as far as it can in many small steps.
async fn dawdle(log: Log, name: String) {
    for _ in 0..50 {
        eddies::yield_now().await;
    }
    spawn_local(async move { log.add(name) }).await.unwrap();
}

#[test]
fn all_are_blocked_when_nothing_is_left_to_run() {
    // On a real clock too.
    for is_virtual in [true, false] {
        let runtime = Runtime::builder().workers(1).virtual_time(is_virtual).build().unwrap();
        runtime.block_on(async {
            let begin = eddies::now();
            let log = Log::new();
            let _asleep = spawn(sleep(HOUR));
            for n in 0..3 {
                drop(spawn(dawdle(log.clone(), n.to_string())));
            }
            let waiter = spawn(async {
                wait_all_blocked().await;
                wait_all_blocked().await;
            });
            wait_all_blocked().await;
            assert_eq!(log.lines.lock().unwrap().len(), 3);
            waiter.await.unwrap();
            assert!(eddies::now() - begin < HOUR);
            assert!(!is_virtual || eddies::now() == begin);
        });
    }
}

#[test]
fn a_real_clock_cannot_be_moved_and_the_panic_says_what_to_do() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(async { assert!(!is_virtual()) });
    let text = |result: thread::Result<()>| *result.unwrap_err().downcast::<String>().unwrap();
    let line = line!() + 1;
    let moved = text(catch_unwind(AssertUnwindSafe(|| runtime.block_on(advance(HOUR)))));
    assert!(
        moved.contains(&format!("{}:{line}", file!())) && moved.contains("#[eddies::test(virtual_time)]"),
        "{moved}"
    );
    let held = text(catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { drop(hold_clock()) }))));
    assert!(held.contains("Builder::virtual_time(true)"), "{held}");
    let outside = text(catch_unwind(|| drop(hold_clock())));
    assert!(outside.contains("eddies::run"), "{outside}");

    let several = Runtime::builder().workers(2).build().unwrap();
    let blocked = text(catch_unwind(AssertUnwindSafe(|| several.block_on(wait_all_blocked()))));
    assert!(blocked.contains("one worker"), "{blocked}");
    let mut adrift = wait_all_blocked();
    let mut context = std::task::Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| assert!(Pin::new(&mut adrift).poll(&mut context).is_pending())));
    assert!(text(polled).contains("runs no loop"));
}

#[test]
fn virtual_time_needs_one_loop() {
    for builder in [
        Runtime::builder().workers(2).virtual_time(true),
        Runtime::builder().workers(1).spare_workers(1).virtual_time(true),
        Runtime::builder().spare_workers(3).virtual_time(true),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.get_ref().unwrap().is::<VirtualTimeRefused>());
        assert!(error.to_string().contains("one worker and no spare workers"), "{error}");
    }
    assert_eq!(Runtime::builder().virtual_time(true).spare_workers(0).build().unwrap().workers(), 1);
}

// ---- what holds the clock ----------------------------------------------------------------------------------------------------------

#[test]
fn a_blocking_job_holds_the_clock() {
    run(async {
        let begin = eddies::now();
        let (go, wait) = mpsc::channel::<()>();
        let job = spawn_blocking(move || {
            wait.recv().unwrap();
            eddies::now()
        });
        let timed = spawn(timeout(HOUR, job));
        wait_all_blocked().await;
        // Only now can the job end: by then the loop has had nothing to do for a while.
        let outside = thread::spawn(move || {
            thread::sleep(ms(3));
            go.send(()).unwrap();
        });
        let seen = timed.await.unwrap().expect("no timeout").unwrap();
        assert_eq!((seen, eddies::now()), (begin, begin), "the job sees the runtime's clock, which stands");
        outside.join().unwrap();
    });
}

#[test]
fn a_job_that_nobody_waits_for_lets_the_clock_go_when_it_ends() {
    run(async {
        for _ in 0..50 {
            let begin = eddies::now();
            drop(spawn_blocking(|| thread::sleep(Duration::from_micros(200))));
            sleep(HOUR).await;
            assert_eq!(eddies::now() - begin, HOUR);
        }
    });
}

#[test]
fn queued_jobs_hold_the_clock_too() {
    let runtime = Runtime::builder().virtual_time(true).blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let begin = eddies::now();
        let jobs: Vec<_> = (0..20).map(|_| spawn_blocking(|| thread::sleep(Duration::from_micros(100)))).collect();
        for job in jobs {
            timeout(ms(1), job).await.expect("no timeout").unwrap();
        }
        assert_eq!(eddies::now(), begin);
    });
}

#[test]
fn a_wake_from_another_thread_is_waited_for_where_nothing_else_is() {
    run(async {
        let begin = eddies::now();
        let (send, receive) = oneshot();
        let outside = thread::spawn(move || {
            thread::sleep(ms(3));
            send.send(7).unwrap();
        });
        assert_eq!(receive.await, Ok(7));
        assert_eq!(eddies::now(), begin);
        outside.join().unwrap();

        // With a deadline before it the clock does not wait, unless it is told to.
        let (send, receive) = oneshot::<()>();
        assert!(timeout(HOUR, receive).await.is_err());
        assert!(send.send(()).is_err());
        let (send, receive) = oneshot();
        let hold = hold_clock();
        let outside = thread::spawn(move || {
            thread::sleep(ms(3));
            send.send(7).unwrap();
        });
        assert_eq!(timeout(HOUR, receive).await, Ok(Ok(7)));
        assert_eq!(eddies::now() - begin, HOUR);
        drop(hold);
        outside.join().unwrap();
    });
}

#[test]
fn a_timer_set_from_another_thread_moves_a_sleeping_loop() {
    let runtime = runtime();
    let handle = runtime.handle();
    let (send, receive) = oneshot();
    let outside = thread::spawn(move || {
        let begin = eddies::now();
        let slept = handle.spawn(async {
            let begin = eddies::now();
            sleep(HOUR).await;
            eddies::now() - begin
        });
        send.send(slept).unwrap();
        assert!(eddies::now() - begin < HOUR, "this thread is in no runtime");
    });
    assert_eq!(runtime.block_on(async { receive.await.unwrap().await.unwrap() }), HOUR);
    outside.join().unwrap();
}

// ---- sockets -----------------------------------------------------------------------------------------------------------------------

#[test]
fn a_ping_pong_over_loopback_is_faster_than_any_timeout() {
    run(async {
        let begin = eddies::now();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            let (mut stream, _) = timeout(ms(1), listener.accept()).await.expect("no timeout").unwrap();
            let mut byte = [0];
            while timeout(ms(1), stream.read(&mut byte)).await.expect("no timeout").unwrap() > 0 {
                stream.write_all(&byte).await.unwrap();
            }
        });
        let mut stream = timeout(ms(1), TcpStream::connect(address)).await.expect("no timeout").unwrap();
        for round in 0..200_u8 {
            stream.write_all(&[round]).await.unwrap();
            let mut byte = [0];
            timeout(ms(1), stream.read_exact(&mut byte)).await.expect("no timeout").unwrap();
            assert_eq!(byte, [round]);
        }
        drop(stream);
        server.await.unwrap();
        assert_eq!(eddies::now(), begin);
    });
}

#[test]
fn a_peer_on_a_thread_of_its_own_has_time_to_answer() {
    run(async {
        let begin = eddies::now();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).unwrap() > 0 {
                stream.write_all(&byte).unwrap();
            }
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The silence is no promise for a thread that the system may put off; the hold is.
        let _hold = hold_clock();
        for round in 0..50_u8 {
            stream.write_all(&[round]).await.unwrap();
            let mut byte = [0];
            timeout(ms(1), stream.read_exact(&mut byte)).await.expect("no timeout").unwrap();
        }
        drop(stream);
        assert_eq!(eddies::now(), begin);
        peer.join().unwrap();
    });
}

#[test]
fn after_a_use_of_a_socket_the_clock_waits_a_moment_and_idle_ones_cost_nothing() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let real = Instant::now();
        let idle = spawn(async move { listener.accept().await.map(drop) });
        let begin = eddies::now();
        assert!(timeout(ms(1), pending::<()>()).await.is_err());
        assert_eq!(eddies::now() - begin, ms(1));
        assert!(real.elapsed() >= ms(5), "accept was tried, and {:?} later the clock moved", real.elapsed());
        // Nobody has used a socket since: an hour of seconds passes as if there were none.
        let real = Instant::now();
        for _ in 0..3600 {
            sleep(secs(1)).await;
        }
        assert!(real.elapsed() < secs(1), "{:?}", real.elapsed());
        assert!(!idle.is_finished());
        drop(TcpStream::connect(address).await.unwrap());
        idle.await.unwrap().unwrap();
    });
}

// ---- clocks side by side -----------------------------------------------------------------------------------------------------------

#[test]
fn each_runtime_has_its_own_clock() {
    let (first, second) = (runtime(), runtime());
    first.block_on(async { sleep(HOUR).await });
    let of_first = first.block_on(async { eddies::now() });
    let of_second = second.block_on(async { eddies::now() });
    assert!(of_first - of_second > ms(3_599_000));
    {
        let _first = first.handle();
        let guard = _first.enter();
        assert_eq!(eddies::now(), of_first);
        assert!(is_virtual());
        drop(guard);
    }
    assert!(!is_virtual());
    assert!(Instant::now() - eddies::now() < HOUR);
    let real = Runtime::builder().workers(1).build().unwrap();
    real.block_on(async {
        let begin = Instant::now();
        sleep(ms(2)).await;
        assert!(begin.elapsed() >= ms(2));
    });
}

#[test]
fn the_monitor_fires_nothing_by_the_wrong_clock() {
    let (tell, hear) = mpsc::channel();
    let runtime = Runtime::builder()
        .virtual_time(true)
        .slow_poll(ms(4))
        .on_slow_poll(move |slow| drop(tell.send(slow.to_string())))
        .build()
        .unwrap();
    runtime.block_on(async move {
        let begin = eddies::now();
        let task = spawn(sleep(ms(1)));
        wait_all_blocked().await;
        // The loop is held up, and the monitor sees to it; by the machine's clock the sleep would be due.
        hear.recv().unwrap();
        let _hold = hold_clock();
        wait_all_blocked().await;
        assert_eq!((eddies::now(), task.is_finished()), (begin, false));
    });
}
