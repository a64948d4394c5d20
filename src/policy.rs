//! Which event loop is whose: asyncio's policy, and the shortcuts [`get_event_loop`], [`set_event_loop`], [`new_event_loop`] and
//! [`get_running_loop`].
//!
//! Most programs never meet it. A policy answers one question, "which event loop does the calling code mean when no loop is running?", and makes
//! new loops. There is one policy for the process, which can be replaced. The default one keeps a loop for each thread:
//!
//! - on a worker, the loop that runs there, whatever the policy says;
//! - else the loop that was set with [`set_event_loop`] on this thread;
//! - on the main thread, if none was ever set there, a new one;
//! - else an error, never nothing: also after `set_event_loop(None)`, also on the main thread.
//!
//! An [`EventLoop`] stays on its thread, so a loop that was set on one thread is no other thread's. The loop that is set is owned by the
//! thread: it is closed when the thread ends, or another one is set and no clone is left.
//!
//! A process that has forked has one thread, and in it a copy of that thread's loop, whose kernel objects the two share. The default policy
//! refuses to give it out there: it answers as if none had been set, and the main thread gets a new one.
//!
//! ```
//! use eddies::policy::{get_event_loop, new_event_loop, set_event_loop};
//!
//! let event_loop = new_event_loop()?;
//! set_event_loop(Some(event_loop.clone()));
//! assert_eq!(get_event_loop()?, event_loop);
//! set_event_loop(None);
//! assert!(get_event_loop().is_err());
//! # std::io::Result::Ok(())
//! ```

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crate::error::NoEventLoop;
use crate::event_loop::EventLoop;

/// Decides which event loop is current, and makes new ones. One policy serves all threads; see [`set_event_loop_policy`].
///
/// ```
/// use eddies::policy::{DefaultEventLoopPolicy, EventLoopPolicy, set_event_loop_policy};
/// use eddies::{EventLoop, NoEventLoop, Runtime};
///
/// /// Loops with a blocking pool of one thread.
/// struct OneThread(DefaultEventLoopPolicy);
///
/// impl EventLoopPolicy for OneThread {
///     fn get_event_loop(&self) -> Result<EventLoop, NoEventLoop> {
///         self.0.get_event_loop()
///     }
///     fn set_event_loop(&self, event_loop: Option<EventLoop>) {
///         self.0.set_event_loop(event_loop);
///     }
///     fn new_event_loop(&self) -> std::io::Result<EventLoop> {
///         Runtime::builder().workers(1).blocking_threads(1).build_event_loop()
///     }
/// }
///
/// set_event_loop_policy(Some(std::sync::Arc::new(OneThread(DefaultEventLoopPolicy::new()))));
/// let event_loop = eddies::new_event_loop()?;
/// assert_eq!(event_loop.run_until_complete(async { 42 }), Ok(42));
/// set_event_loop_policy(None);
/// # std::io::Result::Ok(())
/// ```
pub trait EventLoopPolicy: Send + Sync {
    /// The loop of the calling context, which runs no loop: where one runs, [`get_event_loop`](get_event_loop()) does not ask.
    ///
    /// # Errors
    ///
    /// [`NoEventLoop`]: there is none, and this policy makes none here.
    fn get_event_loop(&self) -> Result<EventLoop, NoEventLoop>;

    /// Makes `event_loop` that of the calling context; `None`: the context has none from now on.
    fn set_event_loop(&self, event_loop: Option<EventLoop>);

    /// A new loop by this policy's rules. It is not set.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn new_event_loop(&self) -> io::Result<EventLoop>;
}

/// The policy that is in force unless another is set: a loop for each thread. See the [module](self).
#[derive(Debug, Default, Clone, Copy)]
pub struct DefaultEventLoopPolicy(());

impl DefaultEventLoopPolicy {
    /// The default policy. All of them share the threads' loops.
    pub fn new() -> Self {
        DefaultEventLoopPolicy(())
    }
}

/// What the default policy knows of a thread.
enum OfThread {
    /// Nobody has set a loop.
    Unset,
    /// `set_event_loop(None)`.
    None,
    /// The loop, and the process it was set in.
    Set(EventLoop, u32),
}

thread_local! {
    /// Written and read by this thread only.
    static LOOP: RefCell<OfThread> = const { RefCell::new(OfThread::Unset) };
}

/// Changes what is known of this thread. What was there before is dropped after the change, for its close runs code of the user.
fn replace(of_thread: OfThread) {
    let before = LOOP.try_with(|cell| cell.replace(of_thread)).ok();
    if let Some(OfThread::Set(event_loop, process)) = before
        && process != std::process::id()
    {
        // A copy in a forked child: its threads are not here to be joined.
        std::mem::forget(event_loop);
    }
}

impl EventLoopPolicy for DefaultEventLoopPolicy {
    fn get_event_loop(&self) -> Result<EventLoop, NoEventLoop> {
        let (found, may_make) = LOOP
            .try_with(|cell| match &*cell.borrow() {
                OfThread::Set(event_loop, process) if *process == std::process::id() => {
                    (Some(event_loop.clone()), false)
                }
                OfThread::Set(..) | OfThread::Unset => (None, true),
                OfThread::None => (None, false),
            })
            .unwrap_or((None, false));
        if let Some(event_loop) = found {
            return Ok(event_loop);
        }
        if !may_make || !is_main_thread() {
            return Err(NoEventLoop::current());
        }
        let event_loop = self.new_event_loop().map_err(NoEventLoop::not_made)?;
        self.set_event_loop(Some(event_loop.clone()));
        Ok(event_loop)
    }

    fn set_event_loop(&self, event_loop: Option<EventLoop>) {
        replace(event_loop.map_or(OfThread::None, |event_loop| OfThread::Set(event_loop, std::process::id())));
    }

    fn new_event_loop(&self) -> io::Result<EventLoop> {
        EventLoop::new()
    }
}

/// The standard library gives the main thread this name. A thread that a program starts under it is taken for the main one.
fn is_main_thread() -> bool {
    thread::current().name() == Some("main")
}

/// The policy in force; `None`: the default one. Any thread.
static POLICY: RwLock<Option<Arc<dyn EventLoopPolicy>>> = RwLock::new(None);

/// The policy in force.
///
/// ```
/// use eddies::policy::{EventLoopPolicy, get_event_loop_policy};
///
/// let event_loop = get_event_loop_policy().new_event_loop()?;
/// assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1));
/// # std::io::Result::Ok(())
/// ```
pub fn get_event_loop_policy() -> Arc<dyn EventLoopPolicy> {
    let policy = POLICY.read().unwrap_or_else(PoisonError::into_inner).clone();
    policy.unwrap_or_else(|| Arc::new(DefaultEventLoopPolicy::new()))
}

/// Puts `policy` into force, for all threads; `None`: the default one. Loops that were set before stay with the policy that keeps them.
pub fn set_event_loop_policy(policy: Option<Arc<dyn EventLoopPolicy>>) {
    let before = std::mem::replace(&mut *POLICY.write().unwrap_or_else(PoisonError::into_inner), policy);
    drop(before);
}

/// The loop of the calling code: the one that runs here, or else the one that the policy names.
///
/// # Errors
///
/// [`NoEventLoop`]: none runs here, and the policy has none. It never gives nothing.
///
/// ```
/// let event_loop = eddies::new_event_loop()?;
/// let inner = event_loop.run_until_complete(async { eddies::get_event_loop() }).unwrap()?;
/// assert_eq!(inner, event_loop);
/// # std::io::Result::Ok(())
/// ```
pub fn get_event_loop() -> Result<EventLoop, NoEventLoop> {
    match EventLoop::running() {
        Some(event_loop) => Ok(event_loop),
        None => get_event_loop_policy().get_event_loop(),
    }
}

/// Makes `event_loop` the policy's loop for the calling thread; `None`: the thread has none, and [`get_event_loop`](get_event_loop()) is an error
/// there from now on.
pub fn set_event_loop(event_loop: Option<EventLoop>) {
    get_event_loop_policy().set_event_loop(event_loop);
}

/// A new loop, as the policy makes them. It is not set.
///
/// # Errors
///
/// What the operating system says when it has no more threads or file descriptors.
pub fn new_event_loop() -> io::Result<EventLoop> {
    get_event_loop_policy().new_event_loop()
}

/// The loop that runs on the calling thread: an event loop's, or that of the worker it is, also in a plain [`Runtime`](crate::Runtime).
///
/// It stays on this thread, and so cannot be kept across an `.await` of a task that is `Send`; its [`handle`](EventLoop::handle) can.
///
/// # Errors
///
/// [`NoEventLoop`] where no loop runs.
///
/// ```
/// eddies::run(async {
///     let handle = eddies::get_running_loop()?.handle();
///     handle.spawn(async {}).await.unwrap();
///     Ok::<(), eddies::NoEventLoop>(())
/// })?;
/// assert!(eddies::get_running_loop().is_err());
/// # Ok::<(), eddies::NoEventLoop>(())
/// ```
pub fn get_running_loop() -> Result<EventLoop, NoEventLoop> {
    EventLoop::running().ok_or_else(NoEventLoop::running)
}

impl fmt::Debug for dyn EventLoopPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventLoopPolicy")
    }
}
