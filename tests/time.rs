//! Time through the public API: nothing is early, everything fires, dropping is silent. How late a timer is depends on the machine, and
//! is not asserted.

use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eddies::time::{Interval, MissedTickBehavior, Sleep, Timeout};
use eddies::{Elapsed, interval, interval_at, sleep, sleep_until, timeout, timeout_at};

const HOUR: Duration = Duration::from_secs(3600);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Wakes a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for it on this thread.
fn park_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match poll_with(&mut future, &waker) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Calls `f` in the midst of a poll, with the context of that poll.
async fn within_a_poll<T>(mut f: impl FnMut(&mut Context<'_>) -> T) -> T {
    poll_fn(|cx| Poll::Ready(f(cx))).await
}

/// Waits for all.
async fn all<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    poll_fn(|cx| {
        futures.retain_mut(|future| Pin::new(future).poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn the_types_go_anywhere() {
    fn anywhere<T: Send + Sync + Unpin + 'static>() {}
    anywhere::<Sleep>();
    anywhere::<Timeout<Sleep>>();
    anywhere::<Interval>();
}

#[test]
fn no_sleep_is_early() {
    eddies::run(async {
        for micros in [0, 1, 999, 1_000, 1_001, 2_500, 7_000] {
            let (begin, duration) = (Instant::now(), Duration::from_micros(micros));
            sleep(duration).await;
            assert!(begin.elapsed() >= duration);
        }
    });
}

#[test]
fn many_sleeps_all_fire_and_none_is_early() {
    eddies::run(async {
        let begin = Instant::now();
        let one = |n: u64| {
            Box::pin(async move {
                let deadline = begin + Duration::from_micros(n * 37 % 40_000);
                sleep_until(deadline).await;
                assert!(Instant::now() >= deadline);
            })
        };
        all((0..2_000).map(one).collect()).await;
    });
}

#[test]
fn sleeps_of_many_tasks_fire() {
    eddies::run(async {
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let deadline = Instant::now() + ms(n % 20);
                eddies::spawn(async move {
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_deadline_that_has_passed_needs_no_runtime() {
    let mut past = sleep_until(Instant::now());
    assert!(poll_with(&mut past, Waker::noop()).is_ready());
    assert!(past.is_elapsed());
    assert!(poll_with(&mut past, Waker::noop()).is_ready(), "and is ready again");
}

#[test]
fn waiting_outside_a_runtime_names_the_call_and_the_way_out() {
    let line = line!() + 1;
    let mut orphan = sleep(HOUR);
    let panic = catch_unwind(AssertUnwindSafe(|| poll_with(&mut orphan, Waker::noop()))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains(&format!("{}:{line}", file!())), "{text}");
    assert!(text.contains("eddies::run"), "{text}");
}

#[test]
fn no_duration_is_too_long() {
    eddies::run(async {
        let mut for_ever = sleep(Duration::MAX);
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut for_ever).poll(cx).is_pending())).await);
        for_ever.reset(Instant::now() + ms(1));
        for_ever.await;
        assert_eq!(timeout(ms(1), sleep(Duration::MAX)).await.unwrap_err().to_string(), "deadline has elapsed");
        assert_eq!(timeout(Duration::MAX, sleep(ms(1))).await, Ok(()));
        let mut slow = interval(Duration::MAX);
        slow.tick().await;
        assert!(timeout(ms(1), slow.tick()).await.is_err());
    });
}

#[test]
fn reset_moves_the_deadline_both_ways() {
    eddies::run(async {
        let mut moved = sleep(ms(1));
        let late = Instant::now() + ms(8);
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut moved).poll(cx).is_pending())).await || moved.is_elapsed());
        moved.reset(late);
        assert_eq!(moved.deadline(), late);
        (&mut moved).await;
        assert!(Instant::now() >= late);

        // It was ready, and serves again.
        let again = Instant::now() + ms(2);
        moved.reset(again);
        moved.await;
        assert!(Instant::now() >= again);
    });
}

#[test]
fn a_task_that_waits_need_not_poll_again_after_reset() {
    eddies::run(async {
        let mut moved = sleep(HOUR);
        let deadline = Instant::now() + ms(3);
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                assert!(Pin::new(&mut moved).poll(cx).is_pending());
                // From here on only the timer itself can wake this task.
                moved.reset(deadline);
                return Poll::Pending;
            }
            Pin::new(&mut moved).poll(cx)
        })
        .await;
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn the_last_waker_is_woken_and_no_other() {
    eddies::run(async {
        let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
        let mut shared = sleep(HOUR);
        assert!(poll_with(&mut shared, &first_waker).is_pending());
        assert!(poll_with(&mut shared, &second_waker).is_pending());
        shared.reset(Instant::now() + ms(2));
        while second.get() == 0 {
            sleep(ms(1)).await;
        }
        assert!(shared.is_elapsed());
        assert!(poll_with(&mut shared, &second_waker).is_ready());
        assert_eq!((first.get(), second.get()), (0, 1));
    });
}

#[test]
fn a_sleep_dropped_on_another_thread_wakes_nobody() {
    eddies::run(async {
        let (count, waker) = Count::new();
        let mut dropped = sleep(HOUR);
        assert!(poll_with(&mut dropped, &waker).is_pending());
        assert_eq!(Arc::strong_count(&count), 3, "here, in `waker`, in the loop's timers");
        thread::spawn(move || drop(dropped)).join().unwrap();
        assert_eq!((Arc::strong_count(&count), count.get()), (2, 0), "the loop has let go of it");
    });
}

#[test]
fn a_sleep_that_moved_is_fired_by_the_loop_it_began_in() {
    eddies::run(async {
        let mut moved = sleep(HOUR);
        assert!(poll_with(&mut moved, Waker::noop()).is_pending());
        moved.reset(Instant::now() + ms(2));
        let outside = thread::spawn(move || {
            park_on(&mut moved);
            assert!(moved.is_elapsed());
        });
        while !outside.is_finished() {
            sleep(ms(1)).await;
        }
        outside.join().unwrap();
    });
}

/// What is made in a poll and dropped in it is never registered; on another thread as well.
#[test]
fn a_timer_dropped_in_the_poll_that_made_it_wakes_nobody() {
    eddies::run(async {
        let (mut polls, mut kept) = (0, None);
        poll_fn(|cx| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            for is_elsewhere in [false, true, false] {
                let mut early = timeout(ms(1), pending::<()>());
                assert!(Pin::new(&mut early).poll(cx).is_pending());
                let drop_it = move || drop(early);
                if is_elsewhere { thread::spawn(drop_it).join().unwrap() } else { drop_it() }
            }
            let mut late = sleep(ms(20));
            assert!(Pin::new(&mut late).poll(cx).is_pending());
            // It is the one that wakes.
            kept = Some(late);
            thread::sleep(ms(5));
            Poll::Pending
        })
        .await;
        assert!(polls == 2 && kept.is_some());
    });
}

#[test]
fn a_timer_reset_on_another_thread_in_the_poll_that_made_it_wakes_at_the_new_time() {
    eddies::run(async {
        let begin = Instant::now();
        let mut moved = None;
        poll_fn(|cx| {
            if moved.is_some() {
                return Poll::Ready(());
            }
            let mut timer = sleep(HOUR);
            assert!(Pin::new(&mut timer).poll(cx).is_pending());
            let reset = move || {
                timer.reset(begin + ms(10));
                timer
            };
            moved = Some(thread::spawn(reset).join().unwrap());
            Poll::Pending
        })
        .await;
        assert!(begin.elapsed() >= ms(10));
        moved.expect("it was made").await;
    });
}

/// The loop that made the timers is held up by the poll that made them, and does not know of them.
#[test]
fn a_timer_goes_to_another_thread_in_the_poll_that_made_it_and_fires_there() {
    eddies::run(async {
        let handle = eddies::LoopHandle::current();
        within_a_poll(|cx| {
            let (mut limited, mut timer) = (timeout(ms(2), pending::<()>()), sleep(ms(3)));
            assert!(Pin::new(&mut timer).poll(cx).is_pending());
            assert!(Pin::new(&mut limited).poll(cx).is_pending());
            let handle = handle.clone();
            let there = thread::spawn(move || {
                let _inside = handle.enter();
                assert!(park_on(limited).is_err());
                park_on(timer);
            });
            there.join().unwrap();
        })
        .await;
    });
}

#[test]
fn a_poll_that_asks_again_and_again_sees_its_timers_fire() {
    eddies::run(async {
        within_a_poll(|cx| {
            let (mut limited, mut timer) = (timeout(ms(2), pending::<()>()), sleep(ms(3)));
            assert!(Pin::new(&mut timer).poll(cx).is_pending());
            // Each to its end, and no further: what is ready takes a unit of the poll's budget, and without budget nothing is ready.
            while Pin::new(&mut limited).poll(cx).is_pending() {
                thread::yield_now();
            }
            while Pin::new(&mut timer).poll(cx).is_pending() {
                thread::yield_now();
            }
        })
        .await;
    });
}

/// A task of its own, whose waker is another kind than a main future's.
#[test]
fn timers_that_outlive_the_poll_of_a_task_are_registered_with_it() {
    eddies::run(async {
        let task = eddies::spawn(async {
            let begin = Instant::now();
            let mut timers: Vec<_> = (1..5).map(|n| Box::pin(timeout(ms(n), pending::<()>()))).collect();
            timers.push(Box::pin(timeout(HOUR, pending())));
            let first = poll_fn(|cx| {
                // All but the last make way for the next.
                let over =
                    timers.iter_mut().filter_map(|timer| timer.as_mut().poll(cx).is_ready().then_some(())).count();
                if over == 4 { Poll::Ready(begin.elapsed()) } else { Poll::Pending }
            });
            eddies::timeout(HOUR, first).await
        });
        assert!(task.await.unwrap().unwrap() >= ms(4));
    });
}

#[test]
fn a_timeout_of_what_is_ready_needs_no_runtime() {
    let mut limited = timeout(Duration::ZERO, ready(7));
    assert_eq!(poll_with(&mut limited, Waker::noop()), Poll::Ready(Ok(7)));
}

#[test]
fn what_is_ready_wins_over_a_time_that_is_over() {
    eddies::run(async {
        assert_eq!(timeout_at(Instant::now() - ms(1), async { 7 }).await, Ok(7));
        assert!(timeout_at(Instant::now() - ms(1), pending::<()>()).await.is_err());
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
    });
}

#[test]
fn a_timeout_is_not_early_and_counts_from_the_first_poll() {
    eddies::run(async {
        let limited = timeout(ms(10), pending::<()>());
        thread::sleep(ms(5));
        let begin = Instant::now();
        let elapsed: Elapsed = limited.await.unwrap_err();
        assert!(begin.elapsed() >= ms(10));
        assert_eq!(std::io::Error::from(elapsed).kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_timeout_lets_a_future_finish_in_time() {
    eddies::run(async {
        let output = timeout(HOUR, async {
            sleep(ms(2)).await;
            7
        });
        assert_eq!(output.await, Ok(7));
    });
}

#[test]
fn a_future_that_eats_its_budget_is_timed_out() {
    eddies::run(async {
        let glutton = async {
            loop {
                eddies::coop::consume_budget().await;
            }
        };
        assert!(timeout(ms(3), pin!(glutton)).await.is_err());
    });
}

#[test]
fn timeouts_that_elapse_at_once_let_others_run() {
    eddies::run(async {
        let mut polls = 0;
        let mut endless = pin!(async {
            loop {
                let _ = timeout(Duration::ZERO, pending::<()>()).await;
            }
        });
        poll_fn(|cx| {
            polls += 1;
            assert!(endless.as_mut().poll(cx).is_pending());
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}

#[test]
fn an_interval_ticks_at_its_period_and_is_not_early() {
    eddies::run(async {
        let start = Instant::now() + ms(2);
        let mut ticks = interval_at(start, ms(3));
        assert_eq!(ticks.period(), ms(3));
        for n in 0..4 {
            // A tick that nobody waited for to the end is not lost.
            let due = match timeout(Duration::ZERO, ticks.tick()).await {
                Ok(due) => due,
                Err(_) => ticks.tick().await,
            };
            assert!(Instant::now() >= due);
            assert_eq!(due, start + ms(3) * n);
        }
    });
}

#[test]
fn missed_ticks_are_made_up_for_or_forgotten() {
    eddies::run(async {
        let period = ms(8);
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let start = Instant::now();
            let mut ticks = interval_at(start, period);
            ticks.set_missed_tick_behavior(behavior);
            thread::sleep(ms(20));
            assert_eq!(ticks.tick().await, start);
            let late = Instant::now();
            let next = ticks.tick().await;
            match behavior {
                MissedTickBehavior::Burst => assert_eq!(next, start + period),
                MissedTickBehavior::Delay => assert!(next >= start + ms(20) + period && next <= late + period),
                MissedTickBehavior::Skip => {
                    assert!(next >= start + ms(20), "the missed ones are skipped");
                    assert_eq!((next - start).as_nanos() % period.as_nanos(), 0, "in step");
                }
                other => panic!("{other:?} is new"),
            }
        }
    });
}

#[test]
fn an_interval_starts_again_on_reset() {
    eddies::run(async {
        let mut ticks = interval(HOUR);
        ticks.tick().await;
        ticks.reset_immediately();
        ticks.tick().await;
        let begin = Instant::now();
        ticks.reset_after(ms(2));
        assert!(ticks.tick().await >= begin + ms(2));
        ticks.reset();
        assert!(timeout(ms(1), ticks.tick()).await.is_err());
    });
}
