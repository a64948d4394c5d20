//! Signals through the public interface alone. The tests of this file run in one process, so each has a signal of its own.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};

use eddies::NoRuntime;
use eddies::signal::ctrl_c;
use eddies::signal::unix::{Signal, SignalKind, signal};

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    eddies::run(future).expect("no I/O error")
}

fn raise(kind: SignalKind) {
    signal_hook::low_level::raise(kind.as_raw_value()).expect("a signal of this system");
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// No handler's byte is still on its way: the signal was raised on this thread, so the handler has run.
fn assert_silent(signal: &mut Signal) {
    assert!(poll_once(pin!(signal.recv())).is_pending(), "every delivery was answered");
}

#[test]
fn a_signal_wakes_the_task_that_waits() {
    let kind = SignalKind::user_defined1();
    run(async {
        let mut usr1 = signal(kind)?;
        for _ in 0..3 {
            assert_silent(&mut usr1);
            let raising = std::thread::spawn(move || raise(kind));
            assert_eq!(usr1.recv().await, Some(()));
            raising.join().expect("it does not panic");
        }
        Ok(())
    });
}

#[test]
fn all_listeners_hear_and_other_handlers_keep_working() {
    let kind = SignalKind::user_defined2();
    let (before, after) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    run(async {
        signal_hook::flag::register(kind.as_raw_value(), Arc::clone(&before))?;
        let (mut first, mut second) = (signal(kind)?, signal(kind)?);
        signal_hook::flag::register(kind.as_raw_value(), Arc::clone(&after))?;
        raise(kind);
        assert_eq!((first.recv().await, second.recv().await), (Some(()), Some(())));
        assert!(before.load(Ordering::SeqCst) && after.load(Ordering::SeqCst));

        drop(first);
        raise(kind);
        assert_eq!(second.recv().await, Some(()));
        drop(second);
        raise(kind);
        Ok(())
    });
}

#[test]
fn deliveries_before_a_receive_are_kept_and_may_be_one() {
    let kind = SignalKind::window_change();
    run(async {
        let mut winch = signal(kind)?;
        (0..100).for_each(|_| raise(kind));
        assert_eq!(winch.recv().await, Some(()));
        assert_silent(&mut winch);
        // More than the pair holds: the handler neither blocks nor fails, and nothing is forgotten.
        (0..100_000).for_each(|_| raise(kind));
        assert_eq!(winch.recv().await, Some(()));
        Ok(())
    });
}

#[test]
fn a_cancelled_receive_loses_nothing() {
    let kind = SignalKind::hangup();
    run(async {
        let mut hangup = signal(kind)?;
        {
            let mut receive = pin!(hangup.recv());
            assert!(poll_once(receive.as_mut()).is_pending());
            raise(kind);
        }
        assert_eq!(hangup.recv().await, Some(()));
        assert_silent(&mut hangup);
        Ok(())
    });
}

#[test]
fn ctrl_c_listens_from_the_call_on() {
    run(async {
        let first = ctrl_c();
        raise(SignalKind::interrupt());
        eddies::spawn(first).await??;
        let mut second = pin!(ctrl_c());
        assert!(poll_once(second.as_mut()).is_pending(), "the signal before is not this call's");
        raise(SignalKind::interrupt());
        second.await
    });
}

#[test]
fn two_runtimes_hear_the_same_signal() {
    let kind = SignalKind::quit();
    let barrier = Arc::new(Barrier::new(3));
    let listeners = [(); 2].map(|()| {
        let barrier = Arc::clone(&barrier);
        std::thread::spawn(move || {
            run(async {
                let mut quit = signal(kind)?;
                barrier.wait();
                assert_eq!(quit.recv().await, Some(()));
                Ok(())
            });
        })
    });
    barrier.wait();
    raise(kind);
    for listener in listeners {
        listener.join().expect("it does not panic");
    }
}

#[test]
fn what_cannot_be_listened_for_is_an_error() {
    run(async {
        for number in signal_hook::consts::FORBIDDEN {
            let error = signal(SignalKind::from_raw(*number)).expect_err("nobody may handle it");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        signal(SignalKind::from_raw(4_321)).expect_err("no such signal");
        Ok(())
    });
    let error = signal(SignalKind::alarm()).expect_err("outside a runtime");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>()), "{error:?}");
}
