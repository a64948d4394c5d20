//! Panics in all that the loop calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use eddies::{EventLoop, ExceptionKind, LoopFuture, Runtime};

use super::{Heard, ends, listening, panic_of, says};

type Log = Rc<RefCell<Vec<&'static str>>>;

fn note(log: &Log, entry: &'static str) -> impl FnOnce() + 'static {
    let log = log.clone();
    move || log.borrow_mut().push(entry)
}

#[test]
fn panicked_in_callbacks() {
    ends(|| {
        let (event_loop, heard) = listening();
        let log = Log::default();
        event_loop.call_soon(|| panic!("soon")).unwrap();
        event_loop.call_soon(note(&log, "soon")).unwrap();
        event_loop.call_later(Duration::ZERO, || panic!("later")).unwrap();
        event_loop.call_later(Duration::ZERO, note(&log, "later")).unwrap();
        event_loop.handle().call_soon_threadsafe(|| panic!("from anywhere")).unwrap();
        event_loop.run_once().unwrap();
        event_loop.run_once().unwrap();
        assert_eq!(log.borrow().len(), 2);
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
        for exception in &*heard {
            assert_eq!(exception.kind(), ExceptionKind::Callback);
            says(exception, &["callback registered at tests/misuse/panics.rs:", " panicked: ", exception.message()]);
        }
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    });
}

#[test]
fn panicked_in_a_done_callback() {
    ends(|| {
        let (event_loop, heard) = listening();
        let calls = Arc::new(Mutex::new(0));
        let future = event_loop.create_future();
        future.add_done_callback(|_| panic!("first"));
        let count = calls.clone();
        future.add_done_callback(move |_| *count.lock().unwrap() += 1);
        future.set_result(()).unwrap();
        assert!(event_loop.run_until_complete(&future).unwrap().is_ok());
        assert_eq!(*calls.lock().unwrap(), 1);
        says(&heard.lock().unwrap()[0], &["callback registered at tests/misuse/panics.rs:", "panicked: first"]);
    });
}

#[test]
fn panicked_in_the_exception_handler() {
    ends(|| {
        let told = Heard::default();
        let ears = told.clone();
        let event_loop = Runtime::builder()
            .workers(1)
            .exception_handler(move |exception| ears.lock().unwrap().push(exception.clone()))
            .build_event_loop()
            .unwrap();
        event_loop.set_exception_handler(Some(Arc::new(|_| panic!("the handler"))));
        event_loop.call_soon(|| panic!("the callback")).unwrap();
        event_loop.run_once().unwrap();
        let told = std::mem::take(&mut *told.lock().unwrap());
        says(&told[0], &["Unhandled error in exception handler: the handler", "it had been told of", "the callback"]);
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    });
}

#[test]
fn panicked_in_both_exception_handlers() {
    ends(|| {
        let event_loop =
            Runtime::builder().workers(1).exception_handler(|_| panic!("the default")).build_event_loop().unwrap();
        event_loop.set_exception_handler(Some(Arc::new(|_| panic!("the handler"))));
        // A line on stderr is all there is left.
        for _ in 0..3 {
            event_loop.call_soon(|| panic!("the callback")).unwrap();
        }
        event_loop.run_once().unwrap();
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
        event_loop.close().unwrap();
    });
}

#[test]
fn used_the_loop_in_the_exception_handler() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        event_loop.set_exception_handler(Some(Arc::new(move |_| {
            // It is called where the exception arose, and may act on the loop.
            let inner = eddies::get_running_loop().unwrap();
            inner.set_exception_handler(None);
            handle.stop();
        })));
        event_loop.call_soon(|| panic!("oh")).unwrap();
        event_loop.run_forever().unwrap();
        assert!(event_loop.get_exception_handler().is_none());
    });
}

#[test]
fn panicked_in_the_main_future() {
    ends(|| {
        let event_loop = EventLoop::new().unwrap();
        let message = panic_of(|| event_loop.run_until_complete(async { panic!("in main") }));
        assert_eq!(message, "in main");
        assert!(!event_loop.is_running());
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    });
}

/// A waker that panics.
struct Touchy;

impl Wake for Touchy {
    fn wake(self: Arc<Self>) {
        panic!("do not wake me");
    }
}

#[test]
fn panicked_in_a_waker() {
    ends(|| {
        let (event_loop, heard) = listening();
        let touchy = Waker::from(Arc::new(Touchy));
        let future: LoopFuture<u32> = event_loop.create_future();
        let mut awaiting = future.clone().into_future();
        assert!(std::pin::Pin::new(&mut awaiting).poll(&mut Context::from_waker(&touchy)).is_pending());
        let waiter = event_loop.create_task(future.clone().into_future()).unwrap();
        event_loop.run_once().unwrap();
        let answer = future.clone();
        event_loop.call_soon(move || answer.set_result(7).unwrap()).unwrap();
        // Those who wait behind it are woken all the same.
        assert_eq!(event_loop.run_until_complete(waiter).unwrap().unwrap().unwrap(), 7);
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        says(&heard[0], &["waker", "panicked: do not wake me"]);
    });
}

#[test]
fn panicked_in_wakers_of_all_that_can_be_waited_for() {
    ends(|| {
        let (event_loop, heard) = listening();
        let touchy = Waker::from(Arc::new(Touchy));
        let cx = &mut Context::from_waker(&touchy);
        event_loop
            .run_until_complete(async {
                let event = eddies::sync::Event::new();
                let mut waiting = Box::pin(event.wait());
                assert!(waiting.as_mut().poll(cx).is_pending());
                assert_eq!(panic_of(|| event.set()), "do not wake me", "it is the caller's own waker");
                let mut sleep = Box::pin(eddies::sleep(Duration::from_millis(1)));
                assert!(sleep.as_mut().poll(cx).is_pending());
                let mut task = eddies::spawn(async {});
                assert!(std::pin::Pin::new(&mut task).poll(cx).is_pending());
                eddies::sleep(Duration::from_millis(3)).await;
                assert!(task.is_finished());
            })
            .unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 2, "{heard:?}");
    });
}

#[test]
fn panicked_in_a_standing_callback() {
    ends(|| {
        let (event_loop, heard) = listening();
        let (mut one, two) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut one, b"x").unwrap();
        let (calls, inner) = (Rc::new(RefCell::new(0)), event_loop.handle());
        let count = calls.clone();
        let reader = move || {
            *count.borrow_mut() += 1;
            if *count.borrow() == 3 {
                inner.stop();
            }
            panic!("not again");
        };
        event_loop.add_reader(&two, reader).unwrap();
        event_loop.run_forever().unwrap();
        // It stays, as in asyncio, and is called for as long as there is something to read.
        assert!(event_loop.remove_reader(&two) && *calls.borrow() == 3);
        says(&heard.lock().unwrap()[0], &["callback registered at tests/misuse/panics.rs:", "panicked: not again"]);
    });
}

#[test]
fn panicked_with_something_that_is_no_text() {
    ends(|| {
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                panic!("a payload that cannot be dropped");
            }
        }
        let (event_loop, heard) = listening();
        event_loop.call_soon(|| std::panic::panic_any(Payload)).unwrap();
        event_loop.run_once().unwrap();
        says(&heard.lock().unwrap()[0], &["a payload that is no string"]);
        assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
    });
}
