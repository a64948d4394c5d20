//! Polls that last too long are reported while they last, with the name of the task and the place of its spawn. Each hog waits, inside of its
//! poll, for its own report: a report that does not come ends the test by a time limit.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use eddies::{Runtime, SlowPoll, TaskBuilder, spawn_local, yield_now};

const NEVER: Duration = Duration::from_secs(20);

fn watched(workers: usize) -> (Runtime, Receiver<SlowPoll>) {
    let (tell, heard) = mpsc::channel();
    let runtime = Runtime::builder()
        .workers(workers)
        .slow_poll(Duration::from_millis(3))
        .on_slow_poll(move |slow| drop(tell.send(slow.clone())))
        .build()
        .unwrap();
    (runtime, heard)
}

#[test]
fn of_a_task_with_a_name() {
    for workers in [1, 2] {
        let (runtime, heard) = watched(workers);
        let task = async move { heard.recv_timeout(NEVER).unwrap() };
        let line = line!() + 1;
        let slow = runtime.block_on(async { TaskBuilder::new().name("hog").spawn(task).await.unwrap() });
        assert_eq!(slow.task_name(), Some("hog"));
        assert_eq!(slow.spawned_at().map(|place| (place.file(), place.line())), Some((file!(), line)));
        assert!(!slow.is_main_future() && slow.worker() < workers);
        assert!(slow.elapsed() >= Duration::from_millis(3));
        assert!(
            slow.to_string().contains("`hog` spawned at ") && slow.to_string().contains("spawn_blocking"),
            "{slow}"
        );
    }
}

#[test]
fn of_a_local_task() {
    let (runtime, heard) = watched(2);
    let slow =
        runtime.block_on(async { spawn_local(async move { heard.recv_timeout(NEVER).unwrap() }).await.unwrap() });
    assert!(slow.spawned_at().is_some_and(|place| place.file() == file!()));
    assert_eq!(slow.worker(), 0);
}

#[test]
fn of_the_main_future() {
    let (runtime, heard) = watched(1);
    let line = line!() + 1;
    let slow = runtime.block_on(async { heard.recv_timeout(NEVER).unwrap() });
    assert!(slow.is_main_future());
    assert_eq!(slow.spawned_at().map(|place| place.line()), Some(line));
}

#[test]
fn once_for_each_poll_and_only_for_slow_ones() {
    let (runtime, heard) = watched(1);
    runtime.block_on(async {
        for _ in 0..3 {
            assert!(heard.recv_timeout(NEVER).is_ok());
            // A new poll begins.
            yield_now().await;
        }
    });
    drop(runtime);
    // Each report woke the poll that it was about; a fourth can only be of a poll that something else made slow.
    assert!(heard.iter().all(|slow| slow.elapsed() >= Duration::from_millis(3)));
}

#[test]
fn a_hook_that_panics_is_heard_of_and_the_next_report_comes() {
    let (tell, heard) = mpsc::channel();
    let (tell_handler, handled) = mpsc::channel();
    let runtime = Runtime::builder()
        .workers(1)
        .slow_poll(Duration::from_millis(2))
        .on_slow_poll(move |_| {
            tell.send(()).unwrap();
            panic!("in the hook");
        })
        .exception_handler(move |exception| drop(tell_handler.send(exception.message().to_owned())))
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            heard.recv_timeout(NEVER).unwrap();
            assert_eq!(handled.recv_timeout(NEVER).unwrap(), "in the hook");
            yield_now().await;
        }
    });
}
