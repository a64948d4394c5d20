//! Models of the task: its state word, its cell and its registry, on a scheduler that is a list.
//!
//! Each cell holds a counted reference to the list, and loom reports a count that does not come down to zero: a cell that is never freed
//! fails its model, and so does one freed twice. Futures and outputs are counted by [`Probe`].

#![allow(unsafe_code, reason = "a cell of loom's, that tells an access after the end of a task from one before")]

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::registry::Registry;
use super::{Outcome, Runnable, Schedule, Spawn, Task, TaskRef, spawn};
use crate::error::TaskError;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Arc, Mutex, StartLine, UnsafeCell, check};

/// A scheduler and registry for one model.
pub(super) struct Bench {
    runnables: Mutex<VecDeque<Runnable>>,
    registry: Registry,
}

#[derive(Clone)]
pub(super) struct Scheduler(Arc<Bench>);

/// What a cell holds of its scheduler. Its destructor writes what the other methods read, so that a cell freed before they are over is a race.
struct Place {
    scheduler: Scheduler,
    is_freed: UnsafeCell<bool>,
}

impl Place {
    fn touch(&self) {
        // SAFETY: read by reference holders, written by the destructor alone, which T5 puts after them: that is what loom checks.
        self.is_freed.with(|is_freed| assert!(!unsafe { *is_freed }));
    }
}

impl Clone for Place {
    /// A place of its own, that is freed on its own.
    fn clone(&self) -> Self {
        self.touch();
        Place { scheduler: self.scheduler.clone(), is_freed: UnsafeCell::new(false) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: as in `touch`.
        self.is_freed.with_mut(|is_freed| unsafe { *is_freed = true });
    }
}

// SAFETY: see `touch`.
unsafe impl Sync for Place {}

impl Schedule for Place {
    fn schedule(&self, runnable: Runnable) {
        self.scheduler.schedule(runnable);
        // Whoever took the Runnable may have freed the cell by now.
        self.touch();
    }

    fn release(&self, task: TaskRef) -> bool {
        self.touch();
        self.scheduler.0.registry.remove(task).was_linked
    }
}

impl Scheduler {
    pub(super) fn new() -> Self {
        Scheduler(Arc::new(Bench { runnables: Mutex::new(VecDeque::new()), registry: Registry::new() }))
    }

    fn schedule(&self, runnable: Runnable) {
        self.0.runnables.lock().push_back(runnable);
    }

    pub(super) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let place = Place { scheduler: self.clone(), is_freed: UnsafeCell::new(false) };
        let (runnable, task) = spawn(future, place, Spawn::at(Location::caller()), true);
        if self.0.registry.insert(runnable.task_ref()) {
            self.schedule(runnable);
        }
        task
    }

    /// Runs what is runnable now; how many polls that took.
    pub(super) fn run(&self) -> usize {
        let mut polls = 0;
        loop {
            let next = self.0.runnables.lock().pop_front();
            let Some(runnable) = next else { return polls };
            polls += 1;
            if let Outcome::Reschedule(runnable) = runnable.run() {
                self.schedule(runnable);
            }
        }
    }
}

/// Counts how often it was dropped.
pub(super) struct Probe(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Probe {
    pub(super) fn new() -> (Probe, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
        let drops = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        (Probe(drops.clone()), drops)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

pub(super) fn drops(of: &std::sync::Arc<std::sync::atomic::AtomicUsize>) -> usize {
    of.load(std::sync::atomic::Ordering::Relaxed)
}

/// Ready when both flags are set, which it reads with no ordering of its own; tells its waker at the first poll.
pub(super) struct WaitForFlags {
    pub(super) flags: Arc<[AtomicBool; 2]>,
    pub(super) waker: std::sync::Arc<std::sync::Mutex<Option<Waker>>>,
}

impl Future for WaitForFlags {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
        // Ordering: Relaxed: that the poll sees what was set before the wake is what the model checks (T6).
        if self.flags.iter().all(|flag| flag.load(Ordering::Relaxed)) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A task that has been polled once, its flags and its waker.
pub(super) fn waiting_task(scheduler: &Scheduler) -> (Task<()>, Arc<[AtomicBool; 2]>, Waker) {
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let waker = std::sync::Arc::default();
    let task = scheduler.spawn(WaitForFlags { flags: flags.clone(), waker: std::sync::Arc::clone(&waker) });
    assert_eq!(scheduler.run(), 1);
    let waker = waker.lock().unwrap().take().unwrap();
    (task, flags, waker)
}

/// 2 wakers and 1 runner: the task is polled after the last wake, and that poll sees what was written before each wake, also when a wake
/// found the task scheduled already (T6). Bound 3.
#[test]
fn two_wakers_and_a_runner_lose_no_wake() {
    check("task_two_wakers", 3, 2_000, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        let threads: Vec<_> = (0..2)
            .map(|i| {
                let (flags, waker) = (flags.clone(), waker.clone());
                line.spawn(move || {
                    // Ordering: Relaxed: the wake is to publish it.
                    flags[i].store(true, Ordering::Relaxed);
                    if i == 0 { waker.wake() } else { waker.wake_by_ref() }
                })
            })
            .collect();
        line.pass();
        drop(waker);
        let early = scheduler.run();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(early + scheduler.run() <= 2, "at most one poll for each wake");
        assert!(task.is_finished(), "the wake was lost");
    });
}

/// 2 runners, one of which wakes: the second may poll what the first has just left, and nothing but the state word lies between the two; loom
/// sees each access to the stage (T1). Bound 3.
#[test]
fn a_future_that_changes_threads_is_as_it_was_left() {
    check("task_two_runners", 3, 460, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        waker.wake_by_ref();
        let other = scheduler.clone();
        let second = line.spawn(move || {
            for flag in flags.iter() {
                // Ordering: Relaxed: the wake is to publish it.
                flag.store(true, Ordering::Relaxed);
            }
            waker.wake();
            other.run();
        });
        line.pass();
        scheduler.run();
        second.join().unwrap();
        scheduler.run();
        assert!(task.is_finished());
    });
}

/// 1 runner that is in a poll, 1 waker: a wake during the poll causes exactly one more. Bound 3.
#[test]
fn a_wake_during_the_poll_reschedules_once() {
    check("task_wake_while_running", 3, 310, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        let other = flags.clone();
        waker.wake_by_ref();
        let thread = line.spawn(move || {
            for flag in other.iter() {
                // Ordering: Relaxed: the wake is to publish it.
                flag.store(true, Ordering::Relaxed);
            }
            waker.wake();
        });
        line.pass();
        let early = scheduler.run();
        thread.join().unwrap();
        let late = scheduler.run();
        assert!(task.is_finished() && (1..=2).contains(&(early + late)), "{early} + {late} polls");
    });
}

/// 1 runner that completes the task, 1 waker that wakes and drops the last waker: no Runnable outlives the completion, the cell is freed
/// once, whoever comes last. Bound 3.
#[test]
fn wake_and_last_reference_against_complete() {
    check("task_wake_vs_complete", 3, 99, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        for flag in flags.iter() {
            // Ordering: Relaxed: the runner is this very thread.
            flag.store(true, Ordering::Relaxed);
        }
        drop(task);
        waker.wake_by_ref();
        let thread = line.spawn(move || {
            waker.wake_by_ref();
            let second = waker.clone();
            drop(waker);
            second.wake();
        });
        line.pass();
        scheduler.run();
        thread.join().unwrap();
        assert_eq!(scheduler.run(), 0, "a complete task was scheduled");
        assert_eq!(scheduler.0.registry.len(), 0);
    });
}

/// 1 runner, 1 aborter, 1 waker: the future is dropped once, the task completes, the handle tells what happened. Bound 3.
#[test]
fn abort_against_poll_and_wake() {
    check("task_abort", 3, 540, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        let abort = task.handle();
        let aborter = line.spawn(move || abort.abort());
        let setter = flags.clone();
        let waking = line.spawn(move || {
            for flag in setter.iter() {
                // Ordering: Relaxed: the wake is to publish it.
                flag.store(true, Ordering::Relaxed);
            }
            waker.wake();
        });
        line.pass();
        scheduler.run();
        aborter.join().unwrap();
        waking.join().unwrap();
        scheduler.run();
        assert!(task.is_finished());
        match loom::future::block_on(task) {
            Ok(()) | Err(TaskError::Cancelled(_)) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(Arc::strong_count(&flags), 1, "the future was dropped");
    });
}

/// 1 runner that completes, 1 joiner that awaits: the joiner is woken and gets the output, once. Bound 3.
#[test]
fn a_joiner_gets_the_output() {
    check("task_join_vs_complete", 3, 630, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let task = scheduler.spawn(async move { probe });
        let joiner = line.spawn(move || {
            let probe = loom::future::block_on(task).unwrap();
            assert_eq!(drops(&probe.0), 0);
        });
        line.pass();
        scheduler.run();
        joiner.join().unwrap();
        assert_eq!(drops(&dropped), 1);
    });
}

/// Wakes nobody.
struct Deaf;

impl std::task::Wake for Deaf {
    fn wake(self: std::sync::Arc<Self>) {}
}

/// A waker, and a reference to count its clones by.
fn counting_waker() -> (Waker, std::sync::Arc<Deaf>) {
    let deaf = std::sync::Arc::new(Deaf);
    (Waker::from(deaf.clone()), deaf)
}

/// 1 runner that completes, 1 thread that polls the handle with one waker, then with another, and drops it: the output is dropped once, by
/// whoever owns it, the join waker's slot is emptied once. Bound 3.
#[test]
fn a_handle_that_changes_its_waker_and_goes_away() {
    check("task_drop_join_vs_complete", 3, 420, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let mut task = scheduler.spawn(async move { probe });
        // Keeps the cell to the end: it is not the cell's end that empties the slot.
        let abort = task.handle();
        let joiner = line.spawn(move || {
            let (first, second) = (counting_waker(), counting_waker());
            for waker in [&first.0, &second.0] {
                if let Poll::Ready(output) = Pin::new(&mut task).poll(&mut Context::from_waker(waker)) {
                    drop(output);
                    break;
                }
            }
            drop(task);
            (first.1, second.1)
        });
        line.pass();
        scheduler.run();
        let (first, second) = joiner.join().unwrap();
        assert_eq!(drops(&dropped), 1, "the output");
        assert_eq!(
            (std::sync::Arc::strong_count(&first), std::sync::Arc::strong_count(&second)),
            (1, 1),
            "the slot was emptied"
        );
        drop(abort);
    });
}

/// 1 runner that completes, 1 thread that drops the handle right after the spawn: the short cut frees nothing too early. Bound 3.
#[test]
fn a_handle_dropped_at_once() {
    check("task_drop_at_once", 3, 28, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let task = scheduler.spawn(async move { probe });
        let dropper = line.spawn(move || drop(task));
        line.pass();
        scheduler.run();
        dropper.join().unwrap();
        assert_eq!(drops(&dropped), 1);
    });
}

/// 1 runner that completes a task, 1 thread that closes the registry and aborts all: the task is unlinked once, a spawn after the close is
/// cancelled. Bound 3.
#[test]
fn shutdown_against_complete_and_spawn() {
    check("task_registry_shutdown", 3, 350, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let first = scheduler.spawn(std::future::pending::<()>());
        let second = scheduler.spawn(async {});
        let closing = scheduler.clone();
        let closer = line.spawn(move || {
            closing.0.registry.close();
            closing.0.registry.abort_all();
        });
        line.pass();
        scheduler.run();
        let third = scheduler.spawn(std::future::pending::<()>());
        closer.join().unwrap();
        scheduler.run();
        assert_eq!(scheduler.0.registry.len(), 0);
        assert!(first.is_finished() && second.is_finished() && third.is_finished());
    });
}

/// 1 thread that drops the Runnable unrun, 1 joiner: the future is dropped once and the handle says Cancelled. Bound 3.
#[test]
fn a_runnable_dropped_unrun_cancels() {
    check("task_drop_runnable", 3, 1_700, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let task = scheduler.spawn(async move { drop(probe) });
        let joiner = line.spawn(move || loom::future::block_on(task).is_err_and(|error| error.is_cancelled()));
        line.pass();
        let runnable = scheduler.0.runnables.lock().pop_front();
        drop(runnable);
        assert!(joiner.join().unwrap());
        assert_eq!(drops(&dropped), 1);
    });
}

/// 1 runner that completes the task, 1 handle that looks at the output: it sees none, or all of it, and can take it after (T3). Bound 3.
#[test]
fn a_look_at_the_output_sees_none_or_all_of_it() {
    check("task_result_vs_complete", 3, 20, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let mut task = scheduler.spawn(async { 7 });
        let runner = scheduler.clone();
        let thread = line.spawn(move || runner.run());
        line.pass();
        assert!(matches!(task.result(), None | Some(Ok(7))));
        thread.join().unwrap();
        assert!(matches!(task.result(), Some(Ok(7))));
        let poll = Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Ready(Ok(7))) && task.result().is_none());
    });
}

/// 1 runner, 1 thread that polls the handle with a deaf waker, then awaits it with its own: the waker that counts is the last (T4). Bound 3.
#[test]
fn a_swapped_join_waker_is_woken() {
    check("task_join_swap", 3, 920, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let mut task = scheduler.spawn(async move { probe });
        let joiner = line.spawn(move || {
            let (waker, deaf) = counting_waker();
            let output = match Pin::new(&mut task).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => output,
                Poll::Pending => loom::future::block_on(task),
            };
            drop(waker);
            (output.is_ok(), deaf)
        });
        line.pass();
        scheduler.run();
        let (has_output, deaf) = joiner.join().unwrap();
        assert!(has_output);
        assert_eq!(drops(&dropped), 1);
        assert_eq!(std::sync::Arc::strong_count(&deaf), 1, "the first waker is gone");
    });
}

/// 1 runner that completes, 1 aborter, 1 joiner: the joiner is woken and gets the output or Cancelled; nothing is left to run. Bound 2.
#[test]
fn abort_against_complete_and_join() {
    check("task_abort_vs_complete", 2, 3_700, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let task = scheduler.spawn(async move { probe });
        let abort = task.handle();
        let aborter = line.spawn(move || abort.abort());
        let joiner = line.spawn(move || match loom::future::block_on(task) {
            Ok(_) | Err(TaskError::Cancelled(_)) => {}
            Err(other) => panic!("{other}"),
        });
        line.pass();
        assert_eq!(scheduler.run(), 1);
        aborter.join().unwrap();
        joiner.join().unwrap();
        assert_eq!(scheduler.run(), 0, "a complete task was scheduled");
        assert_eq!(drops(&dropped), 1);
    });
}

/// Panics in the poll that follows a wake, and once more when it is dropped.
struct Bomb {
    waker: std::sync::Arc<std::sync::Mutex<Option<Waker>>>,
    polls: usize,
    _probe: Probe,
}

impl Future for Bomb {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls += 1;
        if self.polls > 1 {
            // Not `panic!`: the hook would print it for each execution.
            std::panic::resume_unwind(Box::new("poll"));
        }
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("drop"));
    }
}

/// 1 runner, 1 waker whose wake leads to a poll that panics, 1 aborter; the destructor panics in any case: the future is dropped once, the
/// handle gives a panic, nothing is left to run. Bound 3.
#[test]
fn a_panic_against_abort() {
    check("task_panic_vs_abort", 3, 440, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (probe, dropped) = Probe::new();
        let waker = std::sync::Arc::default();
        let task = scheduler.spawn(Bomb { waker: std::sync::Arc::clone(&waker), polls: 0, _probe: probe });
        assert_eq!(scheduler.run(), 1);
        let waker = waker.lock().unwrap().take().unwrap();
        let abort = task.handle();
        let waking = line.spawn(move || waker.wake());
        let aborter = line.spawn(move || abort.abort());
        line.pass();
        let early = scheduler.run();
        waking.join().unwrap();
        aborter.join().unwrap();
        assert_eq!(early + scheduler.run(), 1, "the poll or the drop");
        assert!(task.is_finished());
        match loom::future::block_on(task) {
            Err(TaskError::Panicked(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(drops(&dropped), 1);
    });
}

/// 1 thread that drops a waker, 1 that drops an abort handle, 1 runner that completes the task, whose handle is gone: the last of the three
/// frees the cell, after all that the others did with it (T5). Bound 2.
#[test]
fn the_last_of_three_references_frees() {
    check("task_last_reference", 2, 280, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        for flag in flags.iter() {
            // Ordering: Relaxed: the wake publishes it.
            flag.store(true, Ordering::Relaxed);
        }
        let abort = task.handle();
        drop(task);
        let waking = line.spawn(move || {
            waker.wake_by_ref();
            drop(waker);
        });
        let dropper = line.spawn(move || {
            let _ = abort.is_finished();
            drop(abort);
        });
        line.pass();
        scheduler.run();
        waking.join().unwrap();
        dropper.join().unwrap();
        scheduler.run();
        assert_eq!(scheduler.0.registry.len(), 0);
    });
}

/// 1 thread that clones, wakes and drops a waker while the registry is shut down, and after: the task ends once, its future is dropped once, and
/// what the waker does later is inert. Bound 3.
#[test]
fn a_waker_that_outlives_the_shutdown_is_inert() {
    check("task_waker_after_shutdown", 3, 94, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        let (task, flags, waker) = waiting_task(&scheduler);
        let waking = line.spawn(move || {
            let second = waker.clone();
            waker.wake();
            second
        });
        line.pass();
        scheduler.0.registry.close();
        scheduler.0.registry.abort_all();
        scheduler.run();
        let late = waking.join().unwrap();
        scheduler.run();
        assert!(task.is_finished());
        assert_eq!(scheduler.0.registry.len(), 0);
        drop(task);
        late.wake_by_ref();
        assert_eq!(scheduler.run(), 0);
        drop(scheduler);
        let last = late.clone();
        drop(late);
        last.wake();
        assert_eq!(Arc::strong_count(&flags), 1, "the future was dropped");
    });
}

/// 1 runner that completes two tasks, 1 thread that lists them: no reference is made from one that is gone (G1). Bound 3.
#[test]
fn a_list_of_the_living_against_complete() {
    check("task_registry_describe", 3, 100, || {
        let line = StartLine::new();
        let scheduler = Scheduler::new();
        for _ in 0..2 {
            drop(scheduler.spawn(async {}));
        }
        let listing = scheduler.clone();
        let lister = line.spawn(move || listing.0.registry.describe(1).len());
        line.pass();
        scheduler.run();
        assert!(lister.join().unwrap() <= 2);
        assert_eq!(scheduler.0.registry.len(), 0);
    });
}
