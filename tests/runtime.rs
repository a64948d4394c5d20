//! What a runtime promises: tasks run, nest, yield, come to an end; the thread of `block_on` is a worker; a shutdown ends everything.

use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use eddies::{LoopHandle, Runtime, TaskBuilder, spawn, spawn_blocking, spawn_local, yield_now};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).thread_name(format!("test{workers}")).build().unwrap()
}

/// Runs `test` on one loop and on several.
fn on_each(test: impl Fn(&Runtime)) {
    for workers in [1, 2, 4] {
        test(&runtime(workers));
    }
}

#[test]
fn a_spawned_task_gives_its_output() {
    on_each(|rt| {
        let output = rt.block_on(async { spawn(async { 6 * 7 }).await });
        assert_eq!(output.unwrap(), 42);
    });
}

#[test]
fn a_hundred_thousand_tasks_all_run() {
    on_each(|rt| {
        let ran = Arc::new(AtomicUsize::new(0));
        rt.block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..100_000 {
                let ran = ran.clone();
                tasks.push(spawn(async move {
                    yield_now().await;
                    ran.fetch_add(1, SeqCst);
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(ran.load(SeqCst), 100_000);
    });
}

#[test]
fn tasks_spawned_by_tasks_all_run() {
    fn tree(depth: u32) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                return 1;
            }
            let (left, right) = (spawn(tree(depth - 1)), spawn(tree(depth - 1)));
            left.await.unwrap() + right.await.unwrap()
        })
    }
    on_each(|rt| assert_eq!(rt.block_on(tree(12)), 4096));
}

#[test]
fn eight_outside_threads_spawn_at_once() {
    on_each(|rt| {
        let handle = rt.handle();
        let start = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (handle, start) = (handle.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    (0..2_000).map(|i| handle.spawn(async move { i })).collect::<Vec<_>>()
                })
            })
            .collect();
        let sum: u64 = rt.block_on(async {
            let mut sum = 0;
            for task in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 8 * (0..2_000).sum::<u64>());
    });
}

#[test]
fn an_outside_thread_wakes_the_sleeping_main_future() {
    on_each(|rt| {
        for _ in 0..200 {
            let (send_waker, wakers) = mpsc::channel::<Waker>();
            let is_done = Arc::new(AtomicBool::new(false));
            let done = is_done.clone();
            let outside = thread::spawn(move || {
                // The last one counts: a main future that was polled before its thread had a seat is polled again with another.
                for waker in wakers {
                    done.store(true, SeqCst);
                    waker.wake();
                }
            });
            rt.block_on(poll_fn(move |cx| {
                if is_done.load(SeqCst) {
                    return Poll::Ready(());
                }
                let _ = send_waker.send(cx.waker().clone());
                Poll::Pending
            }));
            outside.join().unwrap();
        }
    });
}

/// Awaits work of other threads a hundred times, and stays where it is.
async fn stay_here(shared: Rc<i32>) -> i32 {
    let here = thread::current().id();
    let mut sum = *shared;
    for i in 0..100 {
        sum += spawn(async move { i }).await.unwrap();
        sum += spawn_blocking(|| 1).await.unwrap();
        assert_eq!(thread::current().id(), here);
    }
    sum
}

#[test]
fn a_local_task_stays_on_its_thread_and_is_woken_from_others() {
    on_each(|rt| {
        let sum = rt.block_on(async { spawn_local(stay_here(Rc::new(5))).await });
        assert_eq!(sum.unwrap(), (0..100).sum::<i32>() + 100 + 5);
    });
}

#[test]
fn local_tasks_end_with_block_on() {
    struct Tell(mpsc::Sender<thread::ThreadId>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }
    on_each(|rt| {
        let (tell, heard) = mpsc::channel();
        rt.block_on(async {
            drop(spawn_local(async move {
                let _tell = Tell(tell);
                pending::<()>().await;
            }));
            yield_now().await;
        });
        assert_eq!(heard.try_recv(), Ok(thread::current().id()), "dropped on its own thread, before block_on returned");
    });
}

fn count_fifty_times(rt: &Runtime, counter: &Arc<AtomicUsize>) {
    async fn count(counter: Arc<AtomicUsize>) {
        yield_now().await;
        counter.fetch_add(1, SeqCst);
    }
    for _ in 0..50 {
        let counter = counter.clone();
        rt.block_on(async move { spawn(count(counter)).await }).unwrap();
    }
}

#[test]
fn block_on_can_be_entered_again_and_from_several_threads() {
    on_each(|rt| {
        let counter = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| count_fifty_times(rt, &counter));
            }
        });
        assert_eq!(counter.load(SeqCst), 200);
    });
}

#[test]
fn tasks_run_while_nobody_blocks_on_a_runtime_with_threads() {
    let rt = runtime(2);
    rt.block_on(async {});
    let (tell, heard) = mpsc::channel();
    for i in 0..100 {
        let tell = tell.clone();
        drop(rt.spawn(async move {
            yield_now().await;
            tell.send(i).unwrap();
        }));
    }
    let mut all: Vec<i32> = (0..100).map(|_| heard.recv().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_shutdown_drops_every_future_and_cancels_every_handle() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        let dropped = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = rt.block_on(async {
            let tasks = (0..1_000)
                .map(|_| {
                    let count = Count(dropped.clone());
                    spawn(async move {
                        let _count = count;
                        pending::<()>().await;
                    })
                })
                .collect();
            yield_now().await;
            tasks
        });
        let handle = rt.handle();
        rt.shutdown(Duration::from_secs(20)).unwrap();
        assert_eq!(dropped.load(SeqCst), 1_000);
        assert!(tasks.iter().all(|task| task.is_finished()));
        assert_eq!(handle.live_tasks(), 0);
        let late = handle.spawn(async {});
        assert!(late.is_finished(), "a spawn after the shutdown is cancelled at once");
        let other = runtime(1);
        assert!(other.block_on(late).unwrap_err().is_cancelled());
    }
}

#[test]
fn a_destructor_may_spawn_while_the_runtime_shuts_down() {
    struct SpawnOnDrop;
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            drop(LoopHandle::current().spawn(async {}));
        }
    }
    on_each(|rt| {
        rt.block_on(async {
            for _ in 0..10 {
                drop(spawn(async {
                    let _spawn = SpawnOnDrop;
                    pending::<()>().await;
                }));
            }
            yield_now().await;
        });
    });
}

#[test]
fn a_stuck_blocking_job_is_named_at_the_deadline() {
    let rt = runtime(1);
    let (release, released) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    let guarded = rt.handle();
    let guard = guarded.enter();
    let task = TaskBuilder::new().name("stuck").spawn_blocking(move || {
        started.send(()).unwrap();
        let _ = released.recv();
    });
    drop(guard);
    is_started.recv().unwrap();
    let still = rt.shutdown(Duration::from_millis(10)).unwrap_err();
    assert!(still.what()[0].contains("`stuck`") && still.to_string().contains("tests/runtime.rs"), "{still}");
    release.send(()).unwrap();
    runtime(1).block_on(task).unwrap();
}

#[test]
fn a_stuck_poll_is_named_at_the_deadline() {
    let rt = runtime(3);
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (started, is_started) = mpsc::channel();
    let guarded = rt.handle();
    let guard = guarded.enter();
    let task = TaskBuilder::new().name("stuck poll").spawn(async move {
        started.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    });
    drop(guard);
    is_started.recv().unwrap();
    let still = rt.shutdown(Duration::from_millis(10)).unwrap_err();
    assert!(still.what()[0].contains("`stuck poll`") && still.to_string().contains("tests/runtime.rs"), "{still}");
    release.send(()).unwrap();
    // Whatever it answered, its thread ends.
    let _either = runtime(1).block_on(task);
}

#[test]
fn abort_cancels_a_task_wherever_it_is() {
    on_each(|rt| {
        rt.block_on(async {
            let waiting = spawn(pending::<()>());
            let fresh = spawn(async {});
            let abort = fresh.handle();
            yield_now().await;
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
            abort.abort();
            let _either = fresh.await;
            assert!(abort.is_finished());
        });
    });
}

#[test]
fn nested_block_on_without_peers_is_an_error_that_tells_the_way_out() {
    let rt = runtime(1);
    let caught = rt.block_on(async {
        std::panic::catch_unwind(|| {
            eddies::run(async {});
        })
    });
    let text = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("`block_on` was called inside of async code") && text.contains("spawn_blocking"), "{text}");
}

#[test]
fn nested_block_on_works_where_peers_take_over() {
    let rt = runtime(2);
    let handle = rt.handle();
    let sum = rt.block_on(async move {
        // In the main future, in a task, and in one that blocks on another runtime. What they wait for runs on the same runtime.
        let here = handle.block_on(async { spawn(async { 1 }).await.unwrap() });
        let of_task = handle.clone();
        let there = spawn(async move { of_task.block_on(async { spawn(async { 2 }).await.unwrap() }) }).await.unwrap();
        let other = spawn(async { eddies::run(async { spawn(async { 4 }).await.unwrap() }) }).await.unwrap();
        here + there + other
    });
    assert_eq!(sum, 7);
}

#[test]
fn a_runtime_may_be_dropped_inside_async_code() {
    let (tell, heard) = mpsc::channel();
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let outer = runtime(2);
    outer.block_on(async {
        let inner = runtime(2);
        let tell = Tell(tell);
        drop(inner.spawn(async move {
            let _tell = tell;
            pending::<()>().await;
        }));
        drop(inner);
    });
    heard.recv().expect("the inner runtime's task is ended in the background");
    // And a runtime whose last owner is one of its own tasks.
    let rt = Arc::new(runtime(2));
    let (tell, heard) = mpsc::channel();
    let owner = rt.clone();
    drop(rt.spawn(async move {
        drop(owner);
        tell.send(()).unwrap();
    }));
    drop(rt);
    let _ = heard.recv();
}

#[test]
fn outside_of_a_runtime_spawn_says_what_is_missing() {
    let caught = std::panic::catch_unwind(|| drop(spawn(async {})));
    let text = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("spawn needs an eddies runtime") && text.contains("LoopHandle::enter"), "{text}");
}

#[test]
fn an_entered_thread_can_spawn() {
    let rt = runtime(2);
    let handle = rt.handle();
    let guard = handle.enter();
    let task = spawn(async { 5 });
    drop(guard);
    assert_eq!(rt.block_on(task).unwrap(), 5);
}

#[test]
fn bad_settings_are_refused() {
    assert!(Runtime::builder().workers(0).build().is_err());
    assert!(Runtime::builder().blocking_threads(0).build().is_err());
    assert!(Runtime::builder().workers(1_000_000).build().is_err());
}
