//! `gather`, `try_gather`, `wait`, `as_completed`, `staggered`: the traps of asyncio's `test_tasks`. Where ours differ by design the test shows what ours do, and
//! says why.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eddies::testing::wait_all_blocked;
use eddies::{
    Exception, ExceptionKind, Runtime, Task, TaskState, When, as_completed, catch_cancel, current_task, gather, sleep,
    spawn, staggered, timeout, try_gather, wait,
};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Gives `output` after so many milliseconds.
async fn later<T>(wait: u64, output: T) -> T {
    sleep(ms(wait)).await;
    output
}

#[eddies::test(virtual_time)]
async fn trap_068_results_come_in_the_order_of_the_arguments() {
    // The same future cannot be given twice: it is owned by whoever awaits it.
    let begin = eddies::now();
    assert_eq!(gather([later(3, 'a'), later(1, 'b'), later(2, 'c')]).await, ['a', 'b', 'c']);
    assert_eq!(eddies::now() - begin, ms(3));
    assert_eq!(gather(Vec::<Task<u32>>::new()).await.len(), 0);
    assert_eq!(try_gather(Vec::<std::future::Ready<Result<u32, ()>>>::new()).await, Ok(vec![]));
}

#[test]
fn trap_069_the_first_error_leaves_at_once_and_the_siblings_run_on() {
    // An `Err` of a sibling that comes later is dropped without a word, as in asyncio. A panic that nobody reads is reported, which is more.
    let reported: Arc<Mutex<Vec<ExceptionKind>>> = Arc::default();
    let reports = reported.clone();
    let runtime = Runtime::builder()
        .virtual_time(true)
        .exception_handler(move |exception: &Exception| reports.lock().unwrap().push(exception.kind()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let begin = eddies::now();
        let panics = async {
            sleep(ms(3)).await;
            panic!("that nobody reads")
        };
        let tasks =
            [spawn(later(2, Err("late"))), spawn(later(1, Err("first"))), spawn(later(9, Ok(7))), spawn(panics)];
        let handles = tasks.each_ref().map(Task::handle);
        let outcome = try_gather(tasks.map(|task| async { task.await.unwrap() })).await;
        assert_eq!((outcome, eddies::now() - begin), (Err("first"), ms(1)));
        assert_eq!(handles.each_ref().map(|task| task.is_finished()), [false, true, false, false]);
        sleep(ms(20)).await;
        assert!(handles.iter().all(|task| task.state() == TaskState::Done));
    });
    drop(runtime);
    assert_eq!(*reported.lock().unwrap(), [ExceptionKind::Task]);
}

#[eddies::test(virtual_time)]
async fn trap_070_gather_waits_for_all_and_mixes_values_and_errors() {
    let begin = eddies::now();
    let outputs =
        gather([spawn(later(1, Err("error"))), spawn(later(5, Ok(7))), spawn(async { panic!("panic") })]).await;
    assert_eq!(eddies::now() - begin, ms(5));
    assert_eq!(*outputs[0].as_ref().unwrap(), Err("error"));
    assert_eq!(*outputs[1].as_ref().unwrap(), Ok(7));
    assert!(outputs[2].as_ref().unwrap_err().is_panic());
}

#[eddies::test(virtual_time)]
async fn trap_071_a_cancelled_child_is_an_error_and_cancels_nobody_else() {
    let child = spawn(pending::<()>());
    let handle = child.handle();
    let caller = spawn(async move {
        let error = try_gather([child]).await.unwrap_err();
        (error.is_cancelled(), current_task().unwrap().cancelling())
    });
    wait_all_blocked().await;
    handle.cancel(None);
    let state = caller.handle();
    assert_eq!(caller.await.unwrap(), (true, 0));
    assert_eq!(state.state(), TaskState::Done);
}

#[eddies::test(virtual_time)]
async fn trap_072_a_gather_that_is_cancelled_drops_its_futures_and_leaves_its_tasks() {
    // asyncio cancels the children. A handle that is dropped detaches its task everywhere here, and so it does in a gather: whoever wants tasks that end
    // together takes a `task_group`. Futures that are no tasks are dropped: that is how they are cancelled.
    let alive = Arc::new(());
    let (task, in_future) = (spawn(later(10, ())), alive.clone());
    let handle = task.handle();
    let caller = spawn(async move {
        let both = [
            Box::pin(async move { drop(task.await) }) as Pin<Box<dyn Future<Output = ()> + Send>>,
            Box::pin(async move {
                let _in_future = in_future;
                pending().await
            }),
        ];
        gather(both).await
    });
    wait_all_blocked().await;
    caller.cancel(None);
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!((Arc::strong_count(&alive), handle.cancelling()), (1, 0));
    sleep(ms(20)).await;
    assert_eq!(handle.state(), TaskState::Done);
}

#[eddies::test(virtual_time)]
async fn trap_073_wait_refuses_nothing_to_wait_for_and_takes_any_iterator() {
    // That a bare future is refused is the type's doing, and one task cannot be given twice: `&mut` borrows of it would overlap.
    let refused = catch_unwind(AssertUnwindSafe(|| wait(Vec::<Task<()>>::new(), When::All, None))).unwrap_err();
    assert!(refused.downcast_ref::<&str>().unwrap().contains("no tasks"));
    let (done, rest) = wait((0..5).map(|n| spawn(async move { n })).filter(|_| true), When::All, None).await;
    assert_eq!((done.len(), rest.len()), (5, 0));
}

#[eddies::test(virtual_time)]
async fn trap_074_the_end_of_the_time_is_no_error_and_neither_that_nor_a_cancellation_touches_the_tasks() {
    let begin = eddies::now();
    let (done, rest) = wait([spawn(later(5, 1)), spawn(later(50, 2))], When::All, Some(ms(10))).await;
    assert_eq!((done.len(), rest.len(), eddies::now() - begin), (1, 1, ms(10)));
    let handles: Vec<_> = rest.iter().map(Task::handle).collect();
    let waiter = spawn(async move { wait(rest, When::All, None).await.0.len() });
    wait_all_blocked().await;
    waiter.cancel(None);
    assert!(waiter.await.unwrap_err().is_cancelled());
    assert_eq!((handles[0].cancelling(), handles[0].state()), (0, TaskState::Pending));
    sleep(ms(100)).await;
    assert_eq!(handles[0].state(), TaskState::Done);
}

#[eddies::test(virtual_time)]
async fn trap_075_first_exception_ignores_cancelled_tasks_and_waits_for_all_if_none_panics() {
    let cancelled = spawn(pending());
    cancelled.cancel(None);
    let begin = eddies::now();
    let (done, rest) = wait([cancelled, spawn(later(5, 1)), spawn(later(9, 2))], When::FirstException, None).await;
    assert_eq!((done.len(), rest.len(), eddies::now() - begin), (3, 0, ms(9)));

    let panics = spawn(async {
        sleep(ms(3)).await;
        panic!("an exception")
    });
    let begin = eddies::now();
    let (done, rest) = wait([spawn(later(1, 1)), panics, spawn(pending())], When::FirstException, None).await;
    assert_eq!((done.len(), rest.len(), eddies::now() - begin), (2, 1, ms(3)));
    assert!(done.into_iter().nth(1).unwrap().await.unwrap_err().is_panic());
}

#[eddies::test(virtual_time)]
async fn trap_076_a_task_that_finishes_at_the_instant_at_which_the_time_ends_is_done() {
    for limit_first in [false, true] {
        let when = eddies::now() + ms(10);
        let at_the_instant = |n: u32| {
            spawn(async move {
                eddies::sleep_until(when).await;
                n
            })
        };
        let tasks = [at_the_instant(1), at_the_instant(2)];
        if !limit_first {
            // Their timers are there before that of the wait, and fire before it.
            wait_all_blocked().await;
            let (done, rest) = wait(tasks, When::All, Some(ms(10))).await;
            assert_eq!((done.len(), rest.len()), (2, 0));
        } else {
            // The wait's timer fires first, but it divides the tasks by what they are when it is polled. None is lost either way.
            let waiter = spawn(wait(tasks, When::All, Some(ms(10))));
            let (done, rest) = waiter.await.unwrap();
            assert_eq!(done.len() + rest.len(), 2);
            let (late, _) = wait(done.into_iter().chain(rest), When::All, None).await;
            assert_eq!((late.len(), eddies::now()), (2, when));
        }
    }
}

#[eddies::test(virtual_time)]
async fn trap_077_the_second_that_is_asked_for_is_the_second_that_finishes() {
    // asyncio hands out placeholders, which can be awaited in any order. A stream gives one after the other: there is nothing to mix up.
    let mut outputs = as_completed([later(30, 'c'), later(10, 'a'), later(20, 'b')]);
    let begin = eddies::now();
    let first = outputs.next().await;
    assert_eq!((first, eddies::now() - begin), (Some('a'), ms(10)));
    let second = outputs.next().await;
    assert_eq!((second, eddies::now() - begin), (Some('b'), ms(20)));
    assert_eq!((outputs.next().await, outputs.next().await), (Some('c'), None));
}

#[eddies::test(virtual_time)]
async fn trap_078_who_finished_is_told_by_the_future_and_the_stream_can_be_left_and_resumed() {
    // asyncio gives the task object back. Here the output is taken from the handle; what names it, the future gives too.
    let mut tasks = [spawn(later(20, "slow")), spawn(later(10, "fast"))];
    let ids = tasks.each_ref().map(|task| task.id());
    let mut outputs = as_completed(tasks.iter_mut().map(|task| async {
        let id = task.id();
        (id, task.await.unwrap())
    }));
    let mut seen = Vec::new();
    seen.extend(outputs.next().await);
    sleep(ms(100)).await;
    while let Some(output) = outputs.next().await {
        seen.push(output);
    }
    assert_eq!(seen, [(ids[1], "fast"), (ids[0], "slow")]);
}

#[eddies::test(virtual_time)]
async fn trap_079_the_time_for_the_next_one_leaves_the_rest_running_and_its_timer_goes_with_it() {
    let mut outputs = as_completed([spawn(later(10, 1)), spawn(later(50, 2))]);
    assert_eq!(timeout(ms(20), outputs.next()).await.unwrap().unwrap().unwrap(), 1);
    assert!(timeout(ms(20), outputs.next()).await.is_err());
    let begin = eddies::now();
    assert_eq!(outputs.next().await.unwrap().unwrap(), 2);
    assert_eq!(eddies::now() - begin, ms(20), "it ran on meanwhile");

    // Time that is not needed does not pass.
    let begin = eddies::now();
    let mut outputs = as_completed([later(1, 3)]);
    assert_eq!(timeout(Duration::from_secs(3600), outputs.next()).await, Ok(Some(3)));
    assert_eq!(timeout(Duration::from_secs(3600), outputs.next()).await, Ok(None));
    assert_eq!(eddies::now() - begin, ms(1));
}

/// A runner that notes that it was called.
fn runner(
    calls: &Arc<Mutex<Vec<(usize, Duration)>>>,
    number: usize,
    wait: u64,
    outcome: Result<&'static str, &'static str>,
) -> impl FnOnce() -> Pin<Box<dyn Future<Output = Result<&'static str, &'static str>> + Send>> {
    let (calls, begin) = (calls.clone(), eddies::now());
    move || {
        calls.lock().unwrap().push((number, eddies::now() - begin));
        Box::pin(later(wait, outcome))
    }
}

#[eddies::test(virtual_time)]
async fn runners_start_one_after_the_other_and_the_first_success_wins() {
    let calls = Arc::default();
    let runners = [runner(&calls, 0, 100, Ok("a")), runner(&calls, 1, 15, Ok("b")), runner(&calls, 2, 30, Ok("c"))];
    let begin = eddies::now();
    assert_eq!(staggered(runners, ms(10)).await, Ok("b"));
    assert_eq!(eddies::now() - begin, ms(25));
    assert_eq!(*calls.lock().unwrap(), [(0, ms(0)), (1, ms(10)), (2, ms(20))]);
}

#[eddies::test(virtual_time)]
async fn a_runner_that_fails_lets_the_next_one_start_at_once_and_all_errors_are_given_in_order() {
    let calls = Arc::default();
    let runners = [
        runner(&calls, 0, 40, Err("slow")),
        runner(&calls, 1, 5, Err("fast")),
        runner(&calls, 2, 1, Err("faster")),
        runner(&calls, 3, 1, Err("last")),
    ];
    let begin = eddies::now();
    assert_eq!(staggered(runners, ms(10)).await, Err(vec!["slow", "fast", "faster", "last"]));
    assert_eq!(eddies::now() - begin, ms(40));
    assert_eq!(*calls.lock().unwrap(), [(0, ms(0)), (1, ms(10)), (2, ms(15)), (3, ms(16))]);
}

#[eddies::test(virtual_time)]
async fn without_a_delay_runners_take_turns_and_those_that_are_not_needed_are_not_called() {
    let calls = Arc::default();
    let runners =
        [runner(&calls, 0, 20, Err("no")), runner(&calls, 1, 20, Ok("yes")), runner(&calls, 2, 1, Ok("never"))];
    assert_eq!(staggered(runners, None).await, Ok("yes"));
    assert_eq!(calls.lock().unwrap().len(), 2);
    assert_eq!(staggered(Vec::<fn() -> std::future::Ready<Result<(), ()>>>::new(), ms(1)).await, Err(vec![]));
}

#[eddies::test(virtual_time)]
async fn the_losers_of_a_race_are_dropped_before_it_ends() {
    let alive = Arc::new(());
    let dropped = AtomicUsize::new(0);
    let runners = [1_000, 30, 1_000].map(|wait| {
        let (held, dropped) = (alive.clone(), &dropped);
        move || async move {
            let _held = held;
            dropped.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(later(wait, wait).await)
        }
    });
    assert_eq!(staggered(runners, ms(1)).await, Ok(30));
    assert_eq!((Arc::strong_count(&alive), dropped.load(Ordering::Relaxed)), (1, 3));
}

#[eddies::test(virtual_time)]
async fn a_cancelled_gather_of_scopes_cleans_up_in_each() {
    let task = spawn(async {
        let cleaned = gather((0..3).map(|n| async move {
            let _ = catch_cancel(pending::<()>()).await;
            later(n, ()).await;
        }));
        cleaned.await.len()
    });
    wait_all_blocked().await;
    task.cancel(None);
    assert_eq!(task.await.unwrap(), 3);
}
