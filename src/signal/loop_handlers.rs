//! Signal handlers of a loop, as asyncio has them: a callback that the loop calls, in its own turn, after a signal arrived.
//!
//! A handler is a [`Standing`] callback that waits with a [`Signal`]; the table of handlers is the thread's, keyed by loop and signal. So a
//! handler runs on its loop's thread like any callback, may do what it likes, and ends with its loop. The table owns the [`Signal`], so removing
//! the entry ends the listening at once, and the default effect can be back when `remove_signal_handler` returns.
//!
//! asyncio allows this on the main thread only, for Python's interpreter runs handlers there. Here every loop has handlers of its own, several
//! loops may handle the same signal, and they and all [`Signal`]s hear it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use super::unix::{Signal, SignalKind, give_back_default, is_forbidden, signal};
use crate::error::LoopClosed;
use crate::event_loop::EventLoop;
use crate::loom::thread_local;
use crate::standing::{Standing, loop_here};

const OPERATION: &str = "add_signal_handler";

type Key = (usize, SignalKind);

thread_local! {
    /// What this thread's loops handle. No user code runs while it is borrowed.
    static HANDLED: RefCell<HashMap<Key, Handled>> = RefCell::new(HashMap::new());
}

/// A signal that a loop handles.
struct Handled {
    /// The handler.
    standing: Rc<Standing>,
    /// Where the signal arrives; stays when the handler is replaced, so that no signal is lost. The handler's task has a weak reference.
    arrivals: Rc<RefCell<Signal>>,
}

/// Why a loop takes no handler for a signal: the answer of [`add_signal_handler`].
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalHandlerError {
    /// The system has no signal with this number.
    NoSuchSignal(SignalKind),
    /// The signal cannot be handled: nobody may (SIGKILL, SIGSTOP), or it reports a fault of the thread that it stops (SIGILL, SIGFPE, SIGSEGV).
    NotAllowed(SignalKind),
    /// The calling thread does not run an event loop, which is to call the handler.
    NoLoop,
    /// The loop is closed.
    LoopClosed(LoopClosed),
    /// Another error of the system.
    System(io::Error),
}

impl fmt::Display for SignalHandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalHandlerError::NoSuchSignal(kind) => write!(f, "there is no signal {}", kind.as_raw_value()),
            SignalHandlerError::NotAllowed(kind) => {
                write!(f, "signal {} cannot be handled: it ends or stops the process in any case", kind.as_raw_value())
            }
            SignalHandlerError::NoLoop => f.write_str(
                "add_signal_handler needs the thread of a running event loop, which is to call the handler: call it from a task, a callback or \
                 the main future",
            ),
            SignalHandlerError::LoopClosed(error) => error.fmt(f),
            SignalHandlerError::System(error) => error.fmt(f),
        }
    }
}

impl Error for SignalHandlerError {}

impl From<LoopClosed> for SignalHandlerError {
    fn from(error: LoopClosed) -> SignalHandlerError {
        SignalHandlerError::LoopClosed(error)
    }
}

impl From<SignalHandlerError> for io::Error {
    fn from(error: SignalHandlerError) -> io::Error {
        match error {
            SignalHandlerError::System(error) => error,
            SignalHandlerError::NoSuchSignal(_) | SignalHandlerError::NotAllowed(_) => {
                io::Error::new(io::ErrorKind::InvalidInput, error)
            }
            error => io::Error::other(error),
        }
    }
}

/// Calls `handler` on the loop of this thread after each `kind` from now on: asyncio's `loop.add_signal_handler`.
///
/// It is an ordinary callback: it runs between polls, may allocate, lock, spawn and add or remove handlers. Several deliveries before it
/// runs may be answered by one call. A panic in it goes to the exception handler, and it stays. A second call for the same signal replaces the
/// handler. It ends with [`remove_signal_handler`] or with its loop: the `close` of an [`EventLoop`], which has this function as a method;
/// in a [`Runtime`](crate::Runtime) the end of the `block_on` during which it was added.
///
/// In a runtime with several loops this is the loop on which the caller happens to run: call it, and [`remove_signal_handler`], from local
/// tasks, callbacks or the main future.
///
/// # Errors
///
/// [`NoSuchSignal`](SignalHandlerError::NoSuchSignal) for a bad number, [`NotAllowed`](SignalHandlerError::NotAllowed) for SIGKILL and the like,
/// [`NoLoop`](SignalHandlerError::NoLoop) on a thread that runs no event loop, [`LoopClosed`](SignalHandlerError::LoopClosed) when the loop is
/// closed; else the system's.
///
/// ```
/// use eddies::signal::unix::SignalKind;
/// use eddies::signal::{add_signal_handler, remove_signal_handler};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (heard, wait) = eddies::sync::oneshot();
///     let mut heard = Some(heard);
///     add_signal_handler(SignalKind::user_defined1(), move || {
///         if let Some(heard) = heard.take() {
///             heard.send("reload").unwrap();
///         }
///     })?;
///     signal_hook::low_level::raise(SignalKind::user_defined1().as_raw_value())?;
///     assert_eq!(wait.await, Ok("reload"));
///     assert!(remove_signal_handler(SignalKind::user_defined1()));
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn add_signal_handler(kind: SignalKind, handler: impl FnMut() + 'static) -> Result<(), SignalHandlerError> {
    add(kind, Box::new(handler), Location::caller())
}

impl EventLoop {
    /// [`signal::add_signal_handler`](crate::signal::add_signal_handler) on this loop, whether it runs or not.
    ///
    /// # Errors
    ///
    /// As [`signal::add_signal_handler`](crate::signal::add_signal_handler).
    ///
    /// ```
    /// use eddies::signal::unix::SignalKind;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_signal_handler(SignalKind::user_defined2(), move || handle.stop())?;
    /// signal_hook::low_level::raise(SignalKind::user_defined2().as_raw_value())?;
    /// event_loop.run_forever()?;
    /// assert!(event_loop.remove_signal_handler(SignalKind::user_defined2()));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn add_signal_handler(
        &self,
        kind: SignalKind,
        handler: impl FnMut() + 'static,
    ) -> Result<(), SignalHandlerError> {
        let caller = Location::caller();
        self.inside(OPERATION, || add(kind, Box::new(handler), caller))?
    }

    /// [`signal::remove_signal_handler`](crate::signal::remove_signal_handler) on this loop. `false` also when it is closed.
    pub fn remove_signal_handler(&self, kind: SignalKind) -> bool {
        self.inside("remove_signal_handler", || remove_signal_handler(kind)).unwrap_or(false)
    }
}

fn add(
    kind: SignalKind,
    handler: Box<dyn FnMut()>,
    caller: &'static Location<'static>,
) -> Result<(), SignalHandlerError> {
    if is_forbidden(kind) {
        return Err(SignalHandlerError::NotAllowed(kind));
    }
    let key = (loop_here().ok_or(SignalHandlerError::NoLoop)?, kind);
    let known = HANDLED.with_borrow(|all| all.get(&key).map(|handled| Rc::clone(&handled.arrivals)));
    let arrivals = match known {
        Some(arrivals) => arrivals,
        None => Rc::new(RefCell::new(signal(kind).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => SignalHandlerError::NoSuchSignal(kind),
            _ => SignalHandlerError::System(error),
        })?)),
    };
    let wait = waiting(Rc::downgrade(&arrivals));
    let Ok(standing) = Standing::start(handler, caller, wait, move |ended| forget(key, ended)) else {
        drop(arrivals);
        give_back_default(kind);
        return Err(LoopClosed::new(OPERATION).into());
    };
    let replaced = HANDLED.with_borrow_mut(|all| all.insert(key, Handled { standing, arrivals }));
    drop(replaced);
    Ok(())
}

/// What a handler's task waits with: ready with `true` after a signal, with `false` when the handler was removed.
fn waiting(arrivals: Weak<RefCell<Signal>>) -> impl FnMut(&mut Context<'_>) -> Poll<bool> + 'static {
    move |cx| {
        let Some(arrivals) = arrivals.upgrade() else { return Poll::Ready(false) };
        let arrived = arrivals.borrow_mut().poll_recv(cx);
        arrived.map(|signal| signal.is_some())
    }
}

/// Removes the handler of `kind` from the loop of this thread, and says whether there was one. It is not called any more, even if a signal has
/// arrived already. `false` also on a thread without a loop, and when the loop is closed.
///
/// With the last handler the signal gets its default effect back, as in asyncio: SIGTERM or Ctrl-C ends the process again. It does not if a
/// [`Signal`] listens to it, nor if it had another effect when eddies first listened to it (a handler of somebody else, "ignore"). A
/// handler that another crate installed *later* does not prevent it, so leave the last one in place where such a crate shares the signal.
/// The end of the loop has the same effect as this call.
///
/// ```
/// use eddies::signal::unix::SignalKind;
/// use eddies::signal::{add_signal_handler, remove_signal_handler};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     add_signal_handler(SignalKind::hangup(), || println!("reading the configuration again"))?;
///     assert!(remove_signal_handler(SignalKind::hangup()));
///     assert!(!remove_signal_handler(SignalKind::hangup()), "there is none any more");
///     Ok(())
/// })
/// # }
/// ```
pub fn remove_signal_handler(kind: SignalKind) -> bool {
    loop_here().is_some_and(|here| take((here, kind), |_| true))
}

/// A handler's task has ended by itself.
fn forget(key: Key, ended: &Weak<Standing>) {
    take(key, |standing| std::ptr::eq(Rc::as_ptr(standing), ended.as_ptr()));
}

fn take(key: Key, is_meant: impl FnOnce(&Rc<Standing>) -> bool) -> bool {
    // The table is gone when the thread ends, and all its handlers with it.
    let taken = HANDLED.try_with(|all| {
        let mut all = all.borrow_mut();
        if all.get(&key).is_some_and(|handled| is_meant(&handled.standing)) { all.remove(&key) } else { None }
    });
    let Some(handled) = taken.ok().flatten() else { return false };
    // The handler, which is the user's, is dropped after the borrow; the listening ends before the effect comes back.
    drop(handled);
    give_back_default(key.1);
    true
}
