//! Signal handlers of a loop. The tests of this file run in one process, so each has a signal of its own; those that end the process start
//! this program again.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use eddies::Runtime;
use eddies::signal::unix::{SignalKind, signal};
use eddies::signal::{SignalHandlerError, add_signal_handler, remove_signal_handler};

fn raise(kind: SignalKind) {
    signal_hook::low_level::raise(kind.as_raw_value()).expect("a signal of this system");
}

async fn reach(calls: &Cell<usize>, count: usize) {
    while calls.get() < count {
        eddies::yield_now().await;
    }
}

fn counting(calls: &Rc<Cell<usize>>) -> impl FnMut() + 'static {
    let calls = Rc::clone(calls);
    move || calls.set(calls.get() + 1)
}

/// Runs a test's body. The limit is for a test that fails by waiting for ever.
fn run<T>(body: impl Future<Output = T>) -> T {
    eddies::run(eddies::timeout(Duration::from_secs(30), body)).expect("it does not hang")
}

/// Runs `test` of this file again, with `name` in its environment, and says which signal ended it.
fn signal_that_ended(test: &str, name: &str) -> Option<i32> {
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.args(["--exact", test, "--nocapture"]).env("EDDIES_TEST_CHILD", name);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.signal().is_some(), "{name}: {text}");
    output.status.signal()
}

/// The part that a process of this test is to play.
fn part() -> Option<String> {
    std::env::var("EDDIES_TEST_CHILD").ok()
}

#[test]
fn the_loop_calls_the_handler_once_or_more_after_each_signal() {
    let kind = SignalKind::user_defined1();
    run(async {
        let calls = Rc::new(Cell::new(0));
        add_signal_handler(kind, counting(&calls)).unwrap();
        for count in 1..=3 {
            raise(kind);
            assert_eq!(calls.get(), count - 1, "in the loop, and not in the signal's handler");
            reach(&calls, count).await;
        }
        assert!(remove_signal_handler(kind));
    });
}

#[test]
fn a_second_handler_replaces_the_first_and_takes_over_what_arrived() {
    let kind = SignalKind::user_defined2();
    run(async {
        let captured = Rc::new(());
        let in_first = Rc::clone(&captured);
        add_signal_handler(kind, move || panic!("it was replaced: {in_first:?}")).unwrap();
        eddies::yield_now().await;
        raise(kind);
        let calls = Rc::new(Cell::new(0));
        add_signal_handler(kind, counting(&calls)).unwrap();
        assert_eq!(Rc::strong_count(&captured), 1, "dropped at once");
        reach(&calls, 1).await;
        assert!(remove_signal_handler(kind));
    });
}

#[test]
fn a_handler_may_remove_itself_and_listeners_hear_beside_it() {
    let kind = SignalKind::hangup();
    run(async {
        let mut listener = signal(kind).unwrap();
        let removed = Rc::new(Cell::new(0));
        let mut count = counting(&removed);
        add_signal_handler(kind, move || {
            assert!(remove_signal_handler(kind));
            count();
        })
        .unwrap();
        raise(kind);
        reach(&removed, 1).await;
        assert_eq!(listener.recv().await, Some(()));
        // The listener keeps the default effect away, which would end this process.
        raise(kind);
        assert_eq!(listener.recv().await, Some(()));
        assert_eq!(removed.get(), 1);
        assert!(!remove_signal_handler(kind));
    });
}

#[test]
fn trap_031_what_cannot_be_handled_is_an_error_by_name() {
    run(async {
        for number in signal_hook::consts::FORBIDDEN {
            let kind = SignalKind::from_raw(*number);
            let error = add_signal_handler(kind, || ()).expect_err("SIGKILL and the like");
            assert!(matches!(error, SignalHandlerError::NotAllowed(refused) if refused == kind), "{error:?}");
            assert!(!remove_signal_handler(kind));
        }
        for number in [-1, 0, 4_321] {
            let kind = SignalKind::from_raw(number);
            let error = add_signal_handler(kind, || ()).expect_err("no such signal");
            assert!(matches!(error, SignalHandlerError::NoSuchSignal(refused) if refused == kind), "{error:?}");
            assert!(!remove_signal_handler(kind));
        }
    });
    let error = add_signal_handler(SignalKind::alarm(), || ()).expect_err("no loop would call it");
    assert!(matches!(error, SignalHandlerError::NoLoop), "{error:?}");
    assert!(!remove_signal_handler(SignalKind::alarm()));
}

#[test]
fn trap_031_the_second_remove_is_false() {
    let kind = SignalKind::window_change();
    run(async {
        assert!(!remove_signal_handler(kind), "nobody added one");
        add_signal_handler(kind, || ()).unwrap();
        assert!(remove_signal_handler(kind));
        assert!(!remove_signal_handler(kind));
    });
}

#[test]
fn trap_031_removing_gives_the_default_effect_back() {
    let terminate = SignalKind::terminate();
    match part().as_deref() {
        None => {
            const TEST: &str = "trap_031_removing_gives_the_default_effect_back";
            assert_eq!(signal_that_ended(TEST, "removed"), Some(terminate.as_raw_value()));
            assert_eq!(signal_that_ended(TEST, "loop closed"), Some(terminate.as_raw_value()));
            assert_eq!(signal_that_ended(TEST, "handled"), None);
            assert_eq!(signal_that_ended(TEST, "handled again"), None);
            assert_eq!(signal_that_ended(TEST, "listener"), None);
            assert_eq!(signal_that_ended(TEST, "not the default before"), None);
        }
        Some("removed") => run(async {
            add_signal_handler(terminate, || ()).unwrap();
            assert!(remove_signal_handler(terminate));
            raise(terminate);
        }),
        Some("loop closed") => {
            run(async { add_signal_handler(terminate, || ()).unwrap() });
            raise(terminate);
        }
        Some("handled") => run(async {
            add_signal_handler(terminate, || ()).unwrap();
            raise(terminate);
        }),
        Some("handled again") => run(async {
            add_signal_handler(terminate, || ()).unwrap();
            remove_signal_handler(terminate);
            let calls = Rc::new(Cell::new(0));
            add_signal_handler(terminate, counting(&calls)).unwrap();
            raise(terminate);
            reach(&calls, 1).await;
        }),
        Some("listener") => run(async {
            add_signal_handler(terminate, || ()).unwrap();
            let mut listener = signal(terminate).unwrap();
            remove_signal_handler(terminate);
            raise(terminate);
            assert_eq!(listener.recv().await, Some(()));
            drop(listener);
            raise(terminate);
        }),
        Some(_) => {
            // Somebody else's handler was there first.
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            signal_hook::flag::register(terminate.as_raw_value(), flag).unwrap();
            run(async {
                add_signal_handler(terminate, || ()).unwrap();
                remove_signal_handler(terminate);
                raise(terminate);
            });
        }
    }
}

#[test]
fn trap_031_the_end_of_the_loop_removes_all() {
    let kinds = [SignalKind::io(), SignalKind::pipe()];
    let captured = Rc::new(());
    let while_closing = Rc::new(RefCell::new(None));
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(async {
        struct AtEnd<F: FnMut()>(F);
        impl<F: FnMut()> Drop for AtEnd<F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        for kind in kinds {
            let in_handler = Rc::clone(&captured);
            add_signal_handler(kind, move || drop(Rc::clone(&in_handler))).unwrap();
        }
        let answer = Rc::clone(&while_closing);
        let at_end = AtEnd(move || *answer.borrow_mut() = Some(add_signal_handler(SignalKind::child(), || ())));
        eddies::spawn_local(async move {
            let _at_end = at_end;
            pending::<()>().await;
        });
        eddies::yield_now().await;
    });
    assert_eq!(Rc::strong_count(&captured), 1);
    let answer = while_closing.borrow_mut().take().expect("the task was dropped");
    assert!(matches!(answer, Err(SignalHandlerError::LoopClosed(_))), "{answer:?}");
    runtime.block_on(async { assert!(kinds.iter().all(|kind| !remove_signal_handler(*kind))) });
}

#[test]
fn trap_031_close_removes_all() {
    let kind = SignalKind::io();
    let event_loop = eddies::EventLoop::new().unwrap();
    let captured = Rc::new(());
    let in_handler = Rc::clone(&captured);
    event_loop.add_signal_handler(kind, move || drop(Rc::clone(&in_handler))).unwrap();
    event_loop.close().unwrap();
    assert_eq!(Rc::strong_count(&captured), 1);
    let answer = event_loop.add_signal_handler(kind, || ());
    assert!(matches!(answer, Err(SignalHandlerError::LoopClosed(_))), "{answer:?}");
    assert!(!event_loop.remove_signal_handler(kind));
}

#[test]
fn trap_031_any_thread_that_runs_a_loop_may_handle_signals() {
    // asyncio demands the main thread, for its interpreter runs handlers there. Here each loop has its own.
    let kind = SignalKind::quit();
    let barrier = std::sync::Barrier::new(3);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                run(async {
                    let calls = Rc::new(Cell::new(0));
                    add_signal_handler(kind, counting(&calls)).unwrap();
                    barrier.wait();
                    reach(&calls, 1).await;
                    // Until both have heard it: the first to leave must not be the last handler.
                    barrier.wait();
                });
            });
        }
        barrier.wait();
        raise(kind);
        barrier.wait();
    });
}
