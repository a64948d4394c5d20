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
