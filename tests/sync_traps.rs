//! Locks, conditions, semaphores, barriers, queues: the traps of asyncio's `test_locks` and `test_queues`. Trap 107, a primitive that is bound to the loop that first
//! had to wait for it, cannot exist: ours belong to no loop.

use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eddies::sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, Queue, Semaphore, TryGetError, TryPutError};
use eddies::testing::wait_all_blocked;
use eddies::{Task, catch_cancel, sleep, spawn, timeout, yield_now};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Who came, in order.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<usize>>>);

impl Order {
    fn add(&self, who: usize) {
        self.0.lock().unwrap().push(who);
    }

    fn seen(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }
}

/// So many tasks, one after the other at its wait.
async fn queued<F, T>(count: usize, wait: impl Fn(usize) -> F) -> Vec<Task<T>>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut tasks = Vec::new();
    for who in 0..count {
        tasks.push(spawn(wait(who)));
        wait_all_blocked().await;
    }
    tasks
}

async fn cancelled<T: Send + 'static>(task: Task<T>) {
    task.cancel(None);
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
}

#[eddies::test(virtual_time)]
async fn trap_102_a_lock_is_first_come_first_served_and_a_cancelled_waiter_passes_it_on() {
    let (lock, order) = (Arc::new(Lock::new(())), Order::default());
    let guard = lock.lock().await;
    let mut tasks = queued(4, |who| {
        let (lock, order) = (lock.clone(), order.clone());
        async move {
            let _guard = lock.lock().await;
            order.add(who);
        }
    })
    .await;
    // One that waits, in the midst of the line.
    cancelled(tasks.remove(1)).await;
    // The lock has been handed to the first already; cancelled before it runs, it passes the lock on. And nobody barges in between.
    drop(guard);
    let first = tasks.remove(0);
    first.cancel(None);
    assert!(lock.try_lock().is_err(), "it is on its way to the next");
    assert!(first.await.is_err());
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(order.seen(), [2, 3]);
    assert!(!lock.is_locked());

    // The holder is cancelled in the midst of its work: it unlocks.
    let held = lock.clone();
    let holder = spawn(async move {
        let _guard = held.lock().await;
        pending::<()>().await
    });
    wait_all_blocked().await;
    assert!(lock.is_locked());
    cancelled(holder).await;
    assert!(!lock.is_locked());
}

#[eddies::test(virtual_time)]
async fn trap_103_a_semaphore_is_locked_while_others_wait_and_serves_them_in_order() {
    let (semaphore, order) = (Arc::new(Semaphore::new(1)), Order::default());
    let permit = semaphore.acquire().await;
    let tasks = queued(3, |who| {
        let (semaphore, order) = (semaphore.clone(), order.clone());
        async move {
            let permit = semaphore.acquire().await;
            order.add(who);
            permit.forget();
        }
    })
    .await;
    drop(permit);
    // The permit is on its way to the first: who comes now is behind all of them.
    assert!(semaphore.is_locked() && semaphore.try_acquire().is_err());
    wait_all_blocked().await;
    assert_eq!(order.seen(), [0]);
    semaphore.add_permits(2);
    assert!(semaphore.is_locked());
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(order.seen(), [0, 1, 2]);

    // A big wish at the head makes those behind it wait, though there would be enough for them.
    semaphore.add_permits(1);
    let big = semaphore.clone();
    let big = spawn(async move { drop(big.acquire_many(2).await) });
    wait_all_blocked().await;
    assert!(semaphore.is_locked() && semaphore.try_acquire().is_err());
    cancelled(big).await;
    assert!(semaphore.try_acquire().is_ok());
}

#[eddies::test(virtual_time)]
async fn trap_103_a_waiter_that_is_cancelled_at_any_moment_loses_no_permit() {
    let semaphore = Arc::new(Semaphore::new(1));
    let wait = |_| {
        let semaphore = semaphore.clone();
        async move { drop(semaphore.acquire().await) }
    };
    // Before it was woken, after it was granted, and both of two in one turn.
    for cancel_all in [false, true] {
        for release_first in [false, true] {
            let permit = semaphore.acquire().await;
            let tasks = queued(2, wait).await;
            let cancel = || {
                for task in tasks.iter().take(if cancel_all { 2 } else { 1 }) {
                    assert!(task.cancel(None));
                }
            };
            if release_first {
                drop(permit);
                cancel();
            } else {
                cancel();
                drop(permit);
            }
            let outcomes = eddies::gather(tasks).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), if cancel_all { 0 } else { 1 });
            assert_eq!(semaphore.available_permits(), 1);
        }
    }

    let bounded = BoundedSemaphore::new(1);
    assert!(bounded.release().is_err(), "more than it began with");
}

#[eddies::test(virtual_time)]
async fn trap_104_a_condition_is_left_with_the_lock_released_and_a_notice_goes_to_the_next() {
    // asyncio takes the lock again before a cancelled wait is left, for the `async with` around it unlocks. Here the guard was handed in: a wait that is
    // dropped has none to give back. That one waits or notifies without the lock cannot be written (wait), or is no mistake (notify).
    let (shared, order) = (Arc::new((Lock::new(0), Condition::new())), Order::default());
    let tasks = queued(3, |who| {
        let (shared, order) = (shared.clone(), order.clone());
        async move {
            let (lock, changed) = &*shared;
            let guard = changed.wait(lock.lock().await).await;
            order.add(who);
            drop(guard);
        }
    })
    .await;
    let (lock, changed) = &*shared;
    // The first has consumed the notice, and waits for the lock.
    let guard = lock.lock().await;
    changed.notify_one();
    yield_now().await;
    tasks[0].cancel("while it takes the lock again");
    wait_all_blocked().await;
    assert!(tasks[0].is_finished() && lock.is_locked(), "it did not wait for the lock to end");
    drop(guard);
    wait_all_blocked().await;
    assert_eq!(order.seen(), [1], "the notice went to the next");

    // Notified and cancelled before it runs.
    changed.notify_one();
    tasks[2].cancel(None);
    wait_all_blocked().await;
    assert!(tasks[2].cancelled() && !lock.is_locked());
    assert_eq!(order.seen(), [1]);
}

#[eddies::test(virtual_time)]
async fn trap_104_a_cancelled_wait_is_caught_with_its_reason() {
    let shared = Arc::new((Lock::new(0), Condition::new()));
    let inside = shared.clone();
    let task = spawn(async move {
        let (lock, changed) = &*inside;
        let guard = lock.lock().await;
        let caught = catch_cancel(changed.wait(guard)).await.map(drop).unwrap_err();
        // Whoever needs the lock for the cleanup takes it.
        *lock.lock().await += 1;
        caught.reason().map(str::to_owned)
    });
    wait_all_blocked().await;
    task.cancel("first");
    task.cancel("last");
    assert_eq!(task.await.unwrap().as_deref(), Some("last"));
    assert_eq!(*shared.0.lock().await, 1);
}

#[eddies::test(virtual_time)]
async fn trap_105_an_event_that_is_set_and_cleared_at_once_wakes_those_that_waited() {
    let event = Arc::new(Event::new());
    let tasks = queued(3, |_| {
        let event = event.clone();
        async move { event.wait().await }
    })
    .await;
    event.set();
    event.clear();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(timeout(ms(1), event.wait()).await.is_err(), "who comes later waits");
}

#[eddies::test(virtual_time)]
async fn trap_106_reset_and_abort_break_those_that_wait_at_a_barrier() {
    let barrier = Arc::new(Barrier::new(3));
    let wait = |_| {
        let barrier = barrier.clone();
        async move { barrier.wait().await }
    };
    let tasks = queued(2, wait).await;
    assert_eq!(barrier.n_waiting(), 2);
    barrier.reset();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(!barrier.is_broken(), "it can be used again");
    let mut places: Vec<_> =
        eddies::gather(queued(3, wait).await).await.into_iter().map(|place| place.unwrap().unwrap()).collect();
    places.sort();
    assert_eq!(places, [0, 1, 2]);

    let tasks = queued(2, wait).await;
    barrier.abort();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(barrier.is_broken() && barrier.wait().await.is_err());
    barrier.reset();

    // One that is cancelled is not counted.
    let mut tasks = queued(2, wait).await;
    cancelled(tasks.remove(0)).await;
    assert_eq!(barrier.n_waiting(), 1);
    tasks.extend(queued(2, wait).await);
    assert!(eddies::gather(tasks).await.into_iter().all(|place| place.unwrap().is_ok()));
}

#[eddies::test(virtual_time)]
async fn trap_106_newcomers_are_of_the_next_round_while_the_last_one_drains() {
    // asyncio makes them wait until all of the last round have left. Here each round has its own place in the line: there is nothing to wait for.
    let barrier = Arc::new(Barrier::new(2));
    let first = {
        let barrier = barrier.clone();
        spawn(async move { barrier.wait().await })
    };
    wait_all_blocked().await;
    assert_eq!(barrier.wait().await, Ok(1), "the last to come");
    assert!(!first.is_finished(), "it was woken, and has not left yet");
    let mut newcomer = std::pin::pin!(barrier.wait());
    assert!(timeout(Duration::ZERO, newcomer.as_mut()).await.is_err(), "it must not make up for one of the last round");
    assert_eq!(barrier.n_waiting(), 1);
    assert_eq!(first.await.unwrap(), Ok(0));
    barrier.reset();
    assert!(newcomer.await.is_err(), "and a reset breaks the new round");
}

#[eddies::test(virtual_time)]
async fn trap_108_a_cancelled_get_or_put_loses_no_item_and_leaves_no_waiter() {
    let queue = Arc::new(Queue::new(1));
    let get = |_| {
        let queue = queue.clone();
        async move { queue.get().await.unwrap() }
    };
    // Cancelled while they wait, and when an item was there for them already.
    let mut getters = queued(5, get).await;
    let last = getters.pop().unwrap();
    for getter in getters.drain(1..) {
        cancelled(getter).await;
    }
    queue.put_nowait(7).unwrap();
    getters[0].cancel(None);
    assert_eq!(last.await.unwrap(), 7);
    assert!(getters.pop().unwrap().await.is_err());

    // A getter that was cancelled takes nothing from those that come later.
    queue.put_nowait(8).unwrap();
    assert_eq!(timeout(ms(1), queue.get()).await.unwrap(), Ok(8));

    // Putters.
    queue.put_nowait(0).unwrap();
    let mut putters = queued(3, |who| {
        let queue = queue.clone();
        async move { queue.put(who).await.unwrap() }
    })
    .await;
    cancelled(putters.remove(1)).await;
    assert_eq!(queue.get_nowait(), Ok(0));
    putters[0].cancel("room was made for it");
    wait_all_blocked().await;
    assert!(putters[0].cancelled() && putters[1].is_finished());
    assert_eq!((queue.get_nowait(), queue.get_nowait()), (Ok(2), Err(TryGetError::Empty)));
    queue.put_nowait(1).unwrap();
    assert!(matches!(queue.put_nowait(2), Err(TryPutError::Full(2))));
}

#[eddies::test(virtual_time)]
async fn trap_109_a_batch_without_waiting_strands_nobody() {
    let queue = Arc::new(Queue::new(2));
    let putters = queued(4, |item| {
        let queue = queue.clone();
        async move { queue.put(item).await.unwrap() }
    })
    .await;
    // Two are in the queue, two wait; room for both is made at once.
    let taken = [queue.get_nowait().unwrap(), queue.get_nowait().unwrap()];
    wait_all_blocked().await;
    assert!(putters.iter().all(|putter| putter.is_finished()));
    assert_eq!((taken, queue.get_nowait(), queue.get_nowait()), ([0, 1], Ok(2), Ok(3)));

    let getters = queued(3, |_| {
        let queue = queue.clone();
        async move { queue.get().await.unwrap() }
    })
    .await;
    let filling = queue.clone();
    let filler = spawn(async move {
        for item in 10..13 {
            filling.put(item).await.unwrap();
        }
    });
    let got: Vec<_> = eddies::gather(getters).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(got, [10, 11, 12]);
    filler.await.unwrap();
}

#[eddies::test(virtual_time)]
async fn trap_110_a_queue_that_is_shut_down_fails_puts_and_is_drained_by_gets() {
    let queue = Arc::new(Queue::new(2));
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let putters = queued(1, |_| {
        let queue = queue.clone();
        async move { queue.put(3).await }
    })
    .await;
    let joined = {
        let queue = queue.clone();
        spawn(async move { queue.join().await })
    };
    wait_all_blocked().await;
    queue.shutdown(false);
    for putter in putters {
        assert_eq!(putter.await.unwrap().unwrap_err().0, 3, "the item comes back");
    }
    assert!(matches!(queue.put_nowait(4), Err(TryPutError::ShutDown(4))));
    assert_eq!((queue.get().await, queue.get_nowait()), (Ok(1), Ok(2)));
    assert!(queue.get().await.is_err());
    assert_eq!(queue.get_nowait(), Err(TryGetError::ShutDown));

    // `join` waits for the reports, and one too many is an error.
    queue.task_done().unwrap();
    wait_all_blocked().await;
    assert!(!joined.is_finished());
    queue.task_done().unwrap();
    joined.await.unwrap();
    assert!(queue.task_done().is_err());
}

#[eddies::test(virtual_time)]
async fn trap_110_an_empty_queue_fails_its_getters_and_an_immediate_end_drops_what_is_left() {
    let queue = Arc::new(Queue::<Arc<()>>::new(0));
    let getters = queued(2, |_| {
        let queue = queue.clone();
        async move { queue.get().await }
    })
    .await;
    queue.shutdown(false);
    for getter in getters {
        assert!(getter.await.unwrap().is_err());
    }

    let (queue, item) = (Arc::new(Queue::new(0)), Arc::new(()));
    queue.put_nowait(item.clone()).unwrap();
    queue.put_nowait(item.clone()).unwrap();
    let in_work = queue.get_nowait().unwrap();
    let joined = {
        let queue = queue.clone();
        spawn(async move { queue.join().await })
    };
    wait_all_blocked().await;
    queue.shutdown(true);
    assert_eq!(Arc::strong_count(&item), 2, "the one in the queue is gone, the one in work is not");
    assert!(queue.get().await.is_err());
    sleep(ms(1)).await;
    assert!(!joined.is_finished(), "the one that was taken is not done yet");
    drop(in_work);
    queue.task_done().unwrap();
    joined.await.unwrap();
}
