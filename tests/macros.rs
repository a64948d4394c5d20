//! `#[eddies::main]` and `#[eddies::test]`, used as a program uses them.

#![cfg(feature = "macros")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[eddies::test]
async fn a_test_runs_inside_a_runtime() {
    assert_eq!(eddies::spawn(async { 40 + 2 }).await.unwrap(), 42);
}

#[eddies::test]
async fn a_test_has_one_loop_the_callers() {
    let here = thread::current().id();
    for _ in 0..100 {
        let there = eddies::spawn(async { thread::current().id() }).await.unwrap();
        assert_eq!(there, here);
    }
}

#[eddies::test(workers = 2)]
async fn two_workers_run_two_tasks_at_once() {
    // Each waits for the other with its thread: that ends only on two threads.
    let meet = Arc::new(std::sync::Barrier::new(2));
    let other = meet.clone();
    let task = eddies::spawn(async move { other.wait() });
    meet.wait();
    task.await.unwrap();
}

#[eddies::test(virtual_time)]
async fn a_test_may_have_a_clock_of_its_own() {
    let (begin, real) = (eddies::now(), std::time::Instant::now());
    let day = std::time::Duration::from_secs(86_400);
    let task = eddies::spawn(eddies::sleep(day));
    assert!(eddies::timeout(day / 2, task).await.is_err());
    assert!(eddies::time::is_virtual());
    assert_eq!(eddies::now() - begin, day / 2);
    assert!(real.elapsed() < day / 2);
}

#[eddies::test(virtual_time, workers = 1)]
async fn one_worker_may_be_said_beside_a_virtual_clock() {
    assert!(eddies::time::is_virtual());
}

#[eddies::test]
async fn the_clock_of_a_test_is_real_unless_asked_for() {
    assert!(!eddies::time::is_virtual());
}

#[eddies::test]
async fn a_test_may_return_a_result() -> Result<(), std::num::ParseIntError> {
    let value: u8 = "42".parse()?;
    assert_eq!(value, 42);
    Ok(())
}

#[eddies::test]
#[should_panic(expected = "as foretold")]
async fn a_test_may_have_to_panic() {
    eddies::yield_now().await;
    panic!("as foretold");
}

#[eddies::test]
#[ignore = "another test looks whether this one is listed as ignored"]
async fn a_test_may_be_ignored() {}

#[test]
fn the_ignored_test_is_listed_as_ignored() {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program).args(["--list", "--ignored"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(list.contains("a_test_may_be_ignored: test"), "{list}");
    assert!(!list.contains("a_test_may_return_a_result: test"), "{list}");
}

#[eddies::test]
async fn the_body_need_not_be_send() {
    let cell = Rc::new(Cell::new(1));
    eddies::yield_now().await;
    cell.set(cell.get() + 1);
    assert_eq!(cell.get(), 2);
}

#[eddies::main(workers = 2)]
async fn returns_a_value() -> Result<u32, eddies::TaskError> {
    let task = eddies::spawn(async { 42 });
    task.await
}

#[test]
fn main_gives_its_functions_value() {
    assert_eq!(returns_a_value().unwrap(), 42);
}

#[test]
fn main_drops_what_its_function_left_behind() {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    thread_local! {
        static DROPPED: Arc<AtomicBool> = Arc::new(AtomicBool::new(false));
    }

    #[eddies::main(workers = 2)]
    async fn leaves_a_task() {
        let guard = OnDrop(DROPPED.with(Arc::clone));
        eddies::spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
    }

    leaves_a_task();
    assert!(DROPPED.with(|dropped| dropped.load(Ordering::SeqCst)), "the task's future outlived its runtime");
}

mod renamed {
    pub(crate) use ::eddies as loops;
}

#[eddies::main(crate = "crate::renamed::loops", workers = 1)]
async fn names_the_crate() -> u32 {
    renamed::loops::spawn(async { 1 }).await.unwrap()
}

#[test]
fn the_crate_may_have_another_name() {
    assert_eq!(names_the_crate(), 1);
}
