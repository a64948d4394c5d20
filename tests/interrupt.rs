//! Ctrl-C and event loops, and the runner. A signal goes to the whole process, so the tests take turns.

use std::cell::Cell;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use eddies::{EventLoop, RunError, Runner, Runtime};

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn press_ctrl_c() {
    signal_hook::low_level::raise(libc::SIGINT).unwrap();
}

#[test]
fn trap_010_and_026_ctrl_c_leaves_the_run_and_the_loop_goes_on() {
    let _turn = turn();
    let event_loop = EventLoop::new().unwrap();
    event_loop.catch_interrupts().unwrap();
    event_loop.catch_interrupts().unwrap();
    let task = event_loop.create_task(pending::<()>()).unwrap();
    event_loop.call_soon(press_ctrl_c).unwrap();
    assert_eq!(event_loop.run_until_complete(&task).unwrap_err(), RunError::Interrupted);
    assert!(!task.is_finished() && !event_loop.is_closed());
    // X17: one iteration is enough for a task that waits to end.
    assert!(event_loop.all_tasks()[0].cancel(None));
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert!(task.result().unwrap_err().is_cancelled());
    event_loop.close().unwrap();
}

#[test]
fn ctrl_c_between_two_runs_interrupts_the_next_one_only() {
    let _turn = turn();
    let event_loop = EventLoop::new().unwrap();
    event_loop.catch_interrupts().unwrap();
    press_ctrl_c();
    assert_eq!(event_loop.run_until_complete(pending::<()>()), Err(RunError::Interrupted));
    assert_eq!(event_loop.run_until_complete(eddies::sleep(Duration::from_millis(1))), Ok(()));
}

#[test]
fn ctrl_c_wakes_a_loop_that_waits() {
    let _turn = turn();
    let event_loop = EventLoop::new().unwrap();
    event_loop.catch_interrupts().unwrap();
    let (tell, hear) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        hear.recv().unwrap();
        press_ctrl_c();
    });
    event_loop.call_soon(move || tell.send(()).unwrap()).unwrap();
    assert_eq!(event_loop.run_forever(), Err(RunError::Interrupted));
    thread.join().unwrap();
}

#[test]
fn trap_131_a_runner_cancels_its_main_task_at_the_first_ctrl_c() {
    let _turn = turn();
    struct Cleanup(Rc<Cell<bool>>);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let runner = Runner::new().unwrap();
    runner.set_catch_interrupts(true);
    let is_clean = Rc::new(Cell::new(false));
    let cleanup = Cleanup(is_clean.clone());
    let outcome = runner.run(async move {
        let _cleanup = cleanup;
        press_ctrl_c();
        pending::<()>().await;
    });
    assert_eq!(outcome, Err(RunError::Interrupted));
    assert!(is_clean.get(), "the main task has ended");
    assert_eq!(runner.run(async { 3 }), Ok(3), "the loop goes on");
    runner.close().unwrap();
}

#[test]
fn a_main_task_can_clean_up_after_the_first_ctrl_c_and_answer_all_the_same() {
    let _turn = turn();
    let runner = Runner::new().unwrap();
    runner.set_catch_interrupts(true);
    let outcome = runner.run(async {
        press_ctrl_c();
        let cancelled = eddies::catch_cancel(pending::<()>()).await.unwrap_err();
        assert_eq!(cancelled.reason(), Some("Ctrl-C"));
        eddies::sleep(Duration::from_millis(1)).await;
        42
    });
    assert_eq!(outcome, Ok(42));
}

#[test]
fn a_second_ctrl_c_ends_the_run_at_once_though_the_main_task_goes_on() {
    let _turn = turn();
    let runner = Runner::new().unwrap();
    runner.set_catch_interrupts(true);
    let has_refused = Rc::new(Cell::new(false));
    let refuses = has_refused.clone();
    let outcome = runner.run(async move {
        press_ctrl_c();
        let _ = eddies::catch_cancel(pending::<()>()).await.unwrap_err();
        refuses.set(true);
        press_ctrl_c();
        pending::<()>().await;
    });
    assert_eq!(outcome, Err(RunError::Interrupted));
    assert!(has_refused.get());
    let main = runner.get_loop().all_tasks();
    assert_eq!((main.len(), main[0].is_finished()), (1, false));
    // The drain asks it once more, and now it does not catch that.
    runner.get_loop().drain(Duration::MAX).unwrap();
    assert!(main[0].cancelled());
    assert!(runner.get_loop().all_tasks().is_empty());
}

#[test]
fn a_drain_waits_for_what_a_cancelled_task_still_does() {
    let event_loop = EventLoop::new().unwrap();
    let is_clean = Rc::new(Cell::new(false));
    let cleans = is_clean.clone();
    let task = event_loop
        .create_local_task(async move {
            let _ = eddies::catch_cancel(pending::<()>()).await.unwrap_err();
            eddies::sleep(Duration::from_millis(2)).await;
            cleans.set(true);
        })
        .unwrap();
    event_loop.stop();
    event_loop.run_forever().unwrap();
    event_loop.drain(Duration::MAX).unwrap();
    assert!(is_clean.get() && !task.cancelled());
    assert_eq!(event_loop.all_tasks().len(), 0);
}

#[test]
fn trap_011_a_runner_in_a_run_is_refused_before_anything_runs() {
    let runner = Runner::new().unwrap();
    let polled = Rc::new(Cell::new(false));
    let by_main = polled.clone();
    let event_loop = EventLoop::new().unwrap();
    let refused = event_loop.run_until_complete(async { runner.run(async move { by_main.set(true) }) });
    assert_eq!(refused, Ok(Err(RunError::OtherLoopRunning)));
    let by_main = polled.clone();
    let (outer, inner) = (Rc::new(Runner::new().unwrap()), Rc::new(Cell::new(None)));
    let (again, seen) = (outer.clone(), inner.clone());
    outer.run(async move { seen.set(Some(again.run(async move { by_main.set(true) }))) }).unwrap();
    assert_eq!(inner.take(), Some(Err(RunError::AlreadyRunning)));
    assert!(!polled.get());
    assert_eq!(runner.get_loop().handle().live_tasks(), 0);
}

#[test]
fn trap_131_a_runner_ends_what_is_left_and_is_closed_for_good() {
    let runner = Runner::new().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    runner
        .get_loop()
        .set_exception_handler(Some(Arc::new(move |exception| ears.lock().unwrap().push(exception.to_string()))));
    let left = runner.run(async {
        assert_eq!(eddies::get_event_loop(), eddies::get_running_loop());
        // A task that makes another one when it is dropped.
        struct Hydra;
        impl Drop for Hydra {
            fn drop(&mut self) {
                drop(eddies::spawn(pending::<()>()));
            }
        }
        let hydra = Hydra;
        let task = eddies::spawn(async move {
            let _hydra = hydra;
            pending::<()>().await;
        });
        task.handle()
    });
    assert_eq!(eddies::get_event_loop().as_ref(), Ok(runner.get_loop()));
    runner.close().unwrap();
    runner.close().unwrap();
    assert!(left.unwrap().is_finished());
    assert!(heard.lock().unwrap().is_empty(), "nothing was pending when the loop closed: {heard:?}");
    assert!(matches!(runner.run(async {}), Err(RunError::Closed(_))));
    assert!(eddies::get_event_loop().is_err());
}

#[test]
fn a_drain_waits_for_tasks_on_other_threads() {
    let event_loop = Runtime::builder().workers(3).build_event_loop().unwrap();
    for _ in 0..100 {
        drop(event_loop.create_task(pending::<()>()).unwrap());
        drop(event_loop.create_local_task(pending::<()>()).unwrap());
    }
    event_loop.drain(Duration::MAX).unwrap();
    assert_eq!(event_loop.handle().live_tasks(), 0);
}

#[test]
fn the_third_unanswered_ctrl_c_ends_the_process() {
    const IN_CHILD: &str = "EDDIES_TEST_STUCK";
    if std::env::var_os(IN_CHILD).is_some() {
        let event_loop = EventLoop::new().unwrap();
        event_loop.catch_interrupts().unwrap();
        // The loop does not run, and answers nothing.
        press_ctrl_c();
        press_ctrl_c();
        println!("two are survived");
        press_ctrl_c();
        unreachable!("the process is dead");
    }
    let this = std::env::current_exe().unwrap();
    let name = "the_third_unanswered_ctrl_c_ends_the_process";
    let output = Command::new(this).args([name, "--exact", "--nocapture"]).env(IN_CHILD, "1").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGINT), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("two are survived"));
}

#[test]
fn trap_131_the_main_tasks_of_a_runner_share_one_context() {
    static USER: eddies::ContextVar<&str> = eddies::ContextVar::new("user");
    let runner = Runner::new().unwrap();
    runner.run(async { drop(USER.set("ann")) }).unwrap();
    assert_eq!(runner.run(async { USER.get() }), Ok(Some("ann")));
    assert_eq!(USER.get(), None, "outside of it nothing was set");
}

#[test]
fn one_iteration_cancels_tasks_that_wait_and_a_drain_those_that_wait_for_them() {
    // X17 and X18, with the interrupt in place of the key.
    let event_loop = Runtime::builder().virtual_time(true).build_event_loop().unwrap();
    let began = event_loop.time();
    let children: Vec<_> =
        [1, 2, 2].map(|seconds| event_loop.create_task(eddies::sleep(Duration::from_secs(seconds))).unwrap()).into();
    let awaited = children.clone();
    let main = event_loop.create_task(async move { drop(eddies::gather(awaited).await) }).unwrap();
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_millis(200), move || handle.interrupt()).unwrap();
    assert_eq!(event_loop.run_until_complete(&main).unwrap_err(), RunError::Interrupted);
    assert_eq!(event_loop.time() - began, Duration::from_millis(200));
    assert_eq!(event_loop.all_tasks().len(), 4);
    assert!(event_loop.all_tasks().iter().all(|task| task.state() == eddies::TaskState::Pending));
    assert!(children.iter().all(|task| task.cancel(None)));
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert!(children.iter().all(|task| task.cancelled()));
    event_loop.drain(Duration::from_secs(10)).unwrap();
    assert!(main.is_finished() && event_loop.all_tasks().is_empty());
    event_loop.close().unwrap();
}
