//! What was once wrong and must not come back. Each test names the mistake.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use eddies::{LoopHandle, Runtime, spawn, yield_now};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).thread_name(format!("regress{workers}")).build().unwrap()
}

struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A look for work that found some counted as a sleep and put off the next look at the timers, for ever if it happened every time.
#[test]
fn timers_fire_while_the_main_future_yields_in_a_loop() {
    for workers in [1, 2] {
        runtime(workers).block_on(async {
            let timer = spawn(eddies::time::sleep(Duration::from_millis(2)));
            while !timer.is_finished() {
                yield_now().await;
            }
        });
    }
}

/// The guard of `enter` put back the pointer to the worker it was made on, also after that worker had gone.
#[test]
fn a_guard_that_outlives_its_block_on_leaves_no_worker_behind() {
    let rt = runtime(1);
    let handle = rt.handle();
    let guard = rt.block_on(async { handle.enter() });
    drop(guard);
    assert!(LoopHandle::try_current().is_err(), "this thread is in no runtime");
    rt.block_on(async { spawn(async {}).await.unwrap() });
}

/// A guard that is dropped late must not disturb the worker of another `block_on`.
#[test]
fn guards_may_be_dropped_in_any_order() {
    let (first, second) = (runtime(1), runtime(1));
    let (one, two) = (first.handle(), second.handle());
    let guard = first.block_on(async { one.enter() });
    second.block_on(async {
        drop(guard);
        eddies::spawn_local(async {}).await.unwrap();
    });
    let (a, b) = (one.enter(), two.enter());
    drop(a);
    drop(b);
}

/// Keeps `count` until it is dropped.
async fn keep(count: Count) {
    pending::<()>().await;
    drop(count);
}

/// The thread that blocked on a runtime of one loop left the tasks of a shutdown behind, and the shutdown did not wait for them.
#[test]
fn a_shutdown_beside_a_block_on_ends_every_task_of_a_single_loop() {
    for _ in 0..20 {
        let rt = runtime(1);
        let dropped = Arc::new(AtomicUsize::new(0));
        let (tell_inside, inside) = mpsc::channel();
        let (handle, count) = (rt.handle(), dropped.clone());
        let blocked = thread::spawn(move || {
            handle.block_on(async move {
                for _ in 0..100 {
                    spawn(keep(Count(count.clone())));
                }
                tell_inside.send(()).unwrap();
            });
        });
        inside.recv().unwrap();
        rt.shutdown(Duration::from_secs(20)).unwrap();
        assert_eq!(dropped.load(SeqCst), 100, "the shutdown waits until every future is dropped");
        blocked.join().unwrap();
    }
}

/// A runtime that is shut down by its own main future has nobody left to run its tasks but the thread that leaves.
#[test]
fn a_main_future_may_shut_its_own_runtime_down() {
    for workers in [1, 2] {
        let rt = runtime(workers);
        let handle = rt.handle();
        let dropped = Arc::new(AtomicUsize::new(0));
        handle.block_on(async {
            for _ in 0..10 {
                let count = Count(dropped.clone());
                drop(spawn(async move {
                    let _count = count;
                    pending::<()>().await;
                }));
            }
            yield_now().await;
            drop(rt);
        });
        while handle.live_tasks() > 0 {
            thread::yield_now();
        }
        assert_eq!(dropped.load(SeqCst), 10);
    }
}

/// The stand-in that waits for the seat hears that the last task of the shutdown has ended.
#[test]
fn a_shutdown_does_not_wait_for_another_threads_main_future() {
    let rt = runtime(2);
    // Makes the stand-in.
    rt.block_on(async {});
    let (end, ended) = mpsc::channel::<std::task::Waker>();
    let (tell_inside, inside) = mpsc::channel();
    let handle = rt.handle();
    let is_done = Arc::new(AtomicBool::new(false));
    let done = is_done.clone();
    /// Ends late, so that the stand-in, told that the shutdown begins, has most likely looked before.
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let blocked = thread::spawn(move || {
        handle.block_on(async move {
            let late = Late;
            let (tell_running, running) = mpsc::channel();
            drop(spawn(async move {
                let _late = late;
                tell_running.send(()).unwrap();
                pending::<()>().await;
            }));
            // Blocks the thread on purpose: the other loop runs the task.
            running.recv().unwrap();
            tell_inside.send(()).unwrap();
            poll_fn(|cx| {
                let _ = end.send(cx.waker().clone());
                if done.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    });
    inside.recv().unwrap();
    let result = rt.shutdown(Duration::from_secs(5));
    is_done.store(true, SeqCst);
    while let Ok(waker) = ended.recv() {
        waker.wake();
    }
    blocked.join().unwrap();
    result.unwrap();
}

/// A main future without a seat that ate the token of `thread::park` slept through its wake-up.
#[test]
fn a_main_future_may_use_up_the_threads_park_token() {
    let rt = runtime(1);
    let (tell_seated, seated) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let rt = &rt;
        scope.spawn(move || {
            rt.block_on(async move {
                tell_seated.send(()).unwrap();
                // Holds the loop, and with it the seat, until the other main future is through.
                released.recv().unwrap();
            });
        });
        seated.recv().unwrap();
        let mut polls = 0;
        rt.block_on(poll_fn(move |cx| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            thread::park();
            Poll::Pending
        }));
        release.send(()).unwrap();
    });
}

/// A hook runs on a thread that the shutdown waits for: dropping the runtime there must not make the thread wait for itself.
#[test]
fn a_thread_hook_may_drop_its_own_runtime() {
    let place: Arc<std::sync::Mutex<Option<Runtime>>> = Arc::default();
    let (tell, heard) = mpsc::channel();
    let of_hook = place.clone();
    let rt = Runtime::builder()
        .workers(2)
        .on_thread_start(move || {
            // The third thread is the stand-in; the runtime has been stored by then.
            if let Some(rt) = of_hook.lock().unwrap().take() {
                tell.send(rt.shutdown(Duration::MAX).is_ok()).unwrap();
            }
        })
        .build()
        .unwrap();
    let handle = rt.handle();
    handle.block_on(async { *place.lock().unwrap() = Some(rt) });
    assert_eq!(heard.recv(), Ok(true));
}

/// The stand-in that was too late to leave its seat in time took it again before the thread that waited for it could.
#[test]
fn a_thread_that_waits_for_the_seat_gets_it_from_the_stand_in() {
    for _ in 0..10 {
        let rt = runtime(2);
        // Makes the stand-in.
        rt.block_on(async {});
        let (tell_running, running) = mpsc::channel();
        let releases: Vec<_> = (0..2)
            .map(|_| {
                let (release, released) = mpsc::channel::<()>();
                let tell_running = tell_running.clone();
                drop(rt.spawn(async move {
                    tell_running.send(()).unwrap();
                    let _ = released.recv();
                }));
                release
            })
            .collect();
        // Both loops are in a poll, the stand-in's too.
        running.recv().unwrap();
        running.recv().unwrap();
        let mut releases = Some(releases);
        rt.block_on(poll_fn(move |cx| {
            // Without a seat, for nobody leaves one; then let them go.
            drop(releases.take());
            if std::panic::catch_unwind(|| drop(eddies::spawn_local(async {}))).is_ok() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
    }
}

/// A runtime of one loop has nothing to watch over, and started a monitor all the same.
#[cfg(target_os = "linux")]
#[test]
fn a_single_loop_starts_no_thread() {
    if std::env::var_os("EDDIES_SLOW_POLL").is_some() {
        return println!("not tested: EDDIES_SLOW_POLL asks for the thread");
    }
    let rt = Runtime::builder().workers(1).thread_name("lone").build().unwrap();
    rt.block_on(async { eddies::sleep(Duration::from_millis(5)).await });
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread of another test may end meanwhile.
        let name = std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default();
        assert!(!name.starts_with("lone"), "{name}");
    }
}

/// A main future that panics leaves through the destructor of its worker: local tasks end there, the others stay.
#[test]
fn a_panic_of_the_main_future_ends_its_local_tasks_and_no_others() {
    for workers in [1, 2] {
        let rt = runtime(workers);
        let (local, shared) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count_local, count_shared) = (Count(local.clone()), Count(shared.clone()));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rt.block_on(async move {
                drop(eddies::spawn_local(async move {
                    let _count = count_local;
                    pending::<()>().await;
                }));
                drop(spawn(async move {
                    let _count = count_shared;
                    pending::<()>().await;
                }));
                yield_now().await;
                panic!("on purpose");
            });
        }));
        assert!(caught.is_err());
        assert_eq!((local.load(SeqCst), shared.load(SeqCst)), (1, 0));
        rt.block_on(async { spawn(async {}).await.unwrap() });
        drop(rt);
        assert_eq!(shared.load(SeqCst), 1);
    }
}

/// A future that kept the waker of its first poll, which `block_on` made while its thread had no loop, hung when the thread got one. The contract
/// of `Future` allows that; a future that is polled by one thread all the time need not expect it.
#[test]
fn the_first_waker_of_a_main_future_works_after_its_thread_got_a_seat() {
    let runtime = Arc::new(Runtime::builder().workers(2).build().unwrap());
    let (hold, held) = mpsc::channel::<()>();
    let (sits, sitting) = mpsc::channel();
    let first = {
        let runtime = runtime.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                sits.send(()).unwrap();
                held.recv().unwrap();
            });
        })
    };
    sitting.recv().unwrap();
    let (tell, told) = mpsc::channel();
    let second = thread::spawn(move || {
        let (mut polls, mut kept) = (0, None);
        runtime.block_on(std::future::poll_fn(|cx| {
            polls += 1;
            let waker = kept.get_or_insert_with(|| cx.waker().clone());
            let moved = !waker.will_wake(cx.waker());
            let _ = tell.send((polls, moved, waker.clone()));
            if polls >= 3 && moved { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
    let (polls, moved, _) = told.recv().unwrap();
    assert_eq!((polls, moved), (1, false), "the seat is taken");
    hold.send(()).unwrap();
    first.join().unwrap();
    // The poll by the loop; then only the first waker is called.
    let waker = told.iter().find_map(|(_, moved, waker)| moved.then_some(waker)).unwrap();
    for _ in told.try_iter() {}
    while !second.is_finished() {
        waker.wake_by_ref();
        if told.recv().is_err() {
            break;
        }
    }
    second.join().unwrap();
}
