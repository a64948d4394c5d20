//! `wait` and `Task::result`: tasks are divided and looked at, and neither aborted nor lost.

use std::future::{Future, pending, poll_fn};
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use eddies::{Task, TaskId, When, spawn, timeout, wait, yield_now};

/// Something that tasks wait for.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    fn open(&self) {
        let waiters = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    fn passed(&self) -> impl Future<Output = ()> + Send + 'static {
        let gate = self.clone();
        poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// A task that gives `output` when the gate is open.
    fn task<T: Send + 'static>(&self, output: T) -> Task<T> {
        let passed = self.passed();
        spawn(async move {
            passed.await;
            output
        })
    }
}

fn ids<T>(tasks: &[Task<T>]) -> Vec<TaskId> {
    tasks.iter().map(|task| task.id()).collect()
}

/// Waits, by yielding, until the task is finished.
async fn finished<T>(task: &Task<T>) {
    while !task.is_finished() {
        yield_now().await;
    }
}

async fn outputs<T>(tasks: Vec<Task<T>>) -> Vec<T> {
    eddies::try_gather(tasks).await.unwrap()
}

#[test]
fn all_are_waited_for_and_keep_their_order() {
    eddies::run(async {
        let gates = [Gate::default(), Gate::default(), Gate::default()];
        let tasks: Vec<_> = gates.iter().enumerate().map(|(n, gate)| gate.task(n)).collect();
        let mut all = wait(tasks, When::All, None);
        for gate in gates.iter().rev() {
            assert!(timeout(Duration::ZERO, &mut all).await.is_err());
            gate.open();
        }
        let (done, rest) = all.await;
        assert!(rest.is_empty());
        assert_eq!(outputs(done).await, [0, 1, 2]);
    });
}

#[test]
fn the_first_is_waited_for_and_the_others_run_on() {
    eddies::run(async {
        let (early, late) = (Gate::default(), Gate::default());
        let tasks = vec![late.task('a'), early.task('b'), late.task('c')];
        let named = ids(&tasks);
        early.open();
        let (done, rest) = wait(tasks, When::FirstCompleted, None).await;
        assert_eq!((ids(&done), ids(&rest)), (vec![named[1]], vec![named[0], named[2]]));
        assert!(done.iter().all(|task| task.is_finished()));
        assert_eq!(outputs(done).await, ['b']);
        late.open();
        assert_eq!(outputs(rest).await, ['a', 'c']);
    });
}

#[test]
fn all_that_are_finished_are_given_with_the_first() {
    eddies::run(async {
        let tasks = vec![spawn(async { 1 }), spawn(pending()), spawn(async { 3 })];
        finished(&tasks[0]).await;
        finished(&tasks[2]).await;
        let (done, rest) = wait(tasks, When::FirstCompleted, None).await;
        assert_eq!((outputs(done).await, rest.len()), (vec![1, 3], 1));
        rest[0].abort();
    });
}

#[test]
fn waiting_again_and_again_gives_each_once() {
    eddies::run(async {
        let mut rest: Vec<_> = (0..50).map(|n| spawn(async move { n })).collect();
        let mut given = Vec::new();
        while !rest.is_empty() {
            let done;
            (done, rest) = wait(rest, When::FirstCompleted, None).await;
            assert!(!done.is_empty());
            given.extend(outputs(done).await);
        }
        given.sort();
        assert!(given.into_iter().eq(0..50));
    });
}

#[test]
fn the_first_panic_ends_the_wait() {
    eddies::run(async {
        let gate = Gate::default();
        let panics = {
            let passed = gate.passed();
            spawn(async move {
                passed.await;
                panic!("of a task")
            })
        };
        let tasks = vec![spawn(async { 1 }), spawn(pending()), panics];
        finished(&tasks[0]).await;
        let mut first = wait(tasks, When::FirstException, None);
        assert!(timeout(Duration::ZERO, &mut first).await.is_err(), "a task that succeeds is not enough");
        gate.open();
        let (mut done, rest) = first.await;
        assert_eq!((done.len(), rest.len()), (2, 1));
        assert!(matches!(done[1].result(), Some(Err(error)) if error.is_panic()));
        rest[0].abort();
    });
}

#[test]
fn a_cancelled_task_and_a_returned_error_are_no_exception() {
    eddies::run(async {
        let gate = Gate::default();
        let aborted = spawn(pending());
        aborted.abort();
        let fails = spawn(async { Err("a value like others") });
        finished(&aborted).await;
        finished(&fails).await;
        let mut first = wait([aborted, fails, gate.task(Ok(()))], When::FirstException, None);
        assert!(timeout(Duration::ZERO, &mut first).await.is_err());
        gate.open();
        let (done, rest) = first.await;
        assert_eq!((done.len(), rest.len()), (3, 0), "without an exception it waits for all");
    });
}

#[test]
fn the_end_of_the_time_is_no_error_and_aborts_nothing() {
    eddies::run(async {
        let gate = Gate::default();
        let (begin, limit) = (Instant::now(), Duration::from_millis(5));
        let (done, rest) = wait([spawn(async { 1 }), gate.task(2)], When::All, Some(limit)).await;
        assert!(begin.elapsed() >= limit);
        // The first has had time; whether it was enough is the machine's affair.
        assert_eq!(done.len() + rest.len(), 2);
        gate.open();
        assert_eq!(outputs(done.into_iter().chain(rest).collect()).await, [1, 2]);
    });
}

#[test]
fn no_time_at_all_still_gives_what_is_finished() {
    eddies::run(async {
        let tasks = vec![spawn(pending()), spawn(async { 2 })];
        finished(&tasks[1]).await;
        let (done, rest) = wait(tasks, When::All, Some(Duration::ZERO)).await;
        assert_eq!(rest.len(), 1);
        assert_eq!(outputs(done).await, [2]);
        rest[0].abort();
    });
}

#[test]
fn time_that_is_not_needed_is_not_waited_for() {
    eddies::run(async {
        let (done, rest) = wait([spawn(async { 1 })], When::All, Some(Duration::MAX)).await;
        assert_eq!((done.len(), rest.len()), (1, 0));
    });
}

#[test]
fn no_tasks_are_a_mistake_told_at_the_call() {
    let payload = catch_unwind(|| wait::<Task<()>>([], When::All, None)).unwrap_err();
    assert!(payload.downcast_ref::<&str>().unwrap().contains("was given no tasks"));
}

#[test]
fn a_wait_by_reference_loses_nothing_when_it_is_dropped() {
    eddies::run(async {
        let gate = Gate::default();
        let mut tasks = [gate.task(1), gate.task(2)];
        let waiting = wait(&mut tasks, When::All, None);
        assert!(timeout(Duration::ZERO, waiting).await.is_err());
        gate.open();
        let (done, _) = wait(tasks.iter_mut(), When::All, None).await;
        assert_eq!(done.len(), 2);
        assert_eq!(outputs(tasks.into()).await, [1, 2]);
    });
}

#[test]
fn a_dropped_wait_detaches_its_tasks() {
    eddies::run(async {
        let (begin, end) = (Gate::default(), Gate::default());
        let task = {
            let (begin, end) = (begin.passed(), end.clone());
            spawn(async move {
                begin.await;
                end.open();
            })
        };
        assert!(timeout(Duration::ZERO, wait([task], When::All, None)).await.is_err());
        begin.open();
        end.passed().await;
    });
}

#[test]
fn thousands_are_waited_for() {
    eddies::run(async {
        let tasks = (0..10_000).map(|n| spawn(async move { n }));
        let (done, rest) = wait(tasks, When::All, None).await;
        assert!(rest.is_empty());
        assert!(outputs(done).await.into_iter().eq(0..10_000));
    });
}

#[test]
fn a_result_is_read_many_times_and_then_taken() {
    eddies::run(async {
        let gate = Gate::default();
        let mut task = gate.task("output".to_owned());
        assert!(task.result().is_none(), "not finished");
        gate.open();
        finished(&task).await;
        for _ in 0..2 {
            assert_eq!(task.result().unwrap().unwrap(), "output");
        }
        assert_eq!(Pin::new(&mut task).await.unwrap(), "output");
        assert!(task.is_finished() && task.result().is_none(), "it was taken");

        let mut aborted = spawn(pending::<()>());
        aborted.abort();
        finished(&aborted).await;
        assert!(aborted.result().unwrap().unwrap_err().is_cancelled());
    });
}
