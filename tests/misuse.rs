//! What a new user gets wrong, tried in earnest: each ends in a typed error or a worded panic that says what to do, and in no hang, lost task or
//! abort. A test is named after what the user did.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use eddies::{EventLoop, Exception, Runtime};

#[path = "misuse/dropped.rs"]
mod dropped;
#[path = "misuse/futures.rs"]
mod futures;
#[path = "misuse/loops.rs"]
mod loops;
#[path = "misuse/outside.rs"]
mod outside;
#[path = "misuse/panics.rs"]
mod panics;
#[path = "misuse/tasks.rs"]
mod tasks;
#[path = "misuse/times.rs"]
mod times;
#[path = "misuse/variables.rs"]
mod variables;
#[path = "misuse/waits.rs"]
mod waits;

/// Runs `misuse` on a thread of its own, and fails when it hangs.
#[track_caller]
fn ends<R: Send + 'static>(misuse: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, hear) = mpsc::channel();
    let novice = thread::Builder::new().name("novice".to_owned());
    let thread = novice.spawn(move || drop(tell.send(catch_unwind(AssertUnwindSafe(misuse)))));
    match hear.recv_timeout(Duration::from_secs(30)) {
        Ok(Ok(output)) => {
            thread.unwrap().join().expect("the thread's destructors panicked");
            output
        }
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("it hangs"),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a panic with a text")
}

/// The words of the panic that `misuse` ends in.
#[track_caller]
fn panic_of<R>(misuse: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(misuse)) {
        Ok(_) => panic!("it did not panic"),
        Err(panic) => text(&*panic),
    }
}

/// Whether `message` says all of this.
#[track_caller]
fn says(message: impl ToString, parts: &[&str]) {
    let message = message.to_string();
    for part in parts {
        assert!(message.contains(part), "it should say {part:?}, and says: {message}");
    }
}

/// What an exception handler was told.
type Heard = Arc<Mutex<Vec<Exception>>>;

/// An event loop whose exceptions are written down.
fn listening() -> (EventLoop, Heard) {
    let (event_loop, heard) = (EventLoop::new().unwrap(), Heard::default());
    let ears = heard.clone();
    event_loop.set_exception_handler(Some(Arc::new(move |exception| ears.lock().unwrap().push(exception.clone()))));
    (event_loop, heard)
}

/// A runtime whose exceptions are written down.
fn runtime(workers: usize) -> (Runtime, Heard) {
    let heard = Heard::default();
    let ears = heard.clone();
    let handler = move |exception: &Exception| ears.lock().unwrap().push(exception.clone());
    (Runtime::builder().workers(workers).exception_handler(handler).build().unwrap(), heard)
}
