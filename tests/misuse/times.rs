//! Times that make no sense, or none that anybody will live to see.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use eddies::time::Sleep;
use eddies::{EventLoop, Runtime, interval, sleep, sleep_until, timeout, timeout_at};

use super::{ends, panic_of, says};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

#[test]
fn slept_for_nan_or_a_negative_or_infinite_time() {
    ends(|| {
        // A `Duration` is never any of these; the standard library refuses to make one. `try_from_secs_f64` makes an error of the panic.
        for nonsense in [f64::NAN, -1.0, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let _ = panic_of(|| sleep(Duration::from_secs_f64(nonsense)));
            assert!(Duration::try_from_secs_f64(nonsense).is_err());
        }
        let asyncio_like = |delay: f64| Duration::try_from_secs_f64(delay.max(0.0)).unwrap_or(Duration::MAX);
        assert_eq!(asyncio_like(-1.0), Duration::ZERO);
        assert_eq!(asyncio_like(f64::INFINITY), Duration::MAX);
        eddies::run(async move {
            sleep(asyncio_like(-0.5)).await;
            sleep(asyncio_like(1e-12)).await;
            assert!(timeout(Duration::from_millis(1), sleep(asyncio_like(f64::INFINITY))).await.is_err());
        });
    });
}

#[test]
fn slept_for_centuries() {
    ends(|| {
        eddies::run(async {
            for far in [CENTURY, 50 * CENTURY, Duration::from_secs(u64::MAX), Duration::MAX] {
                let short = Duration::from_millis(1);
                assert!(timeout(short, sleep(far)).await.is_err());
                assert!(timeout(short, timeout(far, std::future::pending::<()>())).await.is_err());
                let mut ticks = interval(far);
                ticks.tick().await;
                assert!(timeout(short, ticks.tick()).await.is_err());
                assert_eq!(timeout(far, async { 7 }).await, Ok(7));
            }
        });
    });
}

#[test]
fn slept_for_centuries_of_virtual_time() {
    ends(|| {
        let runtime = Runtime::builder().virtual_time(true).build().unwrap();
        runtime.block_on(async {
            let begin = eddies::now();
            sleep(CENTURY).await;
            assert_eq!(eddies::now() - begin, CENTURY);
            assert!(timeout(CENTURY, sleep(Duration::MAX)).await.is_err());
        });
    });
}

#[test]
fn scheduled_calls_for_ever_and_for_centuries() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let weight = Rc::new(());
        for delay in [CENTURY, 50 * CENTURY, Duration::from_secs(u64::MAX), Duration::MAX] {
            let weight = weight.clone();
            let timer = event_loop.call_later(delay, move || drop(weight)).unwrap();
            assert!(timer.when() > event_loop.time() + CENTURY / 2);
        }
        assert_eq!(event_loop.run_until_complete(sleep(Duration::from_millis(1))), Ok(()));
        event_loop.close().unwrap();
        assert_eq!(Rc::strong_count(&weight), 1);
    });
}

#[test]
fn scheduled_calls_in_the_past() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let now = event_loop.time();
        let long_ago = now.checked_sub(Duration::from_secs(1)).unwrap();
        let calls = Rc::new(Cell::new(0));
        for when in [long_ago, now, long_ago] {
            let count = calls.clone();
            event_loop.call_at(when, move || count.set(count.get() + 1)).unwrap();
        }
        assert_eq!(calls.get(), 0, "never from inside of the call");
        event_loop.run_once().unwrap();
        assert_eq!(calls.get(), 3);
        let past = async move {
            sleep_until(long_ago).await;
            (timeout_at(long_ago, async { 7 }).await, timeout_at(long_ago, std::future::pending::<()>()).await)
        };
        let (ready, pending) = event_loop.run_until_complete(past).unwrap();
        assert_eq!(ready, Ok(7), "what is ready counts, whatever the time");
        says(pending.unwrap_err(), &["elapsed"]);
    });
}

#[test]
fn waited_for_a_thread_with_a_limit_of_centuries() {
    ends(|| {
        for limit in [CENTURY, Duration::MAX] {
            let event_loop = EventLoop::new().unwrap();
            let handle = event_loop.handle();
            let thread = std::thread::spawn(move || {
                let sum = handle.run_coroutine_threadsafe(async { 1 + 2 }).unwrap();
                let sum = sum.wait_timeout(limit).unwrap();
                handle.stop();
                sum.unwrap()
            });
            event_loop.run_forever().unwrap();
            assert_eq!(thread.join().unwrap(), 3);
        }
    });
}

#[test]
fn shut_down_with_a_limit_of_centuries() {
    ends(|| {
        for limit in [Duration::ZERO, CENTURY, Duration::MAX] {
            let runtime = Runtime::builder().workers(2).build().unwrap();
            drop(runtime.spawn(std::future::pending::<()>()));
            runtime.shutdown(limit).unwrap();
            let event_loop = EventLoop::new().unwrap();
            let task = event_loop.create_task(std::future::pending::<()>()).unwrap();
            event_loop.drain(limit).unwrap();
            event_loop.shutdown_default_executor(limit).unwrap();
            assert!(task.cancelled());
        }
    });
}

#[test]
fn set_a_runtime_up_with_times_of_centuries() {
    ends(|| {
        let runtime = Runtime::builder()
            .workers(2)
            .shutdown_timeout(Duration::MAX)
            .slow_poll(CENTURY)
            .blocking_keep_alive(Duration::MAX)
            .build()
            .unwrap();
        let began = Instant::now();
        assert_eq!(
            runtime.block_on(eddies::future::gather([runtime.handle().spawn_blocking(|| 7)]))[0].as_ref().unwrap(),
            &7
        );
        drop(runtime);
        assert!(began.elapsed() < Duration::from_secs(25));
        let event_loop = EventLoop::new().unwrap();
        event_loop.set_slow_callback_duration(Duration::MAX);
        event_loop.set_debug(true);
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    });
}

#[test]
fn took_a_sleep_from_one_loop_to_another() {
    ends(|| {
        let (one, two) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        // It begins to wait in one loop, and is due while another runs.
        let mut nap = Box::pin(sleep(CENTURY));
        let soon = || Instant::now() + Duration::from_millis(5);
        one.run_until_complete(begin(nap.as_mut())).unwrap();
        nap.as_mut().reset(soon());
        // The first loop rests, and would never wake it.
        assert_eq!(two.run_until_complete(nap.as_mut()), Ok(()));
        let runtime = Runtime::builder().workers(1).build().unwrap();
        nap.as_mut().reset(Instant::now() + CENTURY);
        two.run_until_complete(begin(nap.as_mut())).unwrap();
        nap.as_mut().reset(soon());
        runtime.block_on(nap);
    });
}

/// One poll, which has to wait.
async fn begin(mut nap: Pin<&mut Sleep>) {
    let is_pending = poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx).is_pending()));
    assert!(is_pending.await);
}
