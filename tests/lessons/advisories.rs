//! Security advisories, and the class of mistake behind each.

use std::cell::Cell;
use std::future::{Future, pending};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eddies::sync::{Event, Lock, Semaphore, UnboundedSender, channel, oneshot, unbounded_channel};
use eddies::{LoopFuture, Runtime, Task, spawn, spawn_blocking, spawn_local, yield_now};

use super::waker;

struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// RUSTSEC-2021-0072 (tokio): a task of a `LocalSet` was dropped on the thread that aborted it.
#[test]
fn a_local_task_that_another_thread_aborts_is_dropped_at_home() {
    struct AtHome(PhantomData<Rc<()>>, thread::ThreadId, mpsc::Sender<bool>);
    impl Drop for AtHome {
        fn drop(&mut self) {
            self.2.send(thread::current().id() == self.1).unwrap();
        }
    }
    for workers in [1, 2] {
        let (tell, heard) = mpsc::channel();
        Runtime::builder().workers(workers).build().unwrap().block_on(async {
            for has_been_polled in [false, true] {
                let here = AtHome(PhantomData, thread::current().id(), tell.clone());
                let task = spawn_local(async move {
                    let _here = here;
                    pending::<()>().await;
                });
                if has_been_polled {
                    yield_now().await;
                }
                let handle = task.handle();
                spawn_blocking(move || handle.abort()).await.unwrap();
                assert!(task.await.unwrap_err().is_cancelled());
                assert_eq!(heard.recv(), Ok(true));
            }
        });
    }
}

/// RUSTSEC-2021-0124 (tokio #4225): a oneshot that is closed, sent to and received from at once raced on its value.
#[test]
fn a_oneshot_closed_sent_and_received_at_once_drops_its_value_once() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let rounds = 500;
    let start = Barrier::new(2);
    let (pass, passed) = mpsc::channel::<eddies::sync::OneshotSender<Count>>();
    thread::scope(|scope| {
        scope.spawn(|| {
            for sender in passed {
                let value = Count(dropped.clone());
                start.wait();
                drop(sender.send(value));
            }
        });
        for _ in 0..rounds {
            let (sender, mut receiver) = oneshot();
            pass.send(sender).unwrap();
            start.wait();
            receiver.close();
            drop(receiver.try_recv());
            drop(receiver);
        }
        drop(pass);
    });
    assert_eq!(dropped.load(SeqCst), rounds);
}

/// RUSTSEC-2026-0005 (oneshot): a receiver that was polled and then dropped left its waker to a sender that came at the same moment. Here for
/// everything that is polled and can be left.
#[test]
fn a_future_polled_once_and_dropped_beside_its_wake_leaves_nothing() {
    fn race<F: Future + Unpin>(mut future: F, wake: impl FnOnce() + Send) {
        let woken = Arc::new(AtomicUsize::new(0));
        let held = Arc::downgrade(&woken);
        let waker = waker(move || {
            woken.fetch_add(1, SeqCst);
        });
        let _either = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        drop(waker);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                wake();
            });
            start.wait();
            drop(future);
        });
        // The thread that wakes may have the waker in its hands for a moment longer.
        let began = Instant::now();
        while held.strong_count() > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "nobody keeps the waker");
            thread::yield_now();
        }
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    for _ in 0..50 {
        let (sender, receiver) = oneshot();
        race(receiver, move || sender.send(1).map_or((), drop));
        let (sender, mut receiver) = unbounded_channel();
        race(Box::pin(receiver.recv()), move || sender.send(1).map_or((), drop));
        let (sender, mut receiver) = channel(1);
        sender.try_send(1).unwrap();
        race(Box::pin(sender.send(2)), move || assert_eq!(receiver.try_recv(), Ok(1)));
        let lock = Lock::new(1);
        let guard = lock.try_lock().unwrap();
        race(Box::pin(lock.lock()), move || drop(guard));
        assert!(!lock.is_locked());
        let event = Event::new();
        race(Box::pin(event.wait()), || event.set());
        let semaphore = Semaphore::new(0);
        race(Box::pin(semaphore.acquire()), || semaphore.add_permits(1));
        let guard = handle.enter();
        let future = LoopFuture::<u8>::new();
        drop(guard);
        let answer = future.clone();
        race(Box::pin(async move { future.await.map_or(0, |n| n) }), move || drop(answer.set_result(1)));
        let (release, released) = oneshot::<()>();
        race(handle.spawn(released), move || release.send(()).map_or((), drop));
        let guard = handle.enter();
        race(Box::pin(eddies::sleep(Duration::from_micros(300))), thread::yield_now);
        drop(guard);
    }
    runtime.shutdown(Duration::from_secs(20)).unwrap();
}

/// RUSTSEC-2025-0024 (crossbeam-channel, and the standard library's channel): items that came while the channel was dropped were dropped twice.
#[test]
fn a_receiver_that_goes_beside_the_last_sends_drops_each_item_once() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let start = Barrier::new(3);
    let send = |sender: UnboundedSender<Count>| {
        start.wait();
        for _ in 0..20 {
            made.fetch_add(1, SeqCst);
            drop(sender.send(Count(dropped.clone())));
        }
    };
    for _ in 0..100 {
        let (sender, receiver) = unbounded_channel();
        thread::scope(|scope| {
            let twin = sender.clone();
            scope.spawn(|| send(sender));
            scope.spawn(|| send(twin));
            start.wait();
            drop(receiver);
        });
        assert_eq!(dropped.load(SeqCst), made.load(SeqCst));
    }
}

/// RUSTSEC-2026-0384 (tokio): an interval that was dropped beside the timer driver left it a dangling entry.
#[test]
fn intervals_reset_and_dropped_on_other_threads_while_they_fire() {
    async fn tick_and_leave(ticks: Arc<AtomicUsize>, period: Duration) {
        for round in 0..5 {
            let mut interval = eddies::interval(period);
            interval.tick().await;
            let woken = ticks.clone();
            let waker = waker(move || {
                woken.fetch_add(1, SeqCst);
            });
            // Armed here, and reset and dropped on a thread of the pool, when or before or after the loop fires it.
            let _either = interval.poll_tick(&mut Context::from_waker(&waker));
            let leave = move || {
                if round % 2 == 0 {
                    interval.reset_after(Duration::from_micros(500));
                }
                drop(interval);
            };
            spawn_blocking(leave).await.unwrap();
            eddies::sleep(Duration::from_millis(1)).await;
        }
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let ticks = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let period = |i: u64| Duration::from_millis(1 + i % 3);
        let tasks: Vec<_> = (0..40).map(|i| spawn(tick_and_leave(ticks.clone(), period(i)))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        eddies::sleep(Duration::from_millis(5)).await;
    });
    let handle = runtime.handle();
    runtime.shutdown(Duration::from_secs(20)).unwrap();
    assert_eq!(handle.live_tasks(), 0);
    assert!(ticks.load(SeqCst) <= 200, "at most one wake-up for each that was armed");
    assert_eq!(Arc::strong_count(&ticks), 1, "every waker is gone");
}

/// Fails to compile if `$type` has `$trait`.
macro_rules! assert_not {
    ($trait:ident: $($type:ty),* $(,)?) => {{
        trait Ambiguous<A> {
            fn some() {}
        }
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: ?Sized + $trait> Ambiguous<u8> for T {}
        $(let _ = <$type as Ambiguous<_>>::some;)*
    }};
}

/// RUSTSEC-2020-0059, 0062 and 0072 (futures-util, futures-intrusive), 2020-0070 (lock_api), 2025-0023 (tokio): guards and channels went to
/// other threads with values that must not. The compiler is the test.
#[test]
fn nothing_is_more_send_or_sync_than_what_it_holds() {
    use eddies::sync::{LockGuard, OneshotReceiver, OwnedLockGuard, Queue, Receiver, Sender};
    type Local = Rc<u8>;
    type Unshared = Cell<u8>;
    assert_not!(Send: Lock<Local>, LockGuard<'static, Local>, OwnedLockGuard<Local>, Sender<Local>, Receiver<Local>);
    assert_not!(Send: OneshotReceiver<Local>, Queue<Local>, Task<Local>, LoopFuture<Local>, LoopFuture<Unshared>);
    assert_not!(Sync: Lock<Local>, LockGuard<'static, Unshared>, OwnedLockGuard<Unshared>, Sender<Local>);
    assert_not!(Sync: Task<Local>, LoopFuture<Local>, LoopFuture<Unshared>);
    assert_not!(Send: eddies::EnterGuard<'static>, eddies::EventLoop, eddies::CallHandle, eddies::TimerHandle);
    fn is_both<T: Send + Sync>() {}
    is_both::<Lock<Unshared>>();
    is_both::<LockGuard<'static, u8>>();
    is_both::<Task<Unshared>>();
}

/// RUSTSEC-2026-0204 (crossbeam-epoch): showing a null pointer followed it. Here what is shown, in each state it can be in.
#[test]
fn everything_can_be_shown_in_every_state() {
    let shown = |what: &dyn std::fmt::Debug| assert!(!format!("{what:?} {what:#?}").is_empty());
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle();
    shown(&runtime);
    runtime.block_on(async {
        let mut task = spawn(async { yield_now().await });
        let of_task = task.handle();
        shown(&task);
        shown(&of_task);
        (&mut task).await.unwrap();
        shown(&task);
        drop(task);
        shown(&of_task);
        let aborted = spawn(pending::<()>());
        aborted.abort();
        shown(&aborted);
        drop(aborted.await);
        let mut sleep = eddies::sleep(Duration::from_millis(1));
        shown(&sleep);
        (&mut sleep).await;
        shown(&sleep);
        let lock = Lock::new(1);
        shown(&lock);
        let guard = lock.lock().await;
        shown(&lock);
        shown(&guard);
        let (sender, mut receiver) = channel::<u8>(1);
        shown(&sender);
        drop(sender);
        shown(&receiver);
        assert_eq!(receiver.recv().await, None);
        let future = LoopFuture::<u8>::new();
        shown(&future);
        future.cancel("on purpose");
        shown(&future);
    });
    let late = handle.spawn(async {});
    runtime.shutdown(Duration::from_secs(20)).unwrap();
    shown(&late);
    shown(&handle);
}

/// RUSTSEC-2020-0060 and 0061 (futures-task): wakers that outlived what they woke, or the thread they were made on. Also the leak of a runtime
/// whose wakers live on.
#[test]
fn wakers_outlive_their_task_their_thread_and_their_runtime() {
    struct Keep(mpsc::Sender<Waker>, #[expect(dead_code, reason = "dropped with the future")] Count);
    impl Future for Keep {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let (keep, kept) = mpsc::channel();
    let count = dropped.clone();
    let handle = thread::spawn(move || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        runtime.block_on(async {
            for _ in 0..500 {
                drop(spawn(Keep(keep.clone(), Count(count.clone()))));
                drop(spawn_local(Keep(keep.clone(), Count(count.clone()))));
            }
            yield_now().await;
            // The main future's own waker, too.
            Keep(keep.clone(), Count(count.clone())).poll_once().await;
        });
        let handle = runtime.handle();
        runtime.shutdown(Duration::from_secs(20)).unwrap();
        handle
    })
    .join()
    .unwrap();
    impl Keep {
        async fn poll_once(mut self) {
            std::future::poll_fn(move |cx| {
                let _pending = Pin::new(&mut self).poll(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
    assert_eq!(dropped.load(SeqCst), 1_001, "every future is dropped, whoever keeps a waker");
    let wakers: Vec<_> = kept.iter().collect();
    assert!(!wakers.is_empty());
    for waker in wakers {
        let twin = waker.clone();
        waker.wake_by_ref();
        waker.wake();
        drop(twin);
    }
    assert_eq!(handle.live_tasks(), 0);
}

/// RUSTSEC-2022-0006 (thread_local) and the class of it: a list that is walked while threads enter and leave it.
#[test]
fn a_list_of_all_tasks_is_whole_beside_spawns_and_ends() {
    const ROUNDS: usize = 300;
    Runtime::builder().workers(3).build().unwrap().block_on(async {
        let stays: Vec<_> = (0..3).map(|_| spawn(pending::<()>())).collect();
        let there: Vec<_> = stays.iter().map(Task::handle).collect();
        let is_over = Arc::new(AtomicUsize::new(0));
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                let is_over = is_over.clone();
                spawn(async move {
                    for _ in 0..ROUNDS {
                        let (ended, aborted) = (spawn(yield_now()), spawn(pending::<()>()));
                        aborted.abort();
                        ended.await.unwrap();
                        assert!(aborted.await.unwrap_err().is_cancelled());
                    }
                    is_over.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let lister = spawn(async move {
            let mut lists = 0;
            while is_over.load(SeqCst) < 2 || lists == 0 {
                let all = eddies::all_tasks();
                assert!(there.iter().all(|task| all.contains(task)), "one that lives is missing");
                let ids: std::collections::HashSet<_> = all.iter().map(eddies::TaskHandle::id).collect();
                assert_eq!(ids.len(), all.len(), "one is there twice");
                assert!(!format!("{all:?}").is_empty());
                lists += 1;
                yield_now().await;
            }
        });
        lister.await.unwrap();
        for spawner in spawners {
            spawner.await.unwrap();
        }
        assert_eq!(eddies::all_tasks().len(), stays.len());
    });
}
