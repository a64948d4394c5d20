//! Models of cancellation: who takes a request, when it meets polls, wakes, other requests and the end of the task.
//!
//! A request must reach somebody: no order of events may leave a task that waits in a scope, or in none, waiting for ever. And it must not reach
//! the wrong one: a task whose scopes can take it is not dropped whole.

use std::future::pending;
use std::task::{Poll, Waker};

use super::models::{Probe, Scheduler, WaitForFlags, drops, waiting_task};
use super::{Task, TaskState, catch_cancel};
use crate::error::TaskError;
use crate::future::gather;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Arc, StartLine, check};

/// Cancels from a thread of its own.
fn canceller(line: &StartLine, task: &Task<impl Send + 'static>) -> loom::thread::JoinHandle<bool> {
    let handle = task.handle();
    line.spawn(move || handle.cancel("model"))
}

/// The output of a task that must be complete.
fn output<T: 'static>(task: Task<T>) -> Result<T, TaskError> {
    assert!(task.is_finished(), "the request was lost");
    loom::future::block_on(task)
}

/// 1 runner, 1 canceller, 1 waker; no scope. The task ends whether the request comes before, in or between the polls. Bound 3.
#[test]
fn a_task_without_a_scope_is_dropped_whole() {
    check("cancel_no_scope", 3, 250, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        let thread = canceller(&line, &task);
        let waking = line.spawn(move || waker.wake());
        line.pass();
        scheduler.run();
        assert!(thread.join().unwrap());
        waking.join().unwrap();
        scheduler.run();
        assert!(task.cancelled());
        assert!(output(task).unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&flags), 1, "the future was dropped");
    });
}

/// 1 runner that polls a scope for the first time, or again, 1 canceller: the scope catches it (N2), or the task is cancelled before its body begins.
/// Bound 3.
#[test]
fn a_scope_that_begins_to_wait_catches_it() {
    check("cancel_scope_entry", 3, 150, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let task = scheduler.spawn(async { catch_cancel(pending::<()>()).await.unwrap_err().reason().map(str::len) });
        let thread = canceller(&line, &task);
        line.pass();
        let early = scheduler.run();
        assert!(thread.join().unwrap());
        let polls = early + scheduler.run();
        match output(task) {
            Ok(reason) => assert_eq!(reason, Some(5)),
            Err(error) => assert!(error.is_cancelled() && polls == 1, "dropped whole after {polls} polls"),
        }
    });
}

/// 1 runner, 1 canceller, 1 waker of the task; two scopes beside each other, each with a waker of its own (`gather`). Both take it, and no
/// poll that the waker causes too early makes the runner give up on them (N3). Bound 3.
#[test]
fn scopes_with_wakers_of_their_own_both_catch_it() {
    check("cancel_gathered_scopes", 3, 1_200, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let waker = std::sync::Arc::new(std::sync::Mutex::new(None::<Waker>));
        let slot = waker.clone();
        let task = scheduler.spawn(async move {
            std::future::poll_fn(|cx| {
                *slot.lock().unwrap() = Some(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
            // A request that is refused leaves CANCEL set: from now on each poll asks the extension.
            assert!(catch_cancel(pending::<()>()).await.is_err());
            let both = gather([catch_cancel(pending::<()>()), catch_cancel(pending::<()>())]).await;
            both.iter().filter(|caught| caught.is_err()).count()
        });
        scheduler.run();
        task.cancel(None);
        scheduler.run();
        let waker = waker.lock().unwrap().take().unwrap();
        let thread = canceller(&line, &task);
        let waking = line.spawn(move || waker.wake());
        line.pass();
        scheduler.run();
        assert!(thread.join().unwrap());
        waking.join().unwrap();
        scheduler.run();
        assert_eq!(output(task).unwrap(), 2, "scopes that caught it");
    });
}

/// 1 runner that polls two scopes beside each other for the first time, 1 canceller: a request that comes between the look and the wait of a scope
/// whose waker is not the task's (N2). Bound 3.
#[test]
fn scopes_that_begin_to_wait_beside_each_other() {
    check("cancel_gathered_entry", 3, 400, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let task = scheduler.spawn(async {
            let both = gather([catch_cancel(pending::<()>()), catch_cancel(pending::<()>())]).await;
            both.iter().filter(|caught| caught.is_err()).count()
        });
        let thread = canceller(&line, &task);
        line.pass();
        let early = scheduler.run();
        assert!(thread.join().unwrap());
        let polls = early + scheduler.run();
        if !task.is_finished() {
            // The first scope took it before the second began to wait, which has nothing to do with it then.
            task.cancel(None);
            scheduler.run();
        }
        match output(task) {
            Ok(caught) => assert_eq!(caught, 2, "scopes that caught it"),
            Err(error) => assert!(error.is_cancelled() && polls == 1, "dropped whole after {polls} polls"),
        }
    });
}

/// 1 runner that completes, 1 canceller: who was told `false` gets the value. Bound 3.
#[test]
fn a_request_against_the_last_poll() {
    check("cancel_vs_complete", 3, 90, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let task = scheduler.spawn(async move { probe });
        let thread = canceller(&line, &task);
        line.pass();
        scheduler.run();
        let is_asked = thread.join().unwrap();
        scheduler.run();
        let state = task.state();
        match output(task) {
            Ok(probe) => drop(probe),
            Err(error) => assert!(is_asked && error.is_cancelled() && state == TaskState::Cancelled),
        }
        assert_eq!(drops(&dropped), 1);
    });
}

/// 2 cancellers, the first of which makes the extension, and 1 that takes one request back: what is left is counted right, and one scope catches what was
/// not withdrawn. Bound 2.
#[test]
fn requests_are_counted() {
    check("cancel_count", 2, 300, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, _flags, _waker) = waiting_task(&scheduler);
        let first = canceller(&line, &task);
        let handle = task.handle();
        let second = line.spawn(move || {
            handle.cancel(None);
            handle.uncancel()
        });
        line.pass();
        assert!(first.join().unwrap());
        assert!(second.join().unwrap() <= 1);
        assert_eq!(task.cancelling(), 1);
        scheduler.run();
        // Withdrawn while the other had not come yet, or not: in the end one stands that came last or was never withdrawn.
        assert!(output(task).unwrap_err().is_cancelled());
    });
}

/// 1 runner of a task with a scope whose inner future is woken, 1 canceller: the scope gives the value or the request, and the task ends. Bound 3.
#[test]
fn a_request_against_the_scopes_own_wake() {
    check("cancel_vs_wake", 3, 400, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let slot = std::sync::Arc::default();
        let wait = WaitForFlags { flags: flags.clone(), waker: std::sync::Arc::clone(&slot) };
        let task = scheduler.spawn(async move { catch_cancel(wait).await.is_ok() });
        scheduler.run();
        let waker = slot.lock().unwrap().take().unwrap();
        let thread = canceller(&line, &task);
        let waking = line.spawn(move || {
            for flag in flags.iter() {
                // Ordering: Relaxed: the wake is to publish it.
                flag.store(true, Ordering::Relaxed);
            }
            waker.wake();
        });
        line.pass();
        scheduler.run();
        let is_asked = thread.join().unwrap();
        waking.join().unwrap();
        scheduler.run();
        match output(task) {
            Ok(has_value) => assert!(has_value || is_asked),
            // The scope had its value, and the task was asked before it gave its own.
            Err(error) => assert!(is_asked && error.is_cancelled()),
        }
    });
}
