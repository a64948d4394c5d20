//! `LoopFuture`, `ensure_future`, `shield`: asyncio's Future. The tests that are called `trap_…` are of the list of semantic traps.

use std::fmt;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eddies::{
    ContextVar, Exception, ExceptionKind, FutureError, LoopFuture, Runtime, TaskBuilder, TaskState, When,
    ensure_future, gather, shield, spawn, spawn_blocking, spawn_local, wait, yield_now,
};

/// What happened, in order. Clones are handles to one log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A done callback that logs `text`.
    fn callback<T>(&self, text: &'static str) -> impl FnOnce(&LoopFuture<T>) + Send + 'static {
        let log = self.clone();
        move |_| log.add(text)
    }

    /// Queues an entry behind everything that is queued on this loop.
    fn soon(&self, text: &'static str) {
        let log = self.clone();
        eddies::get_running_loop().unwrap().call_soon(move || log.add(text)).unwrap();
    }
}

/// Runs `future` on a ring of one loop, which is first in, first out for callbacks and local tasks. Gives what was reported.
fn one_loop<F: Future>(future: F) -> (F::Output, Vec<Exception>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let runtime = Runtime::builder()
        .workers(1)
        .exception_handler(move |exception: &Exception| ears.lock().unwrap().push(exception.clone()))
        .build()
        .unwrap();
    let output = runtime.block_on(future);
    runtime.shutdown(Duration::from_secs(10)).unwrap();
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    (output, heard)
}

/// Runs everything that is queued on this loop now, and what that queues, as far as anybody here goes.
async fn settle() {
    for _ in 0..10 {
        spawn_local(async {}).await.unwrap();
    }
}

/// Waits, by yielding, until somebody awaits the future.
async fn awaited<T: fmt::Debug>(future: &LoopFuture<T>) {
    while !format!("{future:?}").contains("waiters=") {
        yield_now().await;
    }
}

fn is_ready<F: Future>(future: F) -> bool {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn trap_001_callbacks_and_waiters_run_later_in_the_order_of_registration() {
    let log = Log::default();
    one_loop(async {
        let future = LoopFuture::new();
        future.add_done_callback(log.callback("cb1"));
        let (theirs, entry) = (future.clone(), log.clone());
        spawn_local(async move {
            theirs.await.unwrap();
            entry.add("waiter");
        });
        awaited(&future).await;
        future.add_done_callback(log.callback("cb2"));
        log.soon("soon-before");
        future.set_result(()).unwrap();
        log.soon("soon-after");
        log.add("sync-after-set");
        settle().await;
    });
    assert_eq!(log.take(), ["sync-after-set", "soon-before", "cb1", "waiter", "cb2", "soon-after"]);
}

#[test]
fn trap_002_a_callback_of_a_done_future_is_queued_too() {
    let log = Log::default();
    one_loop(async {
        let future = LoopFuture::new();
        future.set_result(()).unwrap();
        log.soon("soon-before");
        future.add_done_callback(log.callback("late-cb"));
        log.soon("soon-after");
        log.add("sync-after-add");
        settle().await;
    });
    assert_eq!(log.take(), ["sync-after-add", "soon-before", "late-cb", "soon-after"]);
}

#[test]
fn trap_003_a_callback_added_three_times_runs_three_times_less_the_removed() {
    let log = Log::default();
    one_loop(async {
        let (future, other) = (LoopFuture::new(), LoopFuture::<()>::new());
        let ids = [(); 3].map(|()| future.add_done_callback(log.callback("cb")));
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        assert!(!other.remove_done_callback(ids[1]), "it is not this future's");
        assert!(future.remove_done_callback(ids[1]));
        assert!(!future.remove_done_callback(ids[1]), "it is removed already");
        future.set_result(()).unwrap();
        assert!(!future.remove_done_callback(ids[0]), "it is queued already");
        settle().await;
    });
    assert_eq!(log.take(), ["cb", "cb"]);
}

/// Does something to a future when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn trap_004_the_callbacks_may_change_while_they_are_removed_or_told() {
    let log = Log::default();
    one_loop(async {
        // A callback whose drop removes another and adds a third.
        let future = LoopFuture::new();
        let other = future.add_done_callback(log.callback("removed too"));
        let (theirs, entry) = (future.clone(), log.clone());
        let guard = OnDrop(move || {
            assert!(theirs.remove_done_callback(other));
            theirs.add_done_callback(entry.callback("added by a drop"));
        });
        let first = future.add_done_callback(move |_| drop(guard));
        assert!(future.remove_done_callback(first));
        // A callback that adds another, to itself.
        let entry = log.clone();
        future.add_done_callback(move |future| {
            let again = entry.clone();
            future.add_done_callback(move |future| {
                again.add("added by a callback");
                assert_eq!(future.result().unwrap(), 1);
            });
            entry.add("adds");
        });
        // A waker that adds one while the parties are told.
        let adder = Arc::new(AddingWaker { future: future.clone(), log: log.clone() });
        let mut waits = pin!((&future).into_future());
        assert!(waits.as_mut().poll(&mut Context::from_waker(&Waker::from(adder))).is_pending());
        future.add_done_callback(log.callback("after the waker"));
        future.set_result(1).unwrap();
        settle().await;
    });
    assert_eq!(
        log.take(),
        ["wakes", "added by a drop", "adds", "after the waker", "added by a waker", "added by a callback"]
    );
}

struct AddingWaker {
    future: LoopFuture<i32>,
    log: Log,
}

impl Wake for AddingWaker {
    fn wake(self: Arc<Self>) {
        self.log.add("wakes");
        self.future.add_done_callback(self.log.callback("added by a waker"));
    }
}

#[test]
fn trap_034_a_cancelled_or_pending_future_says_so() {
    let ((), heard) = one_loop(async {
        let future = LoopFuture::new();
        assert!(matches!(future.result(), Err(FutureError::NotReady)));
        assert!(matches!(future.error(), Some(FutureError::NotReady)));
        assert!(future.cancel("enough"));
        assert_eq!((future.is_finished(), future.cancelled(), future.state()), (true, true, TaskState::Cancelled));
        for error in [future.result().unwrap_err(), future.error().unwrap(), (&future).await.unwrap_err()] {
            match error {
                FutureError::Cancelled(cancelled) => assert_eq!(cancelled.reason(), Some("enough")),
                other => unreachable!("{other:?}"),
            }
        }
        let refused = future.set_result(1).unwrap_err();
        assert_eq!(refused.to_string(), "the future was cancelled");
        assert_eq!(refused.into_value(), 1);
        assert_eq!(future.set_error("no").unwrap_err().into_value().to_string(), "no");
        assert!(!future.cancel(None), "it is cancelled already");

        let done = LoopFuture::new();
        done.set_result(1).unwrap();
        assert!(!done.cancel(None));
        assert_eq!(done.set_result(2).unwrap_err().to_string(), "the future has a result already");
        assert_eq!(done.result().unwrap(), 1);

        let failed = LoopFuture::<i32>::new();
        failed.set_error("broken").unwrap();
        assert_eq!(failed.set_result(2).unwrap_err().to_string(), "the future has an error already");
        assert_eq!(failed.state(), TaskState::Done);
        assert_eq!(failed.await.unwrap_err().to_string(), "broken");
    });
    assert_eq!(heard, []);
}

#[test]
fn trap_035_a_timer_that_answers_a_cancelled_future_is_silent() {
    let (refused, heard) = one_loop(async {
        let future = LoopFuture::new();
        let theirs = future.clone();
        let timer = spawn(async move {
            eddies::sleep(Duration::from_millis(1)).await;
            theirs.set_result(1).is_err()
        });
        assert!(future.cancel(None));
        timer.await.unwrap()
    });
    assert!(refused);
    assert_eq!(heard, []);
}

fn failed(error: &'static str) -> LoopFuture<u32> {
    let future = LoopFuture::new();
    future.set_error(error).unwrap();
    future
}

#[test]
fn trap_036_an_error_is_reported_once_unless_it_was_read() {
    let ((), heard) = one_loop(async {
        drop(failed("read").result());
        drop(failed("read").error());
        drop(failed("awaited").await);
        assert!(!failed("cancelled").cancel(None));
        let value = LoopFuture::new();
        value.set_result(1).unwrap();
        drop(value);
        LoopFuture::<u32>::new().cancel("never read");
        drop(LoopFuture::<u32>::new());
        wait([failed("unread by wait")], When::FirstException, None).await.0[0].error().unwrap();
    });
    assert_eq!(heard, []);

    let ((), heard) = one_loop(async {
        let future = failed("nobody looks");
        let last = future.clone();
        drop(future);
        drop(last);
    });
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((heard[0].kind(), heard[0].message()), (ExceptionKind::Future, "nobody looks"));
    assert!(heard[0].spawned_at().unwrap().file().ends_with("futures.rs"));
    assert!(heard[0].to_string().contains("nobody read its error: nobody looks"), "{}", heard[0]);
}

#[test]
fn trap_036_so_are_the_errors_of_tasks() {
    let ((), heard) = one_loop(async {
        drop(TaskBuilder::new().name("parser").spawn(async { "x".parse::<u32>() }).try_share());
        drop(
            spawn(async {
                if true {
                    panic!("ouch")
                }
            })
            .share(),
        );
        let kept = spawn(async { "y".parse::<u32>() }).share();
        assert!(kept.await.unwrap().is_err(), "with `share` it is a value");
        settle().await;
        yield_now().await;
    });
    let mut heard: Vec<_> = heard.iter().map(|e| (e.kind(), e.task_name(), e.message())).collect();
    heard.sort_by_key(|&(_, name, _)| name);
    assert_eq!(
        heard,
        [(ExceptionKind::Task, None, "ouch"), (ExceptionKind::Future, Some("parser"), "invalid digit found in string")]
    );
}

#[test]
fn trap_037_awaiting_a_done_future_does_not_suspend_and_can_be_repeated() {
    one_loop(async {
        let future = ensure_future(async { 7 });
        (&future).await.unwrap();
        let mut polls = 0;
        let mut many = pin!(async {
            // More than the budget of one poll.
            for _ in 0..1000 {
                assert_eq!((&future).await.unwrap(), 7);
            }
        });
        poll_fn(|cx| {
            polls += 1;
            many.as_mut().poll(cx)
        })
        .await;
        assert_eq!(polls, 1);
    });
}

#[test]
fn trap_038_a_future_of_another_loop_can_be_awaited() {
    let (sender, receiver) = mpsc::channel();
    let home = std::thread::spawn(move || {
        one_loop(async {
            let future = LoopFuture::new();
            let shared = ensure_future(async { 2 });
            sender.send((future.clone(), shared.clone())).unwrap();
            shared.await.unwrap();
            future.await.unwrap()
        })
        .0
    });
    let (future, shared) = receiver.recv().unwrap();
    let answer = future.clone();
    let ((), heard) = one_loop(async {
        let own = ensure_future(async { 3 });
        spawn(async move { answer.set_result(1).unwrap() });
        let all = gather([future, shared, own]).await;
        assert_eq!(all.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
    });
    assert_eq!(home.join().unwrap(), 1);
    assert_eq!(heard, []);
}

#[test]
fn trap_039_cancelling_an_executor_future_stops_the_job_only_before_it_begins() {
    let runtime = Runtime::builder().workers(1).blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let running = spawn_blocking(move || {
            begun.send(()).unwrap();
            released.recv().unwrap();
            "finished"
        })
        .share();
        has_begun.recv().unwrap();
        let log = Log::default();
        let entry = log.clone();
        let queued = spawn_blocking(move || entry.add("ran")).share();
        queued.cancel(None);
        running.cancel(None);
        release.send(()).unwrap();
        assert_eq!((&running).await.unwrap(), "finished");
        assert!(running.await.is_ok());
        assert!((&queued).await.unwrap_err().is_cancelled());
        assert!(queued.cancelled());
        assert_eq!(log.take(), [] as [&str; 0]);
    });
}

#[test]
fn trap_040_a_job_that_ends_after_its_loop_is_dropped_silently() {
    let heard = Log::default();
    let ears = heard.clone();
    let runtime =
        Runtime::builder().workers(1).exception_handler(move |e: &Exception| ears.add(e.to_string())).build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (dropped, is_dropped) = mpsc::channel::<()>();
    let future = runtime.block_on(async {
        let (begun, has_begun) = mpsc::channel();
        let future = spawn_blocking(move || {
            begun.send(()).unwrap();
            released.recv().unwrap();
            7
        })
        .share();
        has_begun.recv().unwrap();
        future.add_done_callback(move |_| dropped.send(()).unwrap());
        future
    });
    assert!(runtime.shutdown(Duration::ZERO).is_err(), "the job still runs");
    release.send(()).unwrap();
    assert!(is_dropped.recv_timeout(Duration::from_secs(30)).is_err_and(|e| e == mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(future.result().unwrap(), 7);
    assert_eq!(heard.take(), [] as [&str; 0]);
}

/// A result that contains its own future.
struct Knot(Mutex<Option<LoopFuture<Knot>>>);

impl fmt::Debug for Knot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knot({:?})", self.0.lock().unwrap())
    }
}

/// Cannot be shown.
#[derive(Clone)]
struct Mute;

impl fmt::Debug for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("nobody asked to see this")
    }
}

#[test]
fn trap_041_debug_shows_the_state_and_knows_when_to_stop() {
    let ((), heard) = one_loop(async {
        let future = LoopFuture::new();
        assert_eq!(format!("{future:?}"), "<Future pending>");
        let at = |line: u32| format!("{}:{line}:20", file!());
        let lines: [u32; 4] = std::array::from_fn(|_| {
            future.add_done_callback(|_| {});
            line!() - 1
        });
        assert_eq!(format!("{future:?}"), format!("<Future pending cb=[{0}, <2 more>, {0}]>", at(lines[0])));
        future.set_result("Done!").unwrap();
        assert_eq!(format!("{future:?}"), r#"<Future finished result="Done!">"#);

        let two = LoopFuture::<()>::new();
        two.add_done_callback(|_| {});
        assert_eq!(format!("{two:?}"), format!("<Future pending cb=[{}:{}:13]>", file!(), line!() - 1));
        two.cancel(None);
        assert_eq!(format!("{two:?}"), "<Future cancelled>");
        assert_eq!(format!("{:?}", failed("broken")), r#"<Future finished error="broken">"#);

        let knot = LoopFuture::new();
        knot.set_result(Knot(Mutex::new(Some(knot.clone())))).unwrap();
        assert_eq!(format!("{knot:?}"), "<Future finished result=Knot(Some(<Future ...>))>");
        // The knot would keep itself for ever.
        knot.result_ref().unwrap().0.lock().unwrap().take();
        assert_eq!(format!("{knot:?}"), "<Future finished result=Knot(None)>");

        // Nothing but Debug shows a result.
        let mute = ensure_future(async { Mute });
        shield(mute.clone()).await.unwrap();
        mute.await.unwrap();
    });
    // The one of `failed("broken")`, which nobody read.
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[test]
fn trap_042_a_tasks_result_cannot_be_set() {
    one_loop(async {
        let future = ensure_future(async { 1 });
        let refused = future.set_result(2).unwrap_err();
        assert!(refused.is_of_task());
        assert!(refused.to_string().contains("is a task's"), "{refused}");
        assert!(future.set_error("no").unwrap_err().is_of_task());
        assert_eq!((&future).await.unwrap(), 1);
        assert!(future.set_result(2).unwrap_err().is_of_task(), "also when it is done");
    });
}

#[test]
fn trap_043_a_task_that_awaits_itself_gets_an_error() {
    one_loop(async {
        let own = Arc::new(Mutex::new(None::<LoopFuture<String>>));
        let theirs = own.clone();
        let task = ensure_future(async move {
            yield_now().await;
            let own = theirs.lock().unwrap().take().unwrap();
            let direct = (&own).await.unwrap_err();
            assert!(matches!(direct, FutureError::AwaitsItself));
            let through_gather = gather([&own]).await.remove(0).unwrap_err();
            assert!(matches!(through_gather, FutureError::AwaitsItself));
            direct.to_string()
        });
        *own.lock().unwrap() = Some(task.clone());
        assert!(task.await.unwrap().starts_with("a task awaits its own future"));
    });
}

#[test]
fn trap_048_tasks_are_told_apart_by_name_or_by_place() {
    one_loop(async {
        let named = TaskBuilder::new().name(42.to_string()).spawn(async {}).share();
        assert_eq!(named.task().unwrap().name(), Some("42"));
        let (one, two) = (ensure_future(pending::<()>()), ensure_future(pending::<()>()));
        assert_eq!(one.task().unwrap().name(), None);
        assert_ne!(one.task().unwrap().id(), two.task().unwrap().id());
        assert_ne!(one.made_at(), two.made_at());
        let shown = format!("{named:?}");
        assert!(shown.starts_with("<Task pending name=\"42\" spawned at "), "{shown}");
    });
}

#[test]
fn trap_049_debug_walks_with_the_task_and_tells_what_it_waits_for() {
    one_loop(async {
        let inner = LoopFuture::<u32>::new();
        let second = LoopFuture::<u32>::new();
        let (theirs, then) = (inner.clone(), second.clone());
        let task = TaskBuilder::new().name("walker").spawn(async move {
            let _ = gather([&theirs, &theirs]).await;
            let caught = eddies::catch_cancel(pending::<()>()).await.unwrap_err();
            assert_eq!(caught.reason(), Some("go on"));
            theirs.await.unwrap() + then.await.unwrap()
        });
        let handle = task.handle();
        let task = task.share();
        let shown = |future: &LoopFuture<u32>| format!("{future:?}").replace(&future.made_at().to_string(), "HERE");
        let place = |future: &LoopFuture<u32>| format!("<Future made at {}>", future.made_at());
        assert_eq!(shown(&task), r#"<Task pending name="walker" spawned at HERE>"#);
        awaited(&inner).await;
        let both = format!("[{0}, {0}]", place(&inner));
        assert_eq!(shown(&task), format!(r#"<Task pending name="walker" spawned at HERE wait_for={both}>"#));
        assert_eq!(format!("{handle:?}").replace(&task.made_at().to_string(), "HERE"), shown(&task));
        inner.set_result(1).unwrap();
        while shown(&task).contains("wait_for") {
            yield_now().await;
        }
        task.cancel("go on");
        assert_eq!(shown(&task), r#"<Task cancelling name="walker" spawned at HERE>"#);
        handle.uncancel();
        task.cancel("go on");
        awaited(&second).await;
        handle.uncancel();
        assert_eq!(
            shown(&task),
            format!(r#"<Task pending name="walker" spawned at HERE wait_for={}>"#, place(&second))
        );
        let other = ensure_future({
            let task = task.clone();
            async move { task.await.unwrap() }
        });
        awaited(&task).await;
        let of_walker = format!("wait_for=<Task name=\"walker\" spawned at {}>", task.made_at());
        assert!(format!("{other:?}").contains(&of_walker), "{other:?}");
        assert!(shown(&task).ends_with("waiters=1>"), "{task:?}");
        second.set_result(2).unwrap();
        other.await.unwrap();
        assert_eq!(shown(&task), r#"<Task finished name="walker" spawned at HERE result=3>"#);
        let gone = ensure_future(pending::<u32>());
        gone.cancel(None);
        (&gone).await.unwrap_err();
        assert_eq!(shown(&gone), "<Task cancelled spawned at HERE>");
    });
}

#[test]
fn trap_051_a_callback_has_the_context_of_its_registration() {
    static STEP: ContextVar<u32> = ContextVar::new("step");
    let log = Log::default();
    one_loop(async {
        let future = LoopFuture::new();
        let seen = |text: &'static str| {
            let log = log.clone();
            move |_: &LoopFuture<()>| {
                log.add(format!("{text}: {:?}", STEP.get()));
                STEP.set(100);
            }
        };
        let answer = future.clone();
        spawn_local({
            let (without, with) = (seen("without"), seen("with"));
            async move {
                answer.add_done_callback(without);
                STEP.set(1);
                answer.add_done_callback(with);
                STEP.set(2);
                // Queued from a context in which it is set.
                answer.set_result(()).unwrap();
                settle().await;
                assert_eq!(STEP.get(), Some(2), "the callbacks had copies");
            }
        })
        .await
        .unwrap();
    });
    assert_eq!(log.take(), ["without: None", "with: Some(1)"]);
}

#[test]
fn trap_062_cancelling_what_a_task_awaits_is_no_request_to_the_task() {
    one_loop(async {
        let inner = LoopFuture::<u32>::new();
        let theirs = inner.clone();
        let task = ensure_future(async move { theirs.await });
        awaited(&inner).await;
        assert!(inner.cancel("only the inner"));
        // An error like others, which the task may pass on: it is not cancelled by it, nor was it asked to.
        let error = (&task).await.unwrap().unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!((task.state(), task.cancelled()), (TaskState::Done, false));
        assert_eq!(task.task().unwrap().cancelling(), 0);

        // Where its errors are those of its future, the task counts as cancelled: asyncio's way.
        let inner = LoopFuture::<u32>::new();
        let theirs = inner.clone();
        let task = spawn(async move { Ok::<_, FutureError>(theirs.await? + 1) }).try_share();
        awaited(&inner).await;
        inner.cancel("only the inner");
        assert_eq!((&task).await.unwrap_err().to_string(), "cancelled: only the inner");
        assert_eq!((task.state(), task.cancelled()), (TaskState::Cancelled, true));
        assert_eq!(task.task().unwrap().cancelling(), 0);
    });
}

#[test]
fn trap_066_a_shield_is_cancelled_alone() {
    let log = Log::default();
    let ((), heard) = one_loop(async {
        let inner = LoopFuture::new();
        let outer = shield(inner.clone());
        inner.add_done_callback(log.callback("inner"));
        outer.add_done_callback(log.callback("outer"));
        assert!(outer.cancel("not needed"));
        assert!(outer.cancelled() && !inner.is_finished());
        settle().await;
        // The shield's own callback is gone, the other is not.
        assert_eq!(format!("{inner:?}").matches("futures.rs").count(), 1, "{inner:?}");
        inner.set_result(1).unwrap();
        settle().await;
        assert_eq!(log.take(), ["outer", "inner"]);

        // Cancelled behind the shield.
        let inner = LoopFuture::<u32>::new();
        let outer = shield(inner.clone());
        inner.cancel("from behind");
        match outer.await.unwrap_err() {
            FutureError::Cancelled(cancelled) => assert_eq!(cancelled.reason(), Some("from behind")),
            other => unreachable!("{other:?}"),
        }

        // Done already.
        assert!(shield(inner.clone()).ptr_eq(&inner));

        // A shield that is dropped, and so are its awaits: what it shields runs on.
        let entry = log.clone();
        let outer = shield(async move {
            yield_now().await;
            entry.add("ran on");
        });
        assert!(!is_ready((&outer).into_future()));
        drop(outer);
        yield_now().await;
        settle().await;
        yield_now().await;
        assert_eq!(log.take(), ["ran on"]);

        // An error passes through, and is read there.
        let inner = LoopFuture::<u32>::new();
        let outer = shield(inner.clone());
        inner.set_error("through").unwrap();
        assert_eq!(outer.await.unwrap_err().to_string(), "through");
    });
    assert_eq!(heard, []);
}

#[test]
fn trap_066_an_error_behind_a_cancelled_shield_is_not_lost() {
    let ((), heard) = one_loop(async {
        let inner = LoopFuture::<u32>::new();
        let outer = shield(inner.clone());
        outer.cancel(None);
        inner.set_error("late").unwrap();
        drop((inner, outer));
        settle().await;
    });
    assert_eq!(heard.iter().map(Exception::message).collect::<Vec<_>>(), ["late"]);
}

#[test]
fn trap_067_a_shielded_gather_and_a_gather_of_shields() {
    one_loop(async {
        let children = [LoopFuture::new(), LoopFuture::new()];
        let parent = ensure_future(gather(children.clone()));
        let outer = shield(async move { parent.await.unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>() });
        let inside = outer.clone();
        awaited(&children[1]).await;
        assert!(inside.cancel(None));
        children[0].set_result(1).unwrap();
        children[1].set_result(2).unwrap();
        assert!(outer.await.unwrap_err().is_cancelled());

        let children = [LoopFuture::new(), LoopFuture::new()];
        let shields = children.clone().map(shield);
        let parent = ensure_future(gather(shields.clone()));
        awaited(&shields[1]).await;
        parent.cancel(None);
        assert!(parent.await.unwrap_err().is_cancelled());
        // Neither the children nor their shields: dropping an await cancels nothing.
        assert!(children.iter().chain(&shields).all(|future| !future.is_finished()));
        children[0].set_result(1).unwrap();
        assert_eq!((&shields[0]).await.unwrap(), 1);
    });
}

#[test]
fn a_panicking_callback_is_reported_and_the_others_run() {
    let log = Log::default();
    let ((), heard) = one_loop(async {
        let future = LoopFuture::new();
        future.add_done_callback(log.callback("first"));
        future.add_done_callback(|_| panic!("no good"));
        future.add_done_callback(log.callback("last"));
        future.set_result(()).unwrap();
        settle().await;
    });
    assert_eq!(log.take(), ["first", "last"]);
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].kind(), heard[0].message()), (ExceptionKind::Callback, "no good"));
    assert!(heard[0].spawned_at().unwrap().file().ends_with("futures.rs"), "the place where it was added");
}

#[test]
fn a_callback_gets_the_future_itself() {
    one_loop(async {
        let task = ensure_future(async { 1 });
        let (sender, receiver) = eddies::sync::oneshot();
        let same = task.clone();
        task.add_done_callback(move |future| sender.send(future.ptr_eq(&same)).unwrap());
        assert!(receiver.await.unwrap());
    });
}

#[test]
fn many_tasks_await_one_and_a_dropped_await_leaves_nothing() {
    one_loop(async {
        let future = LoopFuture::new();
        let mut tasks: Vec<_> = (0..100)
            .map(|_| {
                let future = future.clone();
                spawn(async move { future.await.unwrap() })
            })
            .collect();
        {
            let mut given_up = pin!((&future).into_future());
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(format!("{future:?}").contains("waiters=1"), "{future:?}");
        }
        {
            let mut waits = pin!(wait([&future, &future], When::All, None));
            assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(format!("{future:?}").contains("waiters=2"), "{future:?}");
        }
        assert_eq!(format!("{future:?}"), "<Future pending>");
        while !format!("{future:?}").contains("waiters=100") {
            yield_now().await;
        }
        tasks.truncate(50);
        future.set_result("all").unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "all");
        }
    });
}

#[test]
fn wait_divides_futures_and_knows_their_errors() {
    one_loop(async {
        let [good, bad, never] = [(); 3].map(|()| LoopFuture::<u32>::new());
        let (one, two) = (good.clone(), bad.clone());
        spawn(async move {
            one.set_result(1).unwrap();
            two.set_error("bad").unwrap();
        });
        let (done, rest) = wait([&good, &bad, &never], When::FirstException, None).await;
        assert_eq!((done.len(), rest.len()), (2, 1));
        assert!(rest[0].ptr_eq(&never));
        assert_eq!(bad.error().unwrap().to_string(), "bad");

        // A cancelled one is no exception.
        let [first, second] = [(); 2].map(|()| LoopFuture::<u32>::new());
        first.cancel(None);
        let mut both = pin!(wait([first.clone(), second.clone()], When::FirstException, None));
        assert!(!is_ready(both.as_mut()));
        second.set_result(1).unwrap();
        assert_eq!(both.await.0.len(), 2);
    });
}

#[test]
fn the_other_waits_take_futures_too() {
    one_loop(async {
        let [one, two, three] = [(); 3].map(|()| LoopFuture::new());
        let answers = [two.clone(), one.clone()];
        spawn(async move {
            for (n, future) in answers.iter().enumerate() {
                future.set_result(n).unwrap();
                yield_now().await;
            }
        });
        let mut outputs = eddies::as_completed([&one, &two]);
        assert_eq!(outputs.next().await.unwrap().unwrap(), 0);
        assert_eq!(outputs.next().await.unwrap().unwrap(), 1);
        assert_eq!(eddies::try_gather([&one, &two]).await.unwrap(), [1, 0]);
        let mut all = pin!(eddies::try_gather([one, three.clone(), LoopFuture::new()]));
        assert!(!is_ready(all.as_mut()));
        three.set_error("the third").unwrap();
        assert_eq!(all.await.unwrap_err().to_string(), "the third");
    });
}

#[test]
fn whoever_answers_first_wins_and_everybody_sees_the_same() {
    let runtime = Runtime::builder().workers(4).build().unwrap();
    runtime.block_on(async {
        for round in 0..300 {
            let future = LoopFuture::new();
            let log = Log::default();
            let (one, two, three) = (future.clone(), future.clone(), future.clone());
            let entry = log.clone();
            let sets = spawn(async move { one.set_result(round).is_ok() });
            let cancels = spawn(async move { two.cancel("raced") });
            let adds = spawn(async move {
                for _ in 0..10 {
                    three.add_done_callback(entry.callback("called"));
                }
            });
            let (a, b) = (future.clone(), future.clone());
            let awaits = [spawn(async move { a.await.ok() }), spawn(async move { b.await.ok() })];
            let seen = eddies::try_gather(awaits).await.unwrap();
            adds.await.unwrap();
            let taken = (sets.await.unwrap(), cancels.await.unwrap());
            assert_eq!(taken, (seen[0].is_some(), seen[0].is_none()));
            assert_eq!(seen, [future.result().ok(), future.result().ok()]);
            let (last, called) = eddies::sync::oneshot();
            future.add_done_callback(move |_| last.send(()).unwrap());
            called.await.unwrap();
            assert_eq!(log.take().len(), 10);
        }
    });
}

#[test]
fn a_future_goes_anywhere() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<LoopFuture<String>>();
    check::<FutureError>();
    fn is_send<T: Send>(_: T) {}
    one_loop(async { is_send(LoopFuture::<u32>::new().into_future()) });
}

#[test]
fn a_task_that_is_done_or_aborted_when_it_is_shared_answers_too() {
    one_loop(async {
        let task = spawn(async { 1 });
        while !task.is_finished() {
            yield_now().await;
        }
        assert_eq!(LoopFuture::from(task).result().unwrap(), 1);

        let task = spawn(pending::<()>());
        task.abort();
        assert!(task.share().await.unwrap_err().is_cancelled());

        let mut task = spawn(pending::<()>());
        assert!(poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut task).poll(cx).is_pending())).await);
        let shared = task.share();
        assert_eq!(shared.state(), TaskState::Pending);
        assert!(shared.cancel(None));
        assert!((&shared).await.unwrap_err().is_cancelled());
        assert!(!shared.cancel(None));
    });
}

#[test]
fn a_panic_can_be_resumed_by_one() {
    one_loop(async {
        let future = ensure_future(async {
            if true {
                std::panic::panic_any(7_u8)
            }
        });
        let Err(FutureError::Panicked(panic)) = (&future).await else { unreachable!() };
        assert_eq!(panic.take_payload().unwrap().downcast_ref(), Some(&7_u8));
        assert!(panic.take_payload().is_none());
        assert!(matches!(future.await, Err(FutureError::Panicked(_))));
    });
}

#[test]
fn an_event_loop_that_does_not_run_has_futures_too() {
    let event_loop = eddies::EventLoop::new().unwrap();
    let log = Log::default();
    let task = event_loop.create_task(async { "done" }).unwrap();
    let job = event_loop.run_in_executor(|| 3).unwrap();
    let plain = event_loop.create_future();
    task.add_done_callback(log.callback("callback of the task"));
    plain.add_done_callback(log.callback("callback of the future"));
    plain.set_result(7).unwrap();
    let entry = log.clone();
    event_loop.call_soon(move || entry.add("soon")).unwrap();
    assert_eq!(log.take(), [] as [&str; 0]);
    assert_eq!(event_loop.run_until_complete(&task).unwrap().unwrap(), "done");
    assert_eq!(log.take(), ["callback of the future", "soon", "callback of the task"]);
    assert_eq!(event_loop.run_until_complete(&job).unwrap().unwrap(), 3);
    assert_eq!((task.result().unwrap(), job.result().unwrap(), plain.result().unwrap()), ("done", 3, 7));
    assert!(plain.get_loop().is_some());

    event_loop.close().unwrap();
    let late = event_loop.create_future();
    late.add_done_callback(log.callback("never"));
    late.set_result(1).unwrap();
    assert_eq!(late.result().unwrap(), 1);
    assert!(event_loop.create_task(async {}).is_err());
    assert_eq!(log.take(), [] as [&str; 0]);
}
