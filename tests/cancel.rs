//! Cancellation: asked for, caught, refused, counted. The traps are those of asyncio's own test suite.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eddies::{
    Runtime, TaskState, all_tasks, catch_cancel, current_task, gather, sleep, spawn, spawn_blocking, spawn_local,
    yield_now,
};

/// A runtime of one loop: what is spawned runs when the test awaits, in order.
fn single(test: impl Future<Output = ()>) {
    Runtime::builder().workers(1).build().unwrap().block_on(test);
}

async fn let_it_wait() {
    for _ in 0..3 {
        yield_now().await;
    }
}

#[test]
fn trap_053_a_task_that_was_asked_is_not_cancelled_before_it_has_ended() {
    single(async {
        let dropped = Arc::new(AtomicBool::new(false));
        struct Awaited(Arc<AtomicBool>);
        impl Drop for Awaited {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let inner = Awaited(dropped.clone());
        let task = spawn(async move {
            let _ = catch_cancel(async move {
                let _inner = inner;
                pending::<()>().await;
            })
            .await;
            pending::<()>().await;
        });
        let_it_wait().await;
        assert!(task.cancel(None));
        assert!(!task.cancelled() && !task.is_finished());
        let_it_wait().await;
        assert!(dropped.load(Ordering::Relaxed), "what it waited for is gone");
        assert!(!task.cancelled(), "it is still cleaning up");
        task.cancel(None);
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn trap_054_cancelled_before_its_first_poll_the_body_never_runs_but_its_captures_are_dropped() {
    single(async {
        let captured = Arc::new(());
        let inside = captured.clone();
        let task = spawn(async move {
            let _inside = inside;
            panic!("the body ran");
        });
        assert!(task.cancel("too late for you"));
        let error = task.await.unwrap_err();
        assert_eq!(error.to_string(), "the task was cancelled: too late for you");
        assert_eq!(Arc::strong_count(&captured), 1);
    });
}

#[test]
fn trap_055_a_task_that_cancels_itself_ends_at_its_next_wait_or_instead_of_giving_its_value() {
    single(async {
        let reached = Arc::new(AtomicUsize::new(0));
        let mark = reached.clone();
        let task = spawn(async move {
            current_task().unwrap().cancel("myself");
            mark.store(1, Ordering::Relaxed);
            yield_now().await;
            mark.store(2, Ordering::Relaxed);
        });
        assert_eq!(task.await.unwrap_err().to_string(), "the task was cancelled: myself");
        assert_eq!(reached.load(Ordering::Relaxed), 1);

        let task = spawn(async { current_task().unwrap().cancel(None) });
        assert!(task.await.unwrap_err().is_cancelled(), "no wait came, and it has no value all the same");

        // Its next wait is inside of a scope.
        let task = spawn(async {
            current_task().unwrap().cancel(None);
            catch_cancel(yield_now()).await.is_err()
        });
        assert!(task.await.unwrap());
    });
}

#[test]
fn trap_056_who_cancels_itself_and_awaits_a_task_leaves_that_task_alone() {
    // asyncio cancels the awaited task; here it is detached, and whoever wants it to go cancels it.
    single(async {
        let inner = spawn(pending::<()>());
        let handle = inner.handle();
        let outer = spawn(async move {
            current_task().unwrap().cancel(None);
            inner.await
        });
        assert!(outer.await.unwrap_err().is_cancelled());
        assert_eq!((handle.state(), handle.cancelling()), (TaskState::Pending, 0));
        handle.abort();
    });
}

#[test]
fn trap_057_a_cancellation_does_not_pass_from_the_awaiting_to_the_awaited() {
    single(async {
        let inner = spawn(async {
            sleep(Duration::from_millis(1)).await;
            7
        });
        let handle = inner.handle();
        let outer = spawn(inner);
        let_it_wait().await;
        outer.cancel(None);
        assert!(outer.await.unwrap_err().is_cancelled());
        while !handle.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(handle.state(), TaskState::Done);
    });
}

#[test]
fn trap_058_a_task_may_catch_and_return_or_catch_and_go_on() {
    single(async {
        let task = spawn(async { if catch_cancel(pending::<()>()).await.is_err() { 42 } else { 0 } });
        let_it_wait().await;
        task.cancel(None);
        assert_eq!(task.await.unwrap(), 42);

        let task = spawn(async {
            let mut caught = 0;
            while caught < 3 {
                caught += usize::from(catch_cancel(pending::<()>()).await.is_err());
            }
            yield_now().await;
            caught
        });
        for _ in 0..3 {
            let_it_wait().await;
            assert!(task.cancel(None));
        }
        let handle = task.handle();
        assert_eq!(task.await.unwrap(), 3);
        assert_eq!((handle.state(), handle.cancelled()), (TaskState::Done, false));
    });
}

#[test]
fn trap_059_every_request_counts_until_the_task_is_done() {
    single(async {
        let task = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
        });
        assert_eq!(task.cancelling(), 0);
        let_it_wait().await;
        assert!(task.cancel("first") && task.cancel("second"));
        assert_eq!(task.cancelling(), 2);
        let handle = task.handle();
        task.await.unwrap();
        assert!(!handle.cancel("too late"));
        assert_eq!(handle.cancelling(), 2);
    });
}

#[test]
fn trap_060_uncancel_stops_at_zero_and_withdraws_what_was_not_taken() {
    single(async {
        let task = spawn(async { 7 });
        assert_eq!(task.uncancel(), 0);
        task.cancel(None);
        task.cancel(None);
        assert_eq!((task.uncancel(), task.uncancel(), task.uncancel()), (1, 0, 0));
        let handle = task.handle();
        assert_eq!(task.await.unwrap(), 7);
        assert_eq!(handle.uncancel(), 0, "useless after the end");

        let task = spawn(catch_cancel(async {
            yield_now().await;
            8
        }));
        yield_now().await;
        task.cancel(None);
        assert_eq!(task.uncancel(), 0);
        assert_eq!(task.await.unwrap(), Ok(8), "withdrawn from a scope too");
    });
}

#[test]
fn trap_061_who_asked_takes_its_own_request_back_and_leaves_the_others() {
    // What a time limit does with the task it runs in: note the count, ask, catch, take back, compare.
    single(async {
        async fn limited(cancel_from_outside: bool) -> &'static str {
            let me = current_task().unwrap();
            let before = me.cancelling();
            let (limit, outside) = (me.clone(), me.clone());
            let timer = spawn(async move {
                limit.cancel("time is up");
                if cancel_from_outside {
                    outside.cancel("somebody else");
                }
            });
            let caught = catch_cancel(pending::<()>()).await;
            timer.await.unwrap();
            assert!(caught.is_err());
            if me.uncancel() == before { "elapsed" } else { "cancelled" }
        }
        assert_eq!(spawn(limited(false)).await.unwrap(), "elapsed");
        assert_eq!(spawn(limited(true)).await.unwrap(), "cancelled");
    });
}

#[test]
fn trap_062_a_cancelled_child_is_an_error_that_the_parent_is_given() {
    single(async {
        let child = spawn(pending::<()>());
        let handle = child.handle();
        let parent = spawn(async move {
            let outcome = child.await;
            (outcome.unwrap_err().is_cancelled(), current_task().unwrap().cancelling())
        });
        let_it_wait().await;
        handle.cancel(None);
        assert_eq!(parent.await.unwrap(), (true, 0));
    });
}

#[test]
fn trap_063_a_request_wins_over_a_wake_that_came_first_and_nothing_is_lost() {
    single(async {
        let (give, take) = eddies::sync::channel::<u32>(1);
        let task = spawn({
            let mut take = take;
            async move {
                let caught = catch_cancel(take.recv()).await.is_err();
                (caught, take.recv().await)
            }
        });
        let_it_wait().await;
        give.send(7).await.unwrap();
        task.cancel(None);
        assert_eq!(task.await.unwrap(), (true, Some(7)), "the value was still there");
    });
}

#[test]
fn trap_064_what_goes_wrong_in_the_cleanup_takes_the_place_of_the_cancellation() {
    single(async {
        let task = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            Err::<(), _>("the cleanup failed")
        });
        let_it_wait().await;
        task.cancel(None);
        let handle = task.handle();
        assert_eq!(task.await.unwrap(), Err("the cleanup failed"));
        assert_eq!(handle.state(), TaskState::Done);

        let task = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            panic!("the cleanup panicked");
        });
        let_it_wait().await;
        task.cancel(None);
        assert!(task.await.unwrap_err().is_panic());
    });
}

#[test]
fn trap_065_the_reason_reaches_scope_and_awaiter() {
    single(async {
        let task = spawn(async { catch_cancel(pending::<()>()).await.unwrap_err().reason().map(str::to_owned) });
        let_it_wait().await;
        task.cancel("for a reason");
        assert_eq!(task.await.unwrap().as_deref(), Some("for a reason"));

        let mut task = spawn(pending::<()>());
        task.cancel("first");
        task.cancel("last");
        while !task.is_finished() {
            yield_now().await;
        }
        let Some(Err(eddies::TaskError::Cancelled(cancelled))) = task.result() else { panic!("{task:?}") };
        assert_eq!(cancelled.reason(), Some("last"));
    });
}

#[test]
fn the_innermost_scope_catches_and_the_outer_one_hears_the_next_request() {
    single(async {
        let task = spawn(async {
            catch_cancel(async {
                let inner = catch_cancel(pending::<()>()).await;
                assert_eq!(inner.unwrap_err().reason(), Some("one"));
                pending::<()>().await;
            })
            .await
            .unwrap_err()
            .reason()
            .map(str::to_owned)
        });
        let_it_wait().await;
        task.cancel("one");
        let_it_wait().await;
        assert!(!task.is_finished());
        task.cancel("two");
        assert_eq!(task.await.unwrap().as_deref(), Some("two"));
    });
}

#[test]
fn scopes_beside_each_other_all_catch() {
    single(async {
        let task = spawn(async {
            let caught = gather((0..5).map(|_| catch_cancel(pending::<()>()))).await;
            caught.into_iter().filter(Result::is_err).count()
        });
        let_it_wait().await;
        task.cancel(None);
        assert_eq!(task.await.unwrap(), 5);
    });
}

#[test]
fn a_scope_that_is_never_polled_again_does_not_save_the_task() {
    single(async {
        let task = spawn(async {
            let mut kept = Box::pin(catch_cancel(pending::<()>()));
            std::future::poll_fn(|cx| {
                assert!(kept.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            pending::<()>().await;
        });
        let_it_wait().await;
        task.cancel(None);
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_scope_belongs_to_the_task_that_polls_it() {
    single(async {
        let mut scope = Box::pin(catch_cancel(pending::<()>()));
        let first = spawn(async move {
            std::future::poll_fn(|cx| {
                assert!(scope.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            Some(scope)
        });
        let scope = first.await.unwrap().unwrap();
        let second = spawn(scope);
        let_it_wait().await;
        second.cancel("moved");
        assert_eq!(second.await.unwrap().unwrap_err().reason(), Some("moved"));
    });
}

#[test]
fn a_local_task_can_catch_too() {
    single(async {
        let shared = Rc::new(5);
        let task = spawn_local(async move {
            let caught = catch_cancel(pending::<()>()).await.is_err();
            *shared + usize::from(caught)
        });
        let_it_wait().await;
        task.cancel(None);
        assert_eq!(task.await.unwrap(), 6);
    });
}

#[test]
fn a_blocking_job_can_be_cancelled_before_it_begins_and_keeps_its_value_after() {
    let runtime = Runtime::builder().workers(1).blocking_threads(1).build().unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async move {
        let running = spawn_blocking(move || {
            begun.send(()).unwrap();
            may_go.recv().unwrap();
            1
        });
        let queued = spawn_blocking(|| panic!("it began"));
        has_begun.recv().unwrap();
        assert!(running.cancel(None) && queued.cancel(None));
        go.send(()).unwrap();
        assert_eq!(running.await.unwrap(), 1);
        assert!(queued.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_shutdown_lets_the_cleanup_run_and_aborts_what_refuses() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let cleaned = Arc::new(AtomicBool::new(false));
    let (mark, started) = (cleaned.clone(), Arc::new(AtomicUsize::new(0)));
    let (one, two) = (started.clone(), started.clone());
    runtime.spawn(async move {
        one.fetch_add(1, Ordering::Relaxed);
        let reason = catch_cancel(pending::<()>()).await.unwrap_err();
        assert_eq!(reason.reason(), Some("the runtime shuts down"));
        sleep(Duration::from_millis(1)).await;
        mark.store(true, Ordering::Relaxed);
    });
    runtime.spawn(async move {
        two.fetch_add(1, Ordering::Relaxed);
        loop {
            let _refused = catch_cancel(pending::<()>()).await;
        }
    });
    runtime.block_on(async {
        while started.load(Ordering::Relaxed) < 2 {
            yield_now().await;
        }
    });
    let begin = Instant::now();
    let outcome = runtime.shutdown(Duration::from_millis(50));
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(begin.elapsed() >= Duration::from_millis(50), "it was given its time");
    assert!(cleaned.load(Ordering::Relaxed));
}

#[test]
fn local_tasks_clean_up_before_block_on_returns() {
    let cleaned = Rc::new(std::cell::Cell::new(false));
    let mark = cleaned.clone();
    single(async move {
        drop(spawn_local(async move {
            let _ = catch_cancel(pending::<()>()).await;
            sleep(Duration::from_millis(1)).await;
            mark.set(true);
        }));
        let_it_wait().await;
    });
    assert!(cleaned.get());
}

#[test]
fn trap_044_the_current_task_is_right_when_tasks_take_turns() {
    single(async {
        assert!(current_task().is_none(), "the main future is no task");
        let names = ["a", "b", "c"].map(|name| {
            eddies::TaskBuilder::new().name(name).spawn(async move {
                for _ in 0..5 {
                    assert_eq!(current_task().unwrap().name(), Some(name));
                    yield_now().await;
                }
            })
        });
        for task in names {
            task.await.unwrap();
        }
        assert!(spawn_blocking(|| current_task().is_none()).await.unwrap());
    });
    assert!(current_task().is_none());
}

#[test]
fn trap_045_all_tasks_are_those_of_this_runtime_that_are_not_done() {
    single(async {
        let done = spawn(async {});
        let waiting = spawn(pending::<()>());
        let local = spawn_local(pending::<()>());
        let_it_wait().await;
        assert!(done.is_finished());
        let all = all_tasks();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&waiting.handle()) && all.contains(&local.handle()));
        let elsewhere = std::thread::spawn(|| eddies::run(async { all_tasks().len() })).join().unwrap();
        assert_eq!(elsewhere, 0);
    });
}

#[test]
fn trap_049_debug_shows_the_way_from_pending_to_the_end() {
    single(async {
        let task = eddies::TaskBuilder::new().name("walker").spawn(async {
            let seen = format!("{:?}", current_task().unwrap());
            let _ = catch_cancel(pending::<()>()).await;
            yield_now().await;
            seen
        });
        let handle = task.handle();
        let place = handle.spawned_at();
        assert_eq!(format!("{task:?}"), format!("<Task pending name=\"walker\" spawned at {place}>"));
        let_it_wait().await;
        task.cancel(None);
        assert!(format!("{task:?}").starts_with("<Task cancelling "));
        let seen = task.await.unwrap();
        assert!(seen.starts_with("<Task running "), "{seen}");
        assert!(format!("{handle:?}").starts_with("<Task finished "));
        let other = spawn(pending::<()>());
        let handle = other.handle();
        other.cancel(None);
        let _ = other.await;
        assert!(format!("{handle:?}").starts_with("<Task cancelled "));
    });
}

/// Works in two scopes beside each other until a request has ended both, four times over.
async fn worked_on(naps: bool) -> usize {
    async fn work(naps: bool) {
        loop {
            yield_now().await;
            if naps {
                sleep(Duration::from_micros(50)).await;
            }
        }
    }
    let mut caught = 0;
    while caught < 4 {
        let ended = gather((0..2).map(|_| catch_cancel(work(naps)))).await;
        caught += usize::from(ended.iter().all(Result::is_err));
    }
    caught
}

fn pester(task: &eddies::TaskHandle) {
    while !task.is_finished() {
        task.cancel("stress");
        std::thread::yield_now();
    }
}

#[test]
fn requests_from_many_threads_reach_a_task_that_works() {
    // No order is enforced: this is the stress to the models' proof.
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for round in 0..200 {
        let task = runtime.spawn(worked_on(round % 2 == 0));
        let handles = [task.handle(), task.handle()];
        let outcome = std::thread::scope(|scope| {
            for handle in &handles {
                scope.spawn(move || pester(handle));
            }
            runtime.block_on(task)
        });
        match outcome {
            Ok(caught) => assert_eq!(caught, 4),
            // Asked between two scopes, or before the first poll: dropped whole.
            Err(error) => assert!(error.is_cancelled()),
        }
    }
}

#[eddies::test(virtual_time)]
async fn trap_047_a_cancelled_sleep_takes_its_timer_along() {
    let begin = eddies::now();
    let cancel = |task: &eddies::TaskHandle| assert!(task.cancel(None));
    for end in [cancel, eddies::TaskHandle::abort] {
        let sleeper = spawn(sleep(Duration::from_secs(3600)));
        let_it_wait().await;
        end(&sleeper);
        assert!(sleeper.await.unwrap_err().is_cancelled());
        // A timer that was left behind would be the next deadline, and the clock would jump there.
        let (give, take) = eddies::sync::oneshot();
        let outside = std::thread::spawn(move || give.send(()));
        take.await.unwrap();
        outside.join().unwrap().unwrap();
        assert_eq!(eddies::now(), begin);
    }
}
