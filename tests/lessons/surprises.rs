//! Operational failures that need no process of their own.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::TcpStream;
use eddies::sync::{Event, Lock, oneshot, unbounded_channel};
use eddies::{LoopFuture, LoopHandle, Runtime, spawn, spawn_blocking, yield_now};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::waker;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

/// tokio #5578: a waker that used what woke it met its own lock. Here whoever wakes holds none: a waker may spawn, abort, wake, lock, set and
/// register all over again.
#[test]
fn a_waker_may_use_whatever_wakes_it() {
    let runtime = runtime(2);
    let handle = runtime.handle();
    let lock = Arc::new(Lock::new(()));
    let event = Arc::new(Event::new());
    let guard = handle.enter();
    let future = LoopFuture::<u8>::new();
    drop(guard);
    let calls = Arc::new(AtomicUsize::new(0));
    let busy_waker = || {
        let (handle, lock, event, future, calls) =
            (handle.clone(), lock.clone(), event.clone(), future.clone(), calls.clone());
        waker(move || {
            let task = handle.spawn(async {});
            task.abort();
            let _guard = handle.enter();
            drop(lock.try_lock());
            event.set();
            event.clear();
            let mut cx = Context::from_waker(Waker::noop());
            let _either = Box::pin(lock.lock()).as_mut().poll(&mut cx);
            let _either = Box::pin(event.wait()).as_mut().poll(&mut cx);
            let _pending = Pin::new(&mut eddies::sleep(Duration::from_secs(3600))).poll(&mut cx);
            future.add_done_callback(|_| {});
            drop(future.set_result(1));
            calls.fetch_add(1, SeqCst);
        })
    };
    fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) {
        assert!(Pin::new(future).poll(&mut Context::from_waker(waker)).is_pending());
    }
    runtime.block_on(async {
        let guard = lock.lock().await;
        let mut locked = Box::pin(lock.lock());
        poll(&mut locked, &busy_waker());
        let mut waits = Box::pin(event.wait());
        poll(&mut waits, &busy_waker());
        let mut answered = Box::pin(async { future.clone().await.map_or(0, |n| n) });
        poll(&mut answered, &busy_waker());
        let (mut here, there) = pair().await;
        let mut bytes = [0; 8];
        let mut read = Box::pin(here.read(&mut bytes));
        poll(&mut read, &busy_waker());
        let mut pending = spawn(std::future::pending::<()>());
        poll(&mut pending, &busy_waker());
        // From here on wakers are called. These two may be over already, and then nothing is owed.
        let mut expected = 5;
        let mut task = spawn(yield_now());
        expected += usize::from(Pin::new(&mut task).poll(&mut Context::from_waker(&busy_waker())).is_pending());
        let mut sleep = eddies::sleep(Duration::from_millis(1));
        expected += usize::from(Pin::new(&mut sleep).poll(&mut Context::from_waker(&busy_waker())).is_pending());
        drop(guard);
        drop(locked);
        event.set();
        drop(future.set_result(2));
        pending.abort();
        drop(there);
        while calls.load(SeqCst) < expected {
            yield_now().await;
        }
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
    drop(handle);
    runtime.shutdown(Duration::from_secs(20)).unwrap();
}

async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (here, listener.accept().unwrap().0)
}

/// N jobs that wait for job N + 1 are a deadlock of the program's own. But sockets, timers and tasks need no thread of the pool, and what does
/// need one (a look-up of a name) waits in the queue, which can be seen and given up.
#[test]
fn a_pool_that_is_used_up_holds_up_nothing_but_jobs() {
    let runtime = Runtime::builder().workers(2).blocking_threads(1).build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    runtime.block_on(async {
        let (tell, told) = oneshot();
        let holds = spawn_blocking(move || {
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        told.await.unwrap();
        let queued = spawn_blocking(|| 7);
        let counters = eddies::LoopHandle::current().blocking_counters();
        assert_eq!((counters.threads, counters.idle, counters.queued), (1, 0, 1));
        assert!(counters.oldest_queued.is_some());
        let name = eddies::timeout(Duration::from_millis(2), eddies::net::lookup_host("localhost:80")).await;
        assert!(name.is_err(), "it waits behind the other jobs");
        let (mut here, mut there) = pair().await;
        there.write_all(b"still served").unwrap();
        let mut bytes = [0; 12];
        here.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"still served");
        assert_eq!(spawn(async { 8 }).await.unwrap(), 8);
        release.send(()).unwrap();
        holds.await.unwrap();
        assert_eq!(queued.await.unwrap(), 7);
        assert!(eddies::net::lookup_host("localhost:80").await.is_ok());
    });
}

/// tokio #2309: a thread that could not be started was a panic. No system has room for these stacks.
#[test]
fn a_thread_that_cannot_be_started_is_an_error_and_no_job_is_lost() {
    let huge = || Runtime::builder().thread_stack_size(1 << 46).blocking_threads(4);
    assert!(huge().workers(3).build().is_err());
    let runtime = huge().workers(1).build().unwrap();
    runtime.block_on(async {
        assert_eq!((eddies::try_spawn_blocking(|| 5).expect_err("it is refused").0)(), 5);
        assert!(spawn_blocking(|| 6).await.unwrap_err().is_cancelled());
        let found = eddies::timeout(Duration::from_secs(20), eddies::net::lookup_host("localhost:80")).await;
        assert!(found.expect("it is answered").is_err());
        assert_eq!(eddies::LoopHandle::current().blocking_counters().spawn_failures, 3);
        assert_eq!(spawn(async { 8 }).await.unwrap(), 8);
    });
}

/// mio and tokio #6612: the kernel counts milliseconds in 31 bits, and a month has more. Beside a socket the loop waits in the kernel.
#[test]
fn a_month_and_the_end_of_time_beside_a_socket() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let (mut here, mut there) = pair().await;
        let mut bytes = [0; 1];
        for far in [Duration::from_millis(i32::MAX as u64), Duration::from_secs(86_400 * 31), Duration::MAX] {
            let sleep = spawn(eddies::sleep(far));
            let (outside, go) = mpsc::channel();
            let writer = thread::spawn(move || {
                go.recv().unwrap();
                there.write_all(b"x").unwrap();
                there
            });
            let mut read = Box::pin(here.read(&mut bytes));
            assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
            outside.send(()).unwrap();
            assert_eq!(read.await.unwrap(), 1);
            assert!(!sleep.is_finished());
            there = writer.join().unwrap();
        }
    });
}

/// Readiness that is none: another descriptor of the same pipe is read by somebody else between the event and the attempt. The wait goes on.
#[test]
fn bytes_that_somebody_else_took_are_no_readiness() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut thief = here.try_clone().unwrap();
        let here = eddies::io::AsyncFd::new(here).unwrap();
        let (tell, mut heard) = unbounded_channel();
        let reader = spawn(async move {
            let mut attempts = 0;
            let read = here.async_io(eddies::io::Interest::READABLE, |mut stream| {
                attempts += 1;
                // Takes the bytes away in the very moment in which the loop was told of them.
                if attempts < 3 {
                    let mut stolen = [0; 16];
                    assert_eq!(thief.read(&mut stolen).unwrap(), 4);
                }
                tell.send(attempts).unwrap();
                let mut bytes = [0; 16];
                stream.read(&mut bytes).map(|n| bytes[..n].to_vec())
            });
            let bytes = read.await.unwrap();
            (bytes, attempts)
        });
        for (attempt, bytes) in [(1, b"lost"), (2, b"gone"), (3, b"here")] {
            there.write_all(bytes).unwrap();
            assert_eq!(heard.recv().await, Some(attempt));
        }
        let (bytes, attempts) = reader.await.unwrap();
        assert_eq!((bytes.as_slice(), attempts), (&b"here"[..], 3));
    });
}

/// A chain of twenty thousand wakes, completions or drops, each caused by the one before it, on the smallest stack there is.
#[test]
fn a_long_chain_needs_no_stack() {
    const LINKS: usize = 20_000;
    let chains = || {
        let runtime = runtime(1);
        runtime.block_on(async {
            // Each awaits the one before it: an end wakes the next.
            let (release, released) = oneshot::<usize>();
            let mut last = spawn(async { released.await.unwrap() });
            for _ in 0..LINKS {
                let before = last;
                last = spawn(async { before.await.unwrap() + 1 });
            }
            yield_now().await;
            release.send(0).unwrap();
            assert_eq!(last.await.unwrap(), LINKS);

            // Each owns the sender that the next waits for: a drop wakes the next, which then drops its own.
            let (first, mut receiver) = oneshot::<()>();
            for _ in 0..LINKS {
                let (sender, next) = oneshot::<()>();
                drop(spawn(async move {
                    let _sender = sender;
                    let _ = receiver.await;
                }));
                receiver = next;
            }
            yield_now().await;
            drop(first);
            assert!(receiver.await.is_err());

            // Aborted from the far end, each is dropped with the handle of the one before it.
            let mut last = spawn(std::future::pending::<()>());
            for _ in 0..LINKS {
                let before = last;
                last = spawn(async { before.await.unwrap() });
            }
            yield_now().await;
            last.abort();
            assert!(last.await.unwrap_err().is_cancelled());
        });
        // And what was left behind waits for one another until the runtime ends.
        runtime.shutdown(Duration::from_secs(20)).unwrap();
    };
    thread::Builder::new().stack_size(256 << 10).spawn(chains).unwrap().join().unwrap();
}

/// A future that wakes itself without end leaves the loop its sockets and timers (tokio #4730 in small; fairness).
#[test]
fn a_storm_of_yields_starves_nobody() {
    async fn storm() {
        loop {
            yield_now().await;
        }
    }
    for workers in [1, 2] {
        runtime(workers).block_on(async {
            let storms: Vec<_> = (0..8).map(|_| spawn(storm())).collect();
            let listener = eddies::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                for _ in 0..20 {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                }
            });
            for _ in 0..20 {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"x").await.unwrap();
                eddies::sleep(Duration::from_micros(100)).await;
            }
            client.join().unwrap();
            storms.iter().for_each(|storm| storm.abort());
        });
    }
}

/// tokio #6692: a future that was fine on the stack of its maker was too much for the runtime's.
#[test]
fn a_future_of_a_quarter_of_a_mebibyte_fits_on_the_usual_stack() {
    let big = || async {
        let bytes = std::hint::black_box([1_u8; 256 << 10]);
        yield_now().await;
        bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>()
    };
    // Without optimisation a value lies on the stack once for each function that it passes through, some twenty times; with it, the workers' usual two
    // mebibytes are enough.
    const STACK: usize = if cfg!(debug_assertions) { 8 << 20 } else { 2 << 20 };
    let body = move || {
        let runtime = Runtime::builder().workers(2).thread_stack_size(STACK).build().unwrap();
        assert_eq!(runtime.block_on(async { spawn(big()).await.unwrap() }), 256 << 10);
        assert_eq!(
            runtime.block_on(async { spawn(async move { spawn(big()).await.unwrap() }).await.unwrap() }),
            256 << 10
        );
    };
    thread::Builder::new().stack_size(STACK).spawn(body).unwrap().join().unwrap();
}

/// A spawn that comes while the last worker falls asleep (tokio #459, #525, #1768): each is answered, and one that is not is the test's end.
#[test]
fn what_comes_while_the_last_worker_falls_asleep_is_run() {
    let spawn_all = |handle: LoopHandle| {
        for i in 0..3_000_u64 {
            let (tell, heard) = mpsc::channel();
            drop(handle.spawn(async move { tell.send(i).unwrap() }));
            // More time passes each time, so that the worker is met at every step of its way to sleep.
            assert_eq!(heard.recv_timeout(Duration::from_secs(30)), Ok(i));
            (0..i % 512).for_each(|_| std::hint::spin_loop());
        }
    };
    for workers in [1, 2, 3] {
        let runtime = runtime(workers);
        let handle = runtime.handle();
        let (stop, stopped) = oneshot::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                spawn_all(handle);
                stop.send(()).unwrap();
            });
            runtime.block_on(stopped).unwrap();
        });
    }
}

/// tokio #3190: a new timer that is due before all others has to end the sleep of the loop that it was given to.
#[test]
fn a_timer_set_by_another_thread_shortens_the_sleep_of_the_loop() {
    let runtime = runtime(1);
    let handle = runtime.handle();
    let began = Instant::now();
    let (stop, stopped) = oneshot::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _guard = handle.enter();
            let (tell, heard) = mpsc::channel();
            let tell = Mutex::new(tell);
            let waker = waker(move || tell.lock().unwrap().send(()).unwrap());
            for _ in 0..20 {
                let mut sleep = eddies::sleep(Duration::from_millis(1));
                if Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending() {
                    heard.recv_timeout(Duration::from_secs(30)).unwrap();
                }
                assert!(sleep.is_elapsed());
            }
            stop.send(()).unwrap();
        });
        runtime.block_on(async {
            let _far = spawn(eddies::sleep(Duration::from_secs(3600)));
            stopped.await.unwrap();
        });
    });
    assert!(began.elapsed() < Duration::from_secs(60));
}

/// A burst of tasks, and the registry, deque and slots that held it, cost nothing once it is over.
#[test]
fn a_burst_leaves_a_runtime_that_works_and_holds_nothing() {
    let runtime = runtime(2);
    let handle = runtime.handle();
    runtime.block_on(async {
        let weak = {
            let held = Arc::new(());
            let tasks: Vec<_> = (0..50_000)
                .map(|_| {
                    let held = held.clone();
                    spawn(async move {
                        yield_now().await;
                        drop(held);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            Arc::downgrade(&held)
        };
        assert_eq!(weak.strong_count(), 0);
    });
    assert_eq!(handle.live_tasks(), 0);
}
