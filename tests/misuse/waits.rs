//! Locks, queues and the like; executors.

use std::sync::Arc;
use std::time::Duration;

use eddies::sync::{Barrier, BoundedSemaphore, Lock, Queue, Semaphore, channel};
use eddies::{EventLoop, Executor, catch_cancel, spawn, timeout, yield_now};

use super::{ends, listening, panic_of, says};

#[test]
fn locked_a_lock_twice() {
    ends(|| {
        eddies::run(async {
            let lock = Lock::new(1);
            let guard = lock.lock().await;
            // As in asyncio a lock does not know its owner: a time limit or a cancellation ends the wait, and `try_lock` does not begin it.
            assert!(lock.try_lock().is_err());
            says(timeout(Duration::from_millis(2), lock.lock()).await.unwrap_err(), &["elapsed"]);
            drop(guard);
            assert_eq!(*lock.lock().await, 1);
        });
    });
}

#[test]
fn panicked_with_a_lock_held() {
    ends(|| {
        eddies::run(async {
            let lock = Arc::new(Lock::new(1));
            let theirs = lock.clone();
            let task = spawn(async move {
                let _guard = theirs.lock().await;
                panic!("with the lock");
            });
            assert!(task.await.unwrap_err().is_panic());
            assert_eq!(*lock.lock().await, 1, "there is no poison");
        });
    });
}

#[test]
fn released_or_finished_more_than_there_was() {
    ends(|| {
        says(Queue::<u32>::new(1).task_done().unwrap_err(), &["more often than items were put"]);
        says(BoundedSemaphore::new(1).release().unwrap_err(), &["more often than permits"]);
        says(panic_of(|| Semaphore::new(1).add_permits(usize::MAX)), &["permits"]);
    });
}

#[test]
fn made_one_of_size_zero() {
    ends(|| {
        says(panic_of(|| Barrier::new(0)), &["a barrier needs at least one party"]);
        says(panic_of(|| channel::<u32>(0)), &["a channel needs room for at least one item"]);
        // asyncio's zero: no limit.
        let queue = Queue::new(0);
        (0..1000).for_each(|n| queue.put_nowait(n).unwrap());
        assert!(!queue.is_full());
    });
}

#[test]
fn left_a_barrier_that_others_wait_at() {
    ends(|| {
        eddies::run(async {
            let barrier = Arc::new(Barrier::new(2));
            let theirs = barrier.clone();
            let task = spawn(async move { theirs.wait().await });
            while barrier.n_waiting() == 0 {
                yield_now().await;
            }
            barrier.abort();
            says(task.await.unwrap().unwrap_err(), &["barrier"]);
        });
    });
}

#[test]
fn used_a_queue_after_its_shutdown() {
    ends(|| {
        eddies::run(async {
            let queue = Arc::new(Queue::new(1));
            let theirs = queue.clone();
            let getter = spawn(async move { theirs.get().await });
            yield_now().await;
            queue.shutdown(false);
            assert!(getter.await.unwrap().is_err());
            let refused = queue.put(7).await.unwrap_err();
            says(refused, &["shut down"]);
            assert_eq!(refused.0, 7, "the item comes back");
        });
    });
}

#[test]
fn awaited_more_in_a_cleanup_that_is_cancelled_again() {
    ends(|| {
        eddies::run(async {
            let lock = Arc::new(Lock::new(0));
            let guard = lock.clone().lock_owned().await;
            let theirs = lock.clone();
            let task = spawn(async move {
                let _ = catch_cancel(std::future::pending::<()>()).await;
                // The cleanup waits for something as well, outside of any scope.
                *theirs.lock().await += 1;
            });
            for _ in 0..2 {
                eddies::sleep(Duration::from_millis(1)).await;
                task.cancel("again");
            }
            assert!(task.await.unwrap_err().is_cancelled());
            drop(guard);
            assert_eq!(*lock.lock().await, 0);
        });
    });
}

/// Runs jobs when and where it likes.
struct Strange(fn(Box<dyn FnOnce() + Send>));

impl Executor for Strange {
    fn execute(&self, job: Box<dyn FnOnce() + Send>) {
        (self.0)(job);
    }
}

#[test]
fn wrote_an_executor_that_loses_runs_or_breaks() {
    ends(|| {
        let (event_loop, heard) = listening();
        let lost = event_loop.run_in_executor_on(&Strange(drop), || 1).unwrap();
        assert!(event_loop.run_until_complete(lost).unwrap().unwrap_err().is_cancelled());
        let inline = event_loop.run_in_executor_on(&Strange(|job| job()), || 2).unwrap();
        assert_eq!(event_loop.run_until_complete(inline).unwrap().unwrap(), 2);
        let message = panic_of(|| event_loop.run_in_executor_on(&Strange(|_| panic!("no threads today")), || 3));
        assert_eq!(message, "no threads today", "it is the caller's own executor");
        let job = event_loop.run_in_executor_on(&Strange(|job| job()), || panic!("in the job")).unwrap();
        let outcome: Result<(), _> = event_loop.run_until_complete(job).unwrap();
        says(outcome.unwrap_err(), &["the task panicked: in the job"]);
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
#[deny(unused_must_use, reason = "a program that spawns and forgets is in order")]
fn started_a_task_that_nobody_awaits() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        event_loop.create_task(async move { handle.stop() }).unwrap();
        event_loop.run_forever().unwrap();
    });
}
