//! Models of a group's roster: G1, G2 and G3 of `future/roster.rs`. A lost wake shows as a deadlock: the group's future blocks for ever. A child that nobody
//! cancels does too, for it only ends when it is.

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;

use super::{Ending, Fate, Roster};
use crate::error::Cancelled;
use crate::loom::{Arc, Condvar, Mutex, StartLine, check};

/// A child, to whoever cancels it.
type Token = Arc<(Mutex<bool>, Condvar)>;

fn token() -> Token {
    Arc::new((Mutex::new(false), Condvar::new()))
}

fn cancel(child: &Token) {
    *child.0.lock() = true;
    child.1.notify_all();
}

fn wait_for_cancel(child: &Token) {
    let mut cancelled = child.0.lock();
    while !*cancelled {
        cancelled = child.1.wait(cancelled);
    }
}

type Group = Arc<Roster<&'static str, Token>>;

fn group() -> Group {
    let group = Roster::new();
    group.enter(false);
    Arc::new(group)
}

fn carry_out(ending: Ending<Token>) {
    ending.children.iter().for_each(cancel);
    if let Some(waker) = ending.waker {
        waker.wake();
    }
}

/// The life of a child that ends when it is cancelled.
fn live_until_cancelled(group: &Group, number: u64, child: &Token) {
    wait_for_cancel(child);
    if let Some(waker) = group.leave(number) {
        waker.wake();
    }
}

/// What a spawn does after the task was made. The model's child runs on the spawning thread.
fn attach(group: &Group, number: u64, child: &Token) {
    match group.attach(number, child.clone()) {
        Fate::Stay => {}
        Fate::Cancel(_) | Fate::Abort => cancel(child),
    }
}

fn end(group: &Group) -> Vec<&'static str> {
    block_on(poll_fn(|cx| group.poll_end(cx.waker().clone())))
}

/// G2. 1 thread on which a child fails × 1 that spawns a child which ends only when it is cancelled × the future, which waits for the end: the spawn is
/// refused, or its child is cancelled, by the one or the other. Preemptions 3.
#[test]
fn a_child_spawned_while_another_fails_is_refused_or_cancelled() {
    check("task_group::spawn_and_failure", 3, 2_000, || {
        let group = group();
        let failing = group.admit().unwrap();
        attach(&group, failing, &token());
        let line = StartLine::new();
        let failure = {
            let group = group.clone();
            line.spawn(move || {
                carry_out(group.fail("failed", failing, "another failed"));
                if let Some(waker) = group.leave(failing) {
                    waker.wake();
                }
            })
        };
        let spawner = {
            let group = group.clone();
            line.spawn(move || {
                let Ok(number) = group.admit() else { return };
                let child = token();
                attach(&group, number, &child);
                live_until_cancelled(&group, number, &child);
            })
        };
        line.pass();
        assert_eq!(end(&group), ["failed"]);
        failure.join().unwrap();
        spawner.join().unwrap();
        assert_eq!(group.len(), 0);
    });
}

/// G1. 1 thread that spawns a child which is done at once × the future, which waits for the end: the child is refused, or the group ends after it. And a
/// child that is done before its handle is attached leaves nothing in the set. Preemptions 3.
#[test]
fn a_child_spawned_into_a_group_that_ends_is_refused_or_waited_for() {
    check("task_group::spawn_and_end", 3, 20, || {
        let group = group();
        let first = group.admit().unwrap();
        let done = Arc::new(Mutex::new(false));
        let line = StartLine::new();
        let spawner = {
            let (group, done) = (group.clone(), done.clone());
            line.spawn(move || {
                // The first child spawns the second, and both are done.
                let second = group.admit();
                assert!(second.is_ok(), "the group does not end while the first is in it");
                let second = second.unwrap_or_default();
                if let Some(waker) = group.leave(first) {
                    waker.wake();
                }
                *done.lock() = true;
                if let Some(waker) = group.leave(second) {
                    waker.wake();
                }
                attach(&group, second, &token());
            })
        };
        line.pass();
        assert!(end(&group).is_empty());
        assert!(*done.lock(), "it ended before its child");
        spawner.join().unwrap();
        assert_eq!(group.len(), 0);
        assert!(group.admit().is_err());
    });
}

/// G3. 1 thread that cancels the group × the future, which waits for news while its body runs, and then for the end. Preemptions 3.
#[test]
fn a_body_that_waits_hears_of_the_end() {
    check("task_group::body_hears", 3, 1_000, || {
        let group = group();
        let child = token();
        let number = group.admit().unwrap();
        attach(&group, number, &child);
        let line = StartLine::new();
        let canceller = {
            let group = group.clone();
            line.spawn(move || carry_out(group.abort(Cancelled::new(Some("enough")))))
        };
        let runner = {
            let (group, child) = (group.clone(), child.clone());
            line.spawn(move || live_until_cancelled(&group, number, &child))
        };
        line.pass();
        let reason = block_on(poll_fn(|cx| match group.poll_body(cx.waker().clone()) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }));
        assert_eq!(reason.reason(), Some("enough"));
        assert!(end(&group).is_empty());
        canceller.join().unwrap();
        runner.join().unwrap();
    });
}

/// G2. 1 thread that spawns × the future, which is dropped: the child is refused, or aborted by the one or the other. Preemptions 4.
#[test]
fn a_child_spawned_while_the_group_is_dropped_is_refused_or_aborted() {
    check("task_group::spawn_and_drop", 4, 10, || {
        let group = group();
        let line = StartLine::new();
        let spawner = {
            let group = group.clone();
            line.spawn(move || {
                let Ok(number) = group.admit() else { return };
                let child = token();
                attach(&group, number, &child);
                live_until_cancelled(&group, number, &child);
            })
        };
        line.pass();
        group.close().iter().for_each(cancel);
        spawner.join().unwrap();
        assert_eq!(group.len(), 0);
    });
}
