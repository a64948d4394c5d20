//! Locks, events, conditions, semaphores and barriers through the public API: order, hand-over when a waiter is dropped, many workers.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use eddies::Runtime;
use eddies::sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, OwnedLockGuard, Semaphore};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

#[track_caller]
fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it still waits"),
    }
}

fn workers(count: usize) -> Runtime {
    Runtime::builder().workers(count).build().unwrap()
}

#[test]
fn the_types_go_anywhere() {
    fn anywhere<T: Send + Sync>() {}
    fn sends<T: Send>(_: T) {}
    anywhere::<Lock<std::cell::Cell<u32>>>();
    anywhere::<LockGuard<'_, u32>>();
    anywhere::<OwnedLockGuard<u32>>();
    anywhere::<(Event, Condition, Semaphore, BoundedSemaphore, Barrier)>();
    let (lock, condition) = (Lock::new(0), Condition::new());
    sends(lock.lock());
    sends(condition.wait(lock.try_lock().unwrap()));
    sends(Semaphore::new(1).acquire());
}

#[test]
fn a_lock_is_first_come_first_served_and_never_overtaken() {
    let lock = Lock::new(());
    let guard = lock.try_lock().unwrap();
    let ((woken, waker), mut first, mut second) = (Count::new(), pin!(lock.lock()), pin!(lock.lock()));
    assert!(poll_with(first.as_mut(), &waker).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    drop(guard);
    assert_eq!(woken.get(), 1);
    assert!(lock.try_lock().is_err(), "handed to the first, who has not looked yet");
    assert!(poll(pin!(lock.lock())).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    drop(ready(poll(first)));
    drop(ready(poll(second)));
    assert!(lock.try_lock().is_ok());
}

#[test]
fn a_dropped_waiter_hands_the_lock_on() {
    let lock = Lock::new(());
    let guard = lock.try_lock().unwrap();
    let (woken, waker) = Count::new();
    let (mut first, mut gone, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()), pin!(lock.lock()));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll_with(second.as_mut(), &waker).is_pending());
    drop(gone);
    drop(guard);
    assert_eq!(woken.get(), 0);
    drop(first);
    assert_eq!(
        woken.get(),
        1,
        "the lock passed by the one that left before and the one that left after it was granted"
    );
    drop(ready(poll(second)));
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let lock = Lock::new(());
    let guard = lock.try_lock().unwrap();
    let ((old, first), (new, second)) = (Count::new(), Count::new());
    let mut wait = pin!(lock.lock());
    assert!(poll_with(wait.as_mut(), &first).is_pending());
    assert!(poll_with(wait.as_mut(), &second).is_pending());
    drop(guard);
    assert_eq!((old.get(), new.get()), (0, 1));
}

#[test]
fn a_lock_shows_its_value_or_that_it_is_locked() {
    let lock = Lock::new(5);
    assert_eq!(format!("{lock:?}"), "Lock { value: 5, waiting: 0 }");
    let guard = lock.try_lock().unwrap();
    assert_eq!(format!("{lock:?} {guard:?} {guard}"), "Lock { value: <locked>, waiting: 0 } 5 5");
}

#[test]
fn a_task_that_panics_unlocks() {
    workers(2).block_on(async {
        let lock = Arc::new(Lock::new(1));
        let held = lock.clone();
        let task = eddies::spawn(async move {
            let _guard = held.lock().await;
            panic!("with the lock held");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(*lock.lock().await, 1);
    });
}

#[test]
fn tasks_on_one_worker_take_turns_in_order() {
    workers(1).block_on(async {
        let (lock, came) = (Arc::new(Lock::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let guard = lock.clone().lock_owned().await;
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let (lock, came) = (lock.clone(), came.clone());
                eddies::spawn(async move {
                    came.lock().unwrap().push(i);
                    let mut served = lock.lock().await;
                    eddies::yield_now().await;
                    served.push(i);
                })
            })
            .collect();
        while !format!("{lock:?}").contains("waiting: 20") {
            eddies::yield_now().await;
        }
        drop(guard);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock.lock().await, *came.lock().unwrap());
    });
}

#[test]
fn a_lock_counts_right_on_four_workers_with_waiters_aborted() {
    workers(4).block_on(async {
        let lock = Arc::new(Lock::new(0_u64));
        let done = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (lock, done) = (lock.clone(), done.clone());
                eddies::spawn(async move {
                    for _ in 0..50 {
                        let mut guard = lock.lock().await;
                        let before = *guard;
                        eddies::yield_now().await;
                        *guard = before + 1;
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for task in tasks.iter().step_by(4) {
            task.abort();
        }
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(*lock.lock().await, done.load(Ordering::SeqCst) as u64);
        assert!(done.load(Ordering::SeqCst) >= 48 * 50);
    });
}

#[test]
fn an_event_that_is_set_and_cleared_wakes_those_that_waited() {
    let event = Event::new();
    let (woken, waker) = Count::new();
    let mut wait = pin!(event.wait());
    assert!(poll_with(wait.as_mut(), &waker).is_pending());
    event.set();
    event.clear();
    assert_eq!(woken.get(), 1);
    assert!(poll(pin!(event.wait())).is_pending());
    ready(poll(wait));
    assert_eq!(format!("{event:?}"), "Event { is_set: false, waiting: 0 }", "and the one that was dropped is gone");
}

#[test]
fn an_event_wakes_all_in_order() {
    workers(1).block_on(async {
        let (event, came) = (Arc::new(Event::new()), Arc::new(Mutex::new(Vec::new())));
        let woke = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..5)
            .map(|i| {
                let (event, came, woke) = (event.clone(), came.clone(), woke.clone());
                eddies::spawn(async move {
                    came.lock().unwrap().push(i);
                    event.wait().await;
                    woke.lock().unwrap().push(i);
                })
            })
            .collect();
        while !format!("{event:?}").contains("waiting: 5") {
            eddies::yield_now().await;
        }
        event.set();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*woke.lock().unwrap(), *came.lock().unwrap());
    });
}

#[test]
fn a_waker_that_panics_keeps_none_from_being_woken() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a bad waker");
        }
    }
    let event = Event::new();
    let (woken, waker) = Count::new();
    let bad = Waker::from(Arc::new(Bad));
    let (mut first, mut second, mut third) = (pin!(event.wait()), pin!(event.wait()), pin!(event.wait()));
    assert!(poll_with(first.as_mut(), &waker).is_pending());
    assert!(poll_with(second.as_mut(), &bad).is_pending());
    assert!(poll_with(third.as_mut(), &waker).is_pending());
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| event.set())).unwrap_err();
    assert_eq!(woken.get(), 2);
}

#[test]
fn a_condition_unlocks_while_it_waits_and_locks_again() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    let mut wait = pin!(condition.wait(lock.try_lock().unwrap()));
    assert!(lock.is_locked(), "not before it is polled");
    assert!(poll(wait.as_mut()).is_pending());
    let mut guard = lock.try_lock().unwrap();
    *guard = 1;
    condition.notify_one();
    assert!(poll(wait.as_mut()).is_pending(), "notified, but the lock is held");
    drop(guard);
    assert_eq!(*ready(poll(wait)), 1);
}

#[test]
fn a_notice_for_one_is_handed_on_by_a_waiter_that_leaves() {
    let (lock, condition) = (Lock::new(()), Condition::new());
    let (woken, waker) = Count::new();
    let mut before = Box::pin(condition.wait(lock.try_lock().unwrap()));
    assert!(poll(before.as_mut()).is_pending());
    let mut relocking = Box::pin(condition.wait(lock.try_lock().unwrap()));
    assert!(poll(relocking.as_mut()).is_pending());
    let mut last = pin!(condition.wait(lock.try_lock().unwrap()));
    assert!(poll_with(last.as_mut(), &waker).is_pending());

    condition.notify_one();
    drop(before);
    let guard = lock.try_lock().unwrap();
    assert!(poll(relocking.as_mut()).is_pending(), "it has the notice and waits for the lock");
    assert_eq!(woken.get(), 0);
    drop(relocking);
    assert_eq!(woken.get(), 1);
    drop(guard);
    drop(ready(poll(last)));
    assert_eq!(format!("{condition:?}"), "Condition { waiting: 0 }");
}

#[test]
fn notify_reaches_as_many_as_it_says_and_is_not_kept() {
    let (lock, condition) = (Lock::new(()), Condition::new());
    condition.notify_all();
    let mut waits: Vec<_> = (0..4)
        .map(|_| {
            let mut wait = Box::pin(condition.wait(lock.try_lock().unwrap()));
            assert!(poll(wait.as_mut()).is_pending());
            wait
        })
        .collect();
    condition.notify(2);
    let states: Vec<_> = waits.iter_mut().map(|wait| poll(wait.as_mut()).map(drop).is_ready()).collect();
    assert_eq!(states, [true, true, false, false]);
    condition.notify_all();
    assert!(waits[2..].iter_mut().all(|wait| poll(wait.as_mut()).map(drop).is_ready()));
}

#[test]
fn a_condition_passes_values_between_workers() {
    workers(4).block_on(async {
        let shared = Arc::new((Lock::new(Vec::new()), Condition::new()));
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let shared = shared.clone();
                eddies::spawn(async move {
                    let mut sum = 0;
                    for _ in 0..100 {
                        let guard = shared.0.lock().await;
                        let mut guard = shared.1.wait_for(guard, |items: &mut Vec<u64>| !items.is_empty()).await;
                        sum += guard.pop().unwrap();
                    }
                    sum
                })
            })
            .collect();
        for item in 0..800 {
            shared.0.lock().await.push(item);
            shared.1.notify_one();
        }
        let mut sum = 0;
        for taker in takers {
            sum += taker.await.unwrap();
        }
        assert_eq!(sum, 800 * 799 / 2);
    });
}

#[test]
fn a_big_wish_is_not_starved_by_small_ones() {
    let semaphore = Semaphore::new(2);
    let one = semaphore.try_acquire().unwrap();
    let (mut big, mut small) = (Box::pin(semaphore.acquire_many(2)), pin!(semaphore.acquire()));
    assert!(poll(big.as_mut()).is_pending());
    assert!(poll(small.as_mut()).is_pending(), "one is free, but it would overtake");
    assert!(semaphore.is_locked() && semaphore.available_permits() == 1);
    assert!(semaphore.try_acquire().is_err());
    drop(one);
    assert_eq!(semaphore.available_permits(), 0);
    drop(big);
    drop(ready(poll(small)));
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { available_permits: 2, waiting: 0 }");
}

#[test]
fn a_big_wish_that_leaves_lets_the_small_ones_through() {
    let semaphore = Semaphore::new(1);
    let (woken, waker) = Count::new();
    let (mut big, mut small) = (Box::pin(semaphore.acquire_many(2)), pin!(semaphore.acquire()));
    assert!(poll(big.as_mut()).is_pending());
    assert!(poll_with(small.as_mut(), &waker).is_pending());
    drop(big);
    assert_eq!(woken.get(), 1);
    drop(ready(poll(small)));
}

#[test]
fn permits_are_conserved_on_four_workers_with_waiters_aborted() {
    workers(4).block_on(async {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..60)
            .map(|i| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                eddies::spawn(async move {
                    for _ in 0..50 {
                        let permit = semaphore.acquire_many(1 + i % 3).await;
                        let others = inside.fetch_add(permit.count(), Ordering::SeqCst);
                        assert!(others + permit.count() <= 3);
                        // Not across an await: an abort there would leave the count as it is.
                        inside.fetch_sub(permit.count(), Ordering::SeqCst);
                        eddies::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks.iter().step_by(3) {
            task.abort();
        }
        for task in tasks {
            if let Err(error) = task.await {
                assert!(error.is_cancelled(), "{error:?}");
            }
        }
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn a_bounded_semaphore_takes_back_what_was_forgotten_and_no_more() {
    let semaphore = BoundedSemaphore::new(1);
    let permit = semaphore.try_acquire().unwrap();
    semaphore.release().unwrap_err();
    permit.forget();
    let (woken, waker) = Count::new();
    let mut wait = pin!(semaphore.acquire());
    assert!(poll_with(wait.as_mut(), &waker).is_pending());
    semaphore.release().unwrap();
    assert_eq!(woken.get(), 1);
    assert_eq!(
        semaphore.release().unwrap_err().to_string(),
        "a bounded semaphore was released more often than permits of it were forgotten"
    );
    drop(ready(poll(wait)));
    assert_eq!(format!("{semaphore:?}"), "BoundedSemaphore { available_permits: 1, waiting: 0 }");
}

#[test]
fn a_barrier_counts_those_that_stay() {
    let barrier = Barrier::new(2);
    let mut gone = Box::pin(barrier.wait());
    assert!(poll(gone.as_mut()).is_pending());
    drop(gone);
    let mut first = pin!(barrier.wait());
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 2, waiting: 1, is_broken: false }");
    assert_eq!(ready(poll(pin!(barrier.wait()))), Ok(1));
    let mut next = pin!(barrier.wait());
    assert!(poll(next.as_mut()).is_pending(), "the next round has begun, and the first has not looked yet");
    assert_eq!(ready(poll(first)), Ok(0));
}

#[test]
fn a_barrier_breaks_and_mends() {
    let barrier = Barrier::new(2);
    let (mut aborted, mut reset) = (pin!(barrier.wait()), pin!(barrier.wait()));
    assert!(poll(aborted.as_mut()).is_pending());
    barrier.abort();
    assert!(barrier.is_broken());
    assert!(ready(poll(aborted)).is_err());
    assert!(ready(poll(pin!(barrier.wait()))).is_err());
    barrier.reset();
    assert!(poll(reset.as_mut()).is_pending());
    barrier.reset();
    assert!(ready(poll(reset)).is_err() && !barrier.is_broken());
}

#[test]
fn a_barrier_meets_again_and_again_on_four_workers() {
    workers(4).block_on(async {
        let (barrier, passed) = (Arc::new(Barrier::new(8)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (barrier, passed) = (barrier.clone(), passed.clone());
                eddies::spawn(async move {
                    let mut led = 0;
                    for round in 0..100 {
                        passed.fetch_add(1, Ordering::SeqCst);
                        led += usize::from(barrier.wait().await == Ok(0));
                        assert!(passed.load(Ordering::SeqCst) >= 8 * (round + 1), "nobody passes before all are there");
                    }
                    led
                })
            })
            .collect();
        let mut led = 0;
        for task in tasks {
            led += task.await.unwrap();
        }
        assert_eq!(led, 100);
    });
}

#[test]
fn a_ready_lock_still_yields_to_others() {
    workers(1).block_on(async {
        let others = Arc::new(AtomicUsize::new(0));
        let seen = others.clone();
        let other = eddies::spawn(async move {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        let (lock, others) = (Lock::new(()), others.clone());
        let task = eddies::spawn(async move {
            while others.load(Ordering::SeqCst) == 0 {
                drop(lock.lock().await);
            }
        });
        task.await.unwrap();
        other.await.unwrap();
    });
}

#[test]
fn they_work_between_plain_threads_outside_a_runtime() {
    use futures_util::FutureExt;
    let (lock, event) = (Arc::new(Lock::new(0)), Arc::new(Event::new()));
    let (theirs, told) = (lock.clone(), event.clone());
    let thread = std::thread::spawn(move || {
        *theirs.lock().now_or_never().expect("nobody else locks") += 1;
        told.set();
    });
    thread.join().unwrap();
    event.wait().now_or_never().expect("it is set");
    assert_eq!(*lock.try_lock().unwrap(), 1);
}
