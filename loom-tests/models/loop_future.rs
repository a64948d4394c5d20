//! Models of a future that is answered: C1-C6 of `future/completion.rs`, L1 and L2 of `future/relay.rs`. A lost wake shows as a deadlock: the
//! one who awaits blocks for ever.
//!
//! Completions are shared by std's `Arc`, which loom does not see and does not have to: what is explored is the order of the critical
//! sections, and the looks at the answer before them. The loop that callbacks are queued on is a list.

use std::future::poll_fn;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use loom::future::block_on;

use super::super::relay::relay;
use super::{Completion, Place};
use crate::error::TaskError;
use crate::loom::{Mutex, StartLine, check};
use crate::task::{Outcome, Runnable, Schedule, Spawn, TaskRef, spawn};

/// A completion with numbers for answers and callbacks, and the loop that it queues on.
struct Bench {
    completion: Completion<u32, u32>,
    queued: Mutex<Vec<u32>>,
}

impl Bench {
    fn new() -> Arc<Bench> {
        Arc::new(Bench { completion: Completion::new(), queued: Mutex::new(Vec::new()) })
    }

    fn answer(&self, answer: u32) -> bool {
        self.completion.answer(answer, |callback| self.queued.lock().push(callback)).is_ok()
    }

    /// Adds a callback, and queues it at once if it comes late.
    fn add(&self, callback: u32) -> u64 {
        let (number, left) = self.completion.add(callback);
        if let Some(callback) = left {
            self.queued.lock().push(callback);
        }
        number
    }

    fn wait(&self) -> u32 {
        let mut place = None;
        block_on(poll_fn(|cx| match self.completion.poll(&mut place, cx.waker()) {
            true => Poll::Ready(*self.completion.get().expect("it is there")),
            false => Poll::Pending,
        }))
    }

    fn queued(&self) -> Vec<u32> {
        self.queued.lock().clone()
    }
}

/// C1, C2. 1 thread that answers × 2 that await: both get the answer, whether they enter before, during or after it. Preemptions 3.
#[test]
fn everybody_who_awaits_gets_the_answer() {
    check("loop_future::awaits", 3, 100, || {
        let bench = Bench::new();
        let line = StartLine::new();
        let (answers, awaits) = (bench.clone(), bench.clone());
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        let other = line.spawn(move || awaits.wait());
        line.pass();
        assert_eq!(bench.wait(), 7);
        assert_eq!(other.join().unwrap(), 7);
        answerer.join().unwrap();
    });
}

/// C1. 2 threads that answer (a result and a cancellation) × 1 that awaits: one answer is taken, the other refused, and everybody sees the
/// same. Preemptions 3.
#[test]
fn one_of_two_answers_is_taken() {
    check("loop_future::answers", 3, 100, || {
        let bench = Bench::new();
        let line = StartLine::new();
        let (first, second) = (bench.clone(), bench.clone());
        let one = line.spawn(move || first.answer(1));
        let two = line.spawn(move || second.answer(2));
        line.pass();
        let seen = bench.wait();
        let taken = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(taken, (seen == 1, seen == 2));
        assert_eq!(bench.completion.get(), Some(&seen));
    });
}

/// C2, C3, C4. 1 thread that answers × 1 that adds two callbacks, with one there before: each is queued once, in the order in which they
/// came. Preemptions 4.
#[test]
fn callbacks_that_come_late_come_last() {
    check("loop_future::late_callbacks", 4, 100, || {
        let bench = Bench::new();
        bench.add(1);
        let line = StartLine::new();
        let (answers, adds) = (bench.clone(), bench.clone());
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        let adder = line.spawn(move || {
            adds.add(2);
            adds.add(3);
        });
        line.pass();
        answerer.join().unwrap();
        adder.join().unwrap();
        assert_eq!(bench.queued(), [1, 2, 3]);
    });
}

/// C2, C3. 1 thread that answers when nobody is there × 1 that adds a callback: it is queued, once, whenever it comes. Preemptions 5.
#[test]
fn a_callback_that_comes_alone_is_queued() {
    check("loop_future::lone_callback", 5, 5, || {
        let bench = Bench::new();
        let line = StartLine::new();
        let answers = bench.clone();
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        line.pass();
        bench.add(1);
        answerer.join().unwrap();
        assert_eq!(bench.queued(), [1]);
    });
}

/// C3. 1 thread that answers × 1 that removes a callback: it is removed or queued, and not both. Preemptions 5.
#[test]
fn a_callback_is_removed_or_queued() {
    check("loop_future::remove", 5, 5, || {
        let bench = Bench::new();
        let number = bench.add(1);
        let line = StartLine::new();
        let answers = bench.clone();
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        line.pass();
        let is_removed = bench.completion.remove(number).is_some();
        answerer.join().unwrap();
        assert_eq!(bench.queued().len(), usize::from(!is_removed));
    });
}

/// What a waker keeps alive, and how often it was woken.
struct Alive(Mutex<usize>);

impl Wake for Alive {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

/// C6. 1 thread that answers × 1 that polls with two wakers and gives up, × 1 that awaits: the one that gave up leaves no waker, and the one
/// that stays is told. Preemptions 3.
#[test]
fn who_gives_up_leaves_no_waker() {
    check("loop_future::give_up", 3, 100, || {
        let bench = Bench::new();
        let line = StartLine::new();
        let (answers, awaits) = (bench.clone(), bench.clone());
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        let other = line.spawn(move || awaits.wait());
        line.pass();
        let wakers = [Arc::new(Alive(Mutex::new(0))), Arc::new(Alive(Mutex::new(0)))];
        let mut place: Option<Place> = None;
        for alive in &wakers {
            bench.completion.poll(&mut place, &Waker::from(alive.clone()));
        }
        bench.completion.leave(&mut place);
        if bench.completion.get().is_none() {
            // The list was not taken before the waiter left.
            assert!(wakers.iter().all(|alive| Arc::strong_count(alive) == 1), "a waker was left behind");
        }
        answerer.join().unwrap();
        assert_eq!(other.join().unwrap(), 7);
        for alive in wakers {
            assert_eq!(Arc::strong_count(&alive), 1, "a waker is left in the end");
        }
    });
}

/// C2. 1 thread that answers × 1 that polls with one waker and then another: told through the second unless it found the answer.
/// Preemptions 5.
#[test]
fn the_last_waker_is_woken() {
    check("loop_future::renew", 5, 10, || {
        let bench = Bench::new();
        let line = StartLine::new();
        let answers = bench.clone();
        let answerer = line.spawn(move || assert!(answers.answer(7)));
        line.pass();
        let last = Arc::new(Alive(Mutex::new(0)));
        let mut place: Option<Place> = None;
        let found = bench.completion.poll(&mut place, Waker::noop())
            || bench.completion.poll(&mut place, &Waker::from(last.clone()));
        answerer.join().unwrap();
        assert_eq!(*last.0.lock(), usize::from(!found));
    });
}

/// A scheduler that keeps the one Runnable.
#[derive(Clone)]
struct Slot(crate::loom::Arc<Mutex<Option<Runnable>>>);

impl Schedule for Slot {
    fn schedule(&self, runnable: Runnable) {
        *self.0.lock() = Some(runnable);
    }

    fn release(&self, _: TaskRef) -> bool {
        false
    }
}

/// L1, L2. 1 thread that runs a task to its end × 1 that makes it shared, and awaits: the output arrives, once, wherever the task is by
/// then; and the cell is freed (loom counts its reference to the scheduler). Preemptions 4.
#[test]
fn a_tasks_output_reaches_its_future() {
    check("loop_future::relay", 4, 100, || {
        let bench = Bench::new();
        let slot = Slot(crate::loom::Arc::new(Mutex::new(None)));
        let (runnable, task) = spawn(async { 7 }, slot, Spawn::at(Location::caller()), false);
        let line = StartLine::new();
        let runner = line.spawn(move || assert!(matches!(runnable.run(), Outcome::Finished)));
        line.pass();
        let answers = bench.clone();
        relay(task, move |output: Result<u32, TaskError>| assert!(answers.answer(output.unwrap())));
        assert_eq!(bench.wait(), 7);
        runner.join().unwrap();
    });
}

/// L1, L2. As before, with a task that is aborted meanwhile by a third thread: an answer arrives, whichever it is. Preemptions 2.
#[test]
fn an_aborted_task_answers_too() {
    check("loop_future::relay_abort", 2, 100, || {
        let bench = Bench::new();
        let slot = Slot(crate::loom::Arc::new(Mutex::new(None)));
        let (runnable, task) = spawn(async { 7 }, slot, Spawn::at(Location::caller()), false);
        let handle = task.handle();
        let line = StartLine::new();
        let runner = line.spawn(move || assert!(matches!(runnable.run(), Outcome::Finished)));
        let aborter = line.spawn(move || handle.abort());
        line.pass();
        let answers = bench.clone();
        relay(task, move |output: Result<u32, TaskError>| assert!(answers.answer(output.unwrap_or(0))));
        assert!([0, 7].contains(&bench.wait()));
        runner.join().unwrap();
        aborter.join().unwrap();
    });
}
