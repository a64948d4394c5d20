//! Futures: answered twice, never, by nobody; callbacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use eddies::sync::{channel, oneshot};
use eddies::{EventLoop, FutureError, LoopFuture, Task, TaskError, When, timeout};

use super::{Heard, ends, listening, panic_of, runtime, says};

#[test]
fn answered_a_future_twice() {
    ends(|| {
        eddies::run(async {
            let future = LoopFuture::new();
            future.set_result(1).unwrap();
            says(future.set_result(2).unwrap_err(), &["has a result already"]);
            says(future.set_error("late").unwrap_err(), &["has a result already"]);
            assert!(!future.cancel("late") && !future.cancelled());
            assert_eq!(future.result().unwrap(), 1);
            let failed = LoopFuture::<u32>::new();
            failed.set_error("first").unwrap();
            says(failed.set_result(2).unwrap_err(), &["has an error already"]);
            assert_eq!(failed.await.unwrap_err().to_string(), "first");
            let cancelled = LoopFuture::new();
            assert!(cancelled.cancel(None));
            says(cancelled.set_result(2).unwrap_err(), &["was cancelled"]);
        });
    });
}

#[test]
fn set_the_result_of_a_task() {
    ends(|| {
        eddies::run(async {
            let task = eddies::ensure_future(async { 1 });
            says(task.set_result(2).unwrap_err(), &["is what the task returns, and cannot be set"]);
            assert_eq!(task.await.unwrap(), 1);
        });
    });
}

#[test]
fn dropped_the_future_that_others_wait_for() {
    ends(|| {
        let (event_loop, heard) = listening();
        let future = event_loop.create_future::<u32>();
        let waiter = event_loop.create_task(future.clone().into_future()).unwrap();
        event_loop.run_once().unwrap();
        drop(future);
        // As in asyncio nobody can answer it any more, and whoever waits for it waits on. It is seen in the task, the wait can be limited, and
        // the close of the loop ends it and says so.
        event_loop.run_once().unwrap();
        says(format!("{waiter:?}"), &["<Task pending", "wait_for=<Future made at tests/misuse/futures.rs"]);
        let limited = event_loop.run_until_complete(timeout(Duration::from_millis(2), &waiter)).unwrap();
        says(limited.unwrap_err(), &["elapsed"]);
        event_loop.close().unwrap();
        assert!(waiter.cancelled());
        says(&heard.lock().unwrap()[0], &["Task was destroyed but it is pending!", "futures.rs"]);
    });
}

#[test]
fn dropped_the_sender_that_others_wait_for() {
    ends(|| {
        eddies::run(async {
            // What has one who answers says so when he is gone.
            let (sender, receiver) = oneshot::<u32>();
            drop(sender);
            says(receiver.await.unwrap_err(), &["no value was sent, and none will be"]);
            let (sender, mut receiver) = channel::<u32>(1);
            drop(sender);
            assert_eq!(receiver.recv().await, None);
        });
    });
}

#[test]
fn awaited_ones_own_future() {
    ends(|| {
        eddies::run(async {
            let (tell, hear) = oneshot::<LoopFuture<String>>();
            let task = eddies::ensure_future(async move {
                let own = hear.await.unwrap();
                own.await.unwrap_err().to_string()
            });
            tell.send(task.clone()).unwrap();
            says(task.await.unwrap(), &["a task awaits its own future"]);
        });
    });
}

#[test]
fn awaited_ones_own_task() {
    ends(|| {
        let (runtime, heard) = runtime(2);
        let mine = runtime.block_on(async {
            let (tell, hear) = oneshot::<Task<()>>();
            let task = eddies::TaskBuilder::new().name("ouroboros").spawn(async move {
                let _ = hear.await.unwrap().await;
            });
            let mine = task.handle();
            assert!(tell.send(task).is_ok());
            while !mine.is_finished() {
                eddies::yield_now().await;
            }
            mine
        });
        assert!(!mine.cancelled());
        // The handle was the task's own, so there is nobody to read the panic but the exception handler.
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        says(&heard[0], &["task `ouroboros` spawned at tests/misuse/futures.rs", "a task awaits itself", "never"]);
    });
}

#[test]
fn waited_for_oneself_among_others() {
    ends(|| {
        eddies::run(async {
            let (tell, hear) = oneshot::<LoopFuture<usize>>();
            let task = eddies::ensure_future(async move {
                let own = hear.await.unwrap();
                let limit = Some(Duration::from_millis(2));
                eddies::wait([&own], When::All, limit).await.1.len()
            });
            tell.send(task.clone()).unwrap();
            // `wait` reads nothing, so it cannot tell; its limit ends it.
            assert_eq!(task.await.unwrap(), 1);
        });
    });
}

#[test]
fn waited_for_nothing() {
    ends(|| {
        let none: [Task<()>; 0] = [];
        says(panic_of(|| drop(eddies::wait(none, When::All, None))), &["no tasks", "nothing to wait for"]);
        let none: [Task<()>; 0] = [];
        assert!(EventLoop::new().unwrap().run_until_complete(eddies::gather(none)).unwrap().is_empty());
    });
}

#[test]
fn polled_what_was_ready_before() {
    ends(|| {
        eddies::run(async {
            let mut task = eddies::spawn(async { 1 });
            assert_eq!((&mut task).await.unwrap(), 1);
            assert!(task.result().is_none());
            let again = eddies::spawn(async move { (&mut task).await.is_ok() });
            let TaskError::Panicked(panic) = again.await.unwrap_err() else { unreachable!() };
            says(panic.message(), &["a Task was polled again after it had given its output"]);
        });
    });
}

#[test]
fn made_a_future_where_no_loop_is() {
    ends(|| says(panic_of(LoopFuture::<u32>::new), &["LoopFuture::new needs an eddies runtime", "`novice`"]));
}

#[test]
fn removed_a_callback_twice_or_from_another_future() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let (one, two) = (event_loop.create_future::<()>(), event_loop.create_future::<()>());
        let id = one.add_done_callback(|_| unreachable!("it was removed"));
        assert!(!two.remove_done_callback(id));
        assert!(one.remove_done_callback(id) && !one.remove_done_callback(id));
        one.set_result(()).unwrap();
        event_loop.run_once().unwrap();
    });
}

#[test]
fn answered_a_future_in_its_own_done_callback() {
    ends(|| {
        let (event_loop, heard) = listening();
        let future = event_loop.create_future();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        future.add_done_callback(move |future| {
            count.fetch_add(1, SeqCst);
            assert!(future.set_result(2).is_err() && !future.cancel(None));
            let again = count.clone();
            future.add_done_callback(move |_| assert_eq!(again.fetch_add(1, SeqCst), 1));
        });
        future.set_result(1).unwrap();
        event_loop.run_once().unwrap();
        event_loop.run_once().unwrap();
        assert_eq!((calls.load(SeqCst), future.result().unwrap()), (2, 1));
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn read_no_error() {
    ends(|| {
        let (event_loop, heard): (EventLoop, Heard) = listening();
        let future = event_loop.create_future::<u32>();
        future.set_error("the disk is full").unwrap();
        let inner = event_loop.clone();
        event_loop.call_soon(move || drop((future, inner))).unwrap();
        event_loop.run_once().unwrap();
        says(
            &heard.lock().unwrap()[0],
            &["future made at tests/misuse/futures.rs", "nobody read its error: the disk is full"],
        );
    });
}

#[test]
fn passed_an_error_that_is_no_result_yet_on() {
    ends(|| {
        eddies::run(async {
            let (pending, future) = (LoopFuture::<u32>::new(), LoopFuture::<u32>::new());
            future.set_error(pending.result().unwrap_err()).unwrap();
            // It does not make the other one look pending.
            assert!(matches!(future.result(), Err(FutureError::Failed(_))));
            assert!(future.is_finished());
        });
    });
}
