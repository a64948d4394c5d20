//! Tasks: dropped, blocked, cancelled in strange places.

use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use eddies::sync::{OneshotSender, oneshot};
use eddies::{EventLoop, Runtime, TaskBuilder, catch_cancel, sleep, spawn, spawn_blocking, yield_now};

use super::{ends, listening, panic_of, runtime, says};

#[test]
fn dropped_a_task_that_was_pending() {
    ends(|| {
        let (tell, hear) = oneshot();
        eddies::run(async {
            // It is detached, and runs on; nobody is told, for nothing is wrong.
            let (go, going) = oneshot::<()>();
            drop(spawn(async move {
                going.await.unwrap();
                tell.send("ran on").unwrap();
            }));
            go.send(()).unwrap();
            assert_eq!(hear.await, Ok("ran on"));
        });
    });
}

#[test]
fn forgot_the_await() {
    ends(|| {
        let has_run = Arc::new(AtomicBool::new(false));
        let runs = has_run.clone();
        // The compiler warns of this one: unused `Future` that must be used.
        drop(async move { runs.store(true, SeqCst) });
        assert!(!has_run.load(SeqCst));
    });
}

#[test]
fn blocked_in_a_coroutine() {
    ends(|| {
        let (tell, hear) = mpsc::channel();
        let runtime = Runtime::builder()
            .workers(1)
            .slow_poll(Duration::from_millis(5))
            .on_slow_poll(move |slow| drop(tell.send(slow.to_string())))
            .build()
            .unwrap();
        let said = runtime.block_on(async {
            // It blocks until it is told off.
            let hog = TaskBuilder::new().name("hog").spawn(async move { hear.recv().unwrap() });
            hog.await.unwrap()
        });
        says(
            said,
            &["task `hog` spawned at tests/misuse/tasks.rs", "holds worker 0", "`spawn_blocking`", "`yield_now`"],
        );
    });
}

#[test]
fn blocked_in_a_coroutine_for_another_coroutine() {
    ends(|| {
        // On a single loop this would hang for ever; the wait is refused in words.
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let message = event_loop.run_until_complete(async move {
            let other = handle.run_coroutine_threadsafe(async { 1 }).unwrap();
            panic_of(|| other.wait())
        });
        says(
            message.unwrap(),
            &["runs an event loop", "must not block", "tests/misuse/tasks.rs", "`.await` it with `into_task`"],
        );
    });
}

#[test]
fn waited_for_the_loop_on_its_own_thread_while_it_does_not_run() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.handle().run_coroutine_threadsafe(async { 1 }).unwrap();
        let message = panic_of(|| task.wait());
        says(message, &["this thread's", "does not run", "`run_until_complete`"]);
    });
}

#[test]
fn spawned_a_local_task_from_a_blocking_thread() {
    ends(|| {
        eddies::run(async {
            let message = spawn_blocking(|| panic_of(|| eddies::spawn_local(async {}))).await.unwrap();
            says(message, &["`spawn_local` needs a thread that runs a loop", "a blocking job", "call it from a task"]);
        });
    });
}

#[test]
fn ran_a_coroutine_on_a_blocking_thread() {
    ends(|| {
        eddies::run(async {
            let handle = eddies::LoopHandle::current();
            let sum = spawn_blocking(move || {
                handle.block_on(async {
                    sleep(Duration::from_millis(1)).await;
                    3
                })
            });
            assert_eq!(sum.await.unwrap(), 3);
            // A socket or a timer in a job that nobody polls in a loop works as well: the loops serve it.
            let nested = spawn_blocking(|| eddies::run(async { spawn(async { 4 }).await }));
            assert_eq!(nested.await.unwrap().unwrap(), 4);
        });
    });
}

#[test]
fn cancelled_oneself_in_a_loop() {
    ends(|| {
        eddies::run(async {
            let task = spawn(async {
                let me = eddies::current_task().unwrap();
                for n in 1..=1000 {
                    assert!(me.cancel(format!("{n}").as_str()));
                }
                let caught = catch_cancel(pending::<()>()).await.unwrap_err();
                assert_eq!((caught.reason(), me.cancelling()), (Some("1000"), 1000));
                for _ in 0..1000 {
                    me.cancel(None);
                    assert!(catch_cancel(yield_now()).await.is_err());
                    me.uncancel();
                }
                me.cancelling()
            });
            // It refused them all, and took half of them back.
            assert_eq!(task.await.unwrap(), 1000);
        });
    });
}

#[test]
fn cancelled_oneself_at_the_very_end() {
    ends(|| {
        eddies::run(async {
            let task = spawn(async { eddies::current_task().unwrap().cancel("at the end") });
            says(task.await.unwrap_err(), &["the task was cancelled: at the end"]);
            let task = spawn(async { eddies::current_task().unwrap().abort() });
            assert!(task.await.is_ok(), "an abort has no effect on the poll that runs");
        });
    });
}

/// Calls its closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits for ever; when it is dropped it cancels `other`, and the very task that is being dropped.
async fn cancels_when_dropped(other: eddies::TaskHandle, (waits, me): (OneshotSender<()>, eddies::TaskHandle)) {
    let _guard = OnDrop(move || {
        assert!(other.cancel("my canceller was dropped"));
        me.cancel("again");
        me.abort();
        drop(spawn(async {}));
    });
    waits.send(()).unwrap();
    pending::<()>().await;
}

#[test]
fn cancelled_tasks_in_a_destructor() {
    ends(|| {
        for workers in [1, 3] {
            let (runtime, heard) = runtime(workers);
            runtime.block_on(async {
                let victim = spawn(pending::<()>());
                let (other, (waits, is_waiting)) = (victim.handle(), oneshot());
                let task = spawn(async move {
                    let me = eddies::current_task().unwrap();
                    cancels_when_dropped(other, (waits, me)).await;
                });
                is_waiting.await.unwrap();
                task.cancel("first");
                assert!(task.await.unwrap_err().is_cancelled());
                says(victim.await.unwrap_err(), &["my canceller was dropped"]);
            });
            drop(runtime);
            assert!(heard.lock().unwrap().is_empty());
        }
    });
}

/// Waits for ever, and panics when it is dropped.
struct Brittle;

impl Future for Brittle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("a destructor with a temper");
    }
}

#[test]
fn cancelled_futures_whose_destructors_panic() {
    ends(|| {
        for workers in [1, 3] {
            let (runtime, heard) = runtime(workers);
            runtime.block_on(async {
                // Dropped whole.
                let task = spawn(Brittle);
                task.cancel(None);
                assert!(task.await.is_err());
                let task = spawn(Brittle);
                task.abort();
                assert!(task.await.is_err());
                // Dropped by a scope, a limit, a gathering: the panic is the task's that dropped it.
                let task = spawn(async { catch_cancel(Brittle).await.is_err() });
                eddies::sleep(Duration::from_millis(1)).await;
                task.cancel(None);
                assert!(task.await.is_err());
                let task = spawn(eddies::timeout(Duration::from_millis(1), Brittle));
                says(task.await.unwrap_err(), &["the task panicked: a destructor with a temper"]);
                assert_eq!(spawn(async { 7 }).await.unwrap(), 7, "the workers go on");
            });
            drop(runtime);
            for exception in &*heard.lock().unwrap() {
                says(exception, &["a destructor with a temper"]);
            }
        }
    });
}

#[test]
fn left_futures_with_panicking_destructors_to_the_close() {
    ends(|| {
        let (event_loop, heard) = listening();
        for _ in 0..3 {
            let _ = event_loop.create_task(Brittle).unwrap();
        }
        let brittle = OnDrop(|| panic!("a callback that cannot be dropped"));
        event_loop.call_soon(move || drop(brittle)).unwrap();
        event_loop.close().unwrap();
        assert!(event_loop.is_closed());
        let heard = heard.lock().unwrap();
        let of_destructors = heard.iter().filter(|heard| heard.message().contains("temper")).count();
        assert_eq!(of_destructors, 3, "{heard:?}");
        assert!(heard.iter().any(|heard| heard.message().contains("cannot be dropped")), "{heard:?}");
    });
}

#[test]
fn ignored_every_cancel_while_the_runtime_shut_down() {
    ends(|| {
        let (runtime, heard) = runtime(1);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = polls.clone();
        runtime.block_on(async {
            drop(spawn(async move {
                loop {
                    let _ = catch_cancel(pending::<()>()).await;
                    count.fetch_add(1, SeqCst);
                }
            }));
            for _ in 0..100 {
                yield_now().await;
            }
        });
        // Aborted when the time has passed.
        runtime.shutdown(Duration::from_millis(20)).unwrap();
        assert_eq!(polls.load(SeqCst), 1);
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn two_tasks_waited_for_each_other() {
    ends(|| {
        eddies::run(async {
            let (to_one, one_hears) = oneshot::<eddies::LoopFuture<()>>();
            let (to_two, two_hears) = oneshot::<eddies::LoopFuture<()>>();
            let one = eddies::ensure_future(async move { drop(one_hears.await.unwrap().await) });
            let two = eddies::ensure_future(async move { drop(two_hears.await.unwrap().await) });
            to_one.send(two.clone()).unwrap_or_else(|_| unreachable!());
            to_two.send(one.clone()).unwrap_or_else(|_| unreachable!());
            // As in asyncio they wait for ever. `Debug` shows whom each waits for, and a cancel ends it.
            while !format!("{one:?}{two:?}").matches("wait_for=<Task spawned at").count().eq(&2) {
                yield_now().await;
            }
            one.cancel("deadlock");
            assert!(one.await.unwrap_err().is_cancelled());
            two.await.unwrap();
        });
    });
}
