//! Time limits: the traps of asyncio's `test_timeouts` and `test_waitfor`, with `timeout`, which drops, and `with_deadline`, which cancels and waits.

use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use eddies::sync::{Event, oneshot};
use eddies::testing::wait_all_blocked;
use eddies::time::{Deadline, advance};
use eddies::{
    Cancelled, Elapsed, catch_cancel, current_task, gather, resume_cancel, sleep, sleep_until, spawn, task_group,
    timeout, timeout_at, with_deadline, yield_now,
};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn after(wait: Duration) -> Instant {
    eddies::now() + wait
}

/// Waits for ever; cancelled, it cleans up and lets the cancellation go on.
async fn cleans_up<T>(cleanup: Duration) -> T {
    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
    sleep(cleanup).await;
    resume_cancel(cancelled).await
}

#[eddies::test(virtual_time)]
async fn trap_080_the_cleanup_is_waited_for_and_may_take_longer_than_the_time() {
    let begin = eddies::now();
    let outcome: Result<(), Elapsed> = with_deadline(begin + ms(10), |_| cleans_up(ms(50))).await;
    assert!(outcome.is_err());
    assert_eq!(eddies::now() - begin, ms(60));

    // `timeout` drops the future at once.
    let begin = eddies::now();
    assert!(timeout(ms(10), cleans_up::<()>(ms(50))).await.is_err());
    assert_eq!(eddies::now() - begin, ms(10));
}

#[eddies::test(virtual_time)]
async fn trap_081_without_time_what_is_done_counts_and_nothing_else_gets_far() {
    // asyncio does not even start the coroutine. Here a future is always polled once, before the time is looked at, so that what is ready counts.
    let mut done = spawn(async { 7 });
    wait_all_blocked().await;
    assert_eq!(timeout(Duration::ZERO, &mut done).await.unwrap().unwrap(), 7);
    let done = spawn(async { 8 });
    wait_all_blocked().await;
    assert_eq!(with_deadline(eddies::now(), |_| done).await.unwrap().unwrap(), 8);

    for past in [Duration::ZERO, ms(100)] {
        sleep(past).await;
        let when = eddies::now() - past;
        let reached = Arc::new(Mutex::new(Vec::new()));
        let steps = reached.clone();
        let outcome = with_deadline(when, |_| async move {
            steps.lock().unwrap().push("polled");
            yield_now().await;
            steps.lock().unwrap().push("polled again");
        });
        assert!(outcome.await.is_err());
        assert_eq!(*reached.lock().unwrap(), ["polled"]);
    }
}

#[eddies::test(virtual_time)]
async fn trap_082_a_body_that_does_not_give_in_gives_its_value() {
    let body = |deadline: Deadline| async move {
        let caught = catch_cancel(pending::<()>()).await;
        sleep(ms(5)).await;
        (caught.is_err(), deadline.expired())
    };
    let begin = eddies::now();
    assert_eq!(with_deadline(begin + ms(10), body).await, Ok((true, true)));
    assert_eq!(eddies::now() - begin, ms(15));

    // So does one whose value comes at the very instant.
    let when = after(ms(10));
    assert_eq!(with_deadline(when, |_| async { sleep_until(when).await }).await, Ok(()));
    assert_eq!(timeout_at(when + ms(1), sleep_until(when + ms(1))).await, Ok(()));
}

#[eddies::test(virtual_time)]
async fn trap_083_the_tasks_own_cancellation_goes_in_and_is_not_lost() {
    let seen = Arc::new(Mutex::new(None));
    let inner = seen.clone();
    let task = spawn(async move {
        with_deadline(after(ms(100)), |_| async move {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            *inner.lock().unwrap() = cancelled.reason().map(str::to_owned);
            resume_cancel::<()>(cancelled).await
        })
        .await
    });
    wait_all_blocked().await;
    task.cancel("from outside");
    assert_eq!(task.await.unwrap_err().to_string(), "the task was cancelled: from outside");
    assert_eq!(seen.lock().unwrap().as_deref(), Some("from outside"));

    // What it waits for is done, and the task is cancelled before it hears of that.
    let (send, receive) = oneshot();
    let task = spawn(async move {
        let outcome = with_deadline(after(ms(100)), |_| receive).await;
        sleep(ms(1)).await;
        outcome
    });
    wait_all_blocked().await;
    send.send(7).unwrap();
    task.cancel(None);
    assert!(task.await.unwrap_err().is_cancelled());
}

#[eddies::test(virtual_time)]
async fn trap_084_what_is_not_the_deadlines_own_goes_on() {
    // `wait_for(shield(t))`: here a task that is awaited is shielded by being a task.
    let mut task = spawn(async {
        sleep(ms(20)).await;
        7
    });
    assert!(timeout(ms(10), &mut task).await.is_err());
    assert!(with_deadline(after(ms(5)), |_| &mut task).await.is_err());
    assert_eq!((task.cancelling(), task.is_finished()), (0, false));
    assert_eq!(task.await.unwrap(), 7);
}

#[eddies::test(virtual_time)]
async fn trap_085_of_nested_equal_deadlines_both_expire_and_only_the_outer_gives_the_error() {
    let when = after(ms(10));
    let inner_over = Arc::new(Mutex::new(None));
    let handle = inner_over.clone();
    let (mut outer_handle, mut went_on) = (None, false);
    let outer = with_deadline(when, |outer| {
        outer_handle = Some(outer);
        let went_on = &mut went_on;
        async move {
            let inner = with_deadline(when, |inner| {
                *handle.lock().unwrap() = Some(inner);
                pending::<()>()
            });
            let _ = inner.await;
            *went_on = true;
        }
    });
    assert!(outer.await.is_err());
    assert!(!went_on, "the inner one gave nothing: the error is the outer one's");
    let inner = inner_over.lock().unwrap().take().unwrap();
    assert!(inner.expired() && outer_handle.unwrap().expired());

    // So it is through cleanups in between.
    let when = after(ms(10));
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    let outer = with_deadline(when, |_| async move {
        let inner = with_deadline(when, |_| async {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            lines.lock().unwrap().push("innermost");
            resume_cancel::<()>(cancelled).await
        });
        let cancelled = catch_cancel(inner).await.unwrap_err();
        lines.lock().unwrap().push("between");
        resume_cancel::<()>(cancelled).await
    });
    assert!(outer.await.is_err());
    assert_eq!(*log.lock().unwrap(), ["innermost", "between"]);
}

#[eddies::test(virtual_time)]
async fn trap_085_the_outer_one_fires_also_after_the_inner_one_has() {
    let begin = eddies::now();
    let outcome = with_deadline(begin + ms(100), |_| async {
        let inner = with_deadline(after(ms(10)), |_| sleep(ms(1000))).await;
        assert!(inner.is_err());
        assert_eq!(eddies::now() - begin, ms(10));
        sleep(ms(10_000)).await;
    });
    assert!(outcome.await.is_err());
    assert_eq!(eddies::now() - begin, ms(100));
}

#[test]
fn trap_085_on_a_loop_that_was_busy_when_both_passed_it_is_the_outer_one() {
    // asyncio lets the inner one give its error first, if its timer was first. Here both are looked at by one reading of the clock.
    eddies::run(async {
        let (outer, inner) = (after(ms(4)), after(ms(2)));
        let mut inner_gave = false;
        let outcome = with_deadline(outer, |_| async {
            let _ = with_deadline(inner, |_| async {
                while Instant::now() < outer {
                    std::hint::spin_loop();
                }
                pending::<()>().await
            })
            .await;
            inner_gave = true;
        });
        assert!(outcome.await.is_err());
        assert!(!inner_gave);
    });
}

#[eddies::test(virtual_time)]
async fn trap_086_only_its_own_cancellation_becomes_elapsed() {
    // Without time, but with a wait.
    assert!(with_deadline(eddies::now(), |_| yield_now()).await.is_err());
    // In the past, but without a wait.
    assert_eq!(with_deadline(eddies::now() - ms(10), |_| ready(7)).await, Ok(7));
    // Errors of the body pass.
    let outcome = with_deadline(after(ms(10)), |_| async { Err::<(), _>("foreign") }).await;
    assert_eq!(outcome, Ok(Err("foreign")));

    // A foreign request before the deadline stays one.
    let task = spawn(with_deadline(after(ms(10)), |_| pending::<()>()));
    advance(ms(5)).await;
    task.cancel("foreign");
    assert_eq!(task.await.unwrap_err().to_string(), "the task was cancelled: foreign");

    // Also at the very instant of the deadline.
    let task = spawn(with_deadline(after(ms(10)), |_| pending::<()>()));
    sleep(ms(10)).await;
    task.cancel("foreign");
    assert!(task.await.unwrap_err().is_cancelled());

    // And also in the midst of the cleanup.
    let task = spawn(with_deadline(after(ms(10)), |_| cleans_up::<()>(ms(10))));
    sleep(ms(15)).await;
    task.cancel("foreign");
    assert!(task.await.unwrap_err().is_cancelled());
}

#[eddies::test(virtual_time)]
async fn trap_086_a_task_that_was_cancelled_before_can_still_have_deadlines() {
    let task = spawn(async {
        let me = current_task().unwrap();
        assert!(catch_cancel(pending::<()>()).await.is_err());
        let outcome = with_deadline(after(ms(10)), |_| pending::<()>()).await;
        (outcome.is_err(), me.cancelling())
    });
    wait_all_blocked().await;
    task.cancel(None);
    assert_eq!(task.await.unwrap(), (true, 1), "the count is as it was before");
}

#[eddies::test(virtual_time)]
async fn trap_087_a_deadline_is_moved_while_it_is_active_and_not_after() {
    let begin = eddies::now();
    let (outside, handle) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    let (given, seen) = (outside.clone(), handle.clone());
    let outcome = with_deadline(begin + ms(10), |deadline| async move {
        *seen.lock().unwrap() = Some(deadline.clone());
        assert_eq!((deadline.when(), deadline.expired()), (Some(begin + ms(10)), false));
        deadline.reschedule(begin + ms(30)).unwrap();
        sleep(ms(20)).await;
        deadline.reschedule(None).unwrap();
        sleep(ms(20)).await;
        assert_eq!(deadline.when(), None);
        // By somebody else, while this waits.
        *given.lock().unwrap() = Some(deadline.clone());
        let caught = catch_cancel(pending::<()>()).await;
        assert!(deadline.reschedule(None).unwrap_err().expired(), "it is expiring");
        resume_cancel::<()>(caught.unwrap_err()).await
    });
    let mover = spawn(async move {
        sleep(ms(50)).await;
        let deadline: Deadline = outside.lock().unwrap().take().unwrap();
        deadline.reschedule(begin + ms(60)).unwrap();
    });
    assert!(outcome.await.is_err());
    assert_eq!(eddies::now() - begin, ms(60));
    mover.await.unwrap();
    let deadline = handle.lock().unwrap().take().unwrap();
    let refused = deadline.reschedule(None).unwrap_err();
    assert_eq!(
        (refused.expired(), refused.to_string().as_str()),
        (true, "the deadline cannot be moved: it has passed")
    );
    assert!(format!("{deadline:?}").contains("expired"));

    // After a good end, and after it was dropped.
    let deadline = with_deadline(None, ready).await.unwrap();
    assert!(!deadline.reschedule(eddies::now()).unwrap_err().expired());
    let mut kept = None;
    drop(with_deadline(None, |deadline| {
        kept = Some(deadline);
        pending::<()>()
    }));
    assert!(kept.unwrap().reschedule(None).is_err());
}

#[eddies::test(virtual_time)]
async fn trap_087_one_that_is_moved_to_the_past_passes_at_the_next_wait() {
    let outcome = with_deadline(None, |deadline| async move {
        deadline.reschedule(eddies::now() - ms(1)).unwrap();
        assert!(!deadline.expired());
        yield_now().await;
        panic!("it went on");
    });
    assert!(Result::<(), _>::is_err(&outcome.await));
}

#[eddies::test(virtual_time)]
async fn trap_087_it_works_without_a_task_with_its_scopes() {
    // asyncio asks for a task. That it is entered twice cannot be written: awaiting it consumes it.
    assert!(current_task().is_none());
    let begin = eddies::now();
    let outcome = with_deadline(begin + ms(10), |_| gather([cleans_up::<()>(ms(1)), cleans_up::<()>(ms(5))])).await;
    assert!(outcome.is_err());
    // The first that has cleaned up lets it go on, and what was beside it is dropped.
    assert_eq!(eddies::now() - begin, ms(11));
}

#[eddies::test(virtual_time)]
async fn a_deadline_touches_only_its_body() {
    let task = spawn(async {
        let beside = async { catch_cancel(sleep(ms(50))).await.is_ok() };
        let limited = async { with_deadline(after(ms(10)), |_| cleans_up::<()>(ms(5))).await.is_err() };
        let both: [Pin<Box<dyn Future<Output = bool> + Send>>; 2] = [Box::pin(beside), Box::pin(limited)];
        (gather(both).await, current_task().unwrap().cancelling())
    });
    assert_eq!(task.await.unwrap(), (vec![true, true], 0));
}

#[eddies::test(virtual_time)]
async fn a_scope_that_is_left_behind_unpolled_does_not_keep_the_deadline_from_passing() {
    let begin = eddies::now();
    let outcome = with_deadline(begin + ms(10), |_| async {
        let mut left_behind = pin!(catch_cancel(pending::<()>()));
        assert!(timeout(ms(1), left_behind.as_mut()).await.is_err());
        sleep(ms(1000)).await;
        let _ = left_behind.await;
    });
    assert!(outcome.await.is_err());
    assert_eq!(eddies::now() - begin, ms(10));
}

#[eddies::test(virtual_time)]
async fn a_scope_that_took_a_cancellation_beside_a_deadline_leaves_it_active() {
    // The task's request is taken beside the deadline, and the deadline and the scopes in it have nothing to do with it afterwards.
    let task = spawn(async {
        let beside = async { catch_cancel(pending::<()>()).await.is_err() };
        let limited = async {
            let outcome = with_deadline(after(ms(20)), |_| async {
                sleep(ms(10)).await;
                assert!(catch_cancel(sleep(ms(5))).await.is_ok());
                pending::<()>().await
            });
            outcome.await.is_err()
        };
        let both: [Pin<Box<dyn Future<Output = bool> + Send>>; 2] = [Box::pin(beside), Box::pin(limited)];
        gather(both).await
    });
    advance(ms(5)).await;
    task.cancel(None);
    assert_eq!(task.await.unwrap(), [true, true]);
}

#[eddies::test(virtual_time)]
async fn a_cancellation_that_goes_on_is_not_another_request() {
    let task = spawn(async {
        let outer = catch_cancel(cleans_up::<()>(ms(1))).await.unwrap_err();
        (outer.reason().map(str::to_owned), current_task().unwrap().cancelling())
    });
    wait_all_blocked().await;
    task.cancel("once");
    assert_eq!(task.await.unwrap(), (Some("once".to_owned()), 1));

    // Carried to another task it is a new one.
    let caught: Arc<Mutex<Option<Cancelled>>> = Arc::default();
    let put = caught.clone();
    let first = spawn(async move {
        *put.lock().unwrap() = catch_cancel(pending::<()>()).await.err();
    });
    wait_all_blocked().await;
    first.cancel("carried");
    first.await.unwrap();
    let cancelled = caught.lock().unwrap().take().unwrap();
    let second = spawn(async move { resume_cancel::<()>(cancelled).await });
    let handle = second.handle();
    assert_eq!(second.await.unwrap_err().to_string(), "the task was cancelled: carried");
    assert_eq!(handle.cancelling(), 1);
}

#[eddies::test(virtual_time)]
async fn a_deadline_may_move_to_another_task_between_two_polls() {
    let begin = eddies::now();
    let mut limited = Box::pin(with_deadline(begin + ms(10), |_| cleans_up::<()>(ms(1))));
    let first = spawn(async move {
        std::future::poll_fn(|cx| {
            assert!(limited.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        Some(limited)
    });
    let limited = first.await.unwrap().unwrap();
    assert!(spawn(limited).await.unwrap().is_err());
    assert_eq!(eddies::now() - begin, ms(11));
}

#[eddies::test(virtual_time)]
async fn a_group_and_a_deadline_that_end_at_one_instant_end_once() {
    let begin = eddies::now();
    let fail = Arc::new(Event::new());
    let failing = fail.clone();
    let outcome = with_deadline(begin + ms(10), |_| {
        task_group(|group| async move {
            group.spawn(async move {
                sleep(ms(10)).await;
                failing.set();
                Err::<(), _>("at the same instant")
            });
            pending::<Result<(), _>>().await
        })
    })
    .await;
    // Whichever was first: either the failure is told, or the deadline has passed before it.
    match outcome {
        Ok(failed) => assert!(failed.unwrap_err().errors().eq(&["at the same instant"])),
        Err(_) => assert!(!fail.is_set()),
    }
    assert_eq!(eddies::now() - begin, ms(10));
}
