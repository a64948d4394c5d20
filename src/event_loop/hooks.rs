//! What the loop tells of: exceptions to its handler, slow callbacks in debug mode.

use std::sync::Arc;
use std::time::Duration;

use super::EventLoop;
use crate::report::Exception;

/// A function that is told of exceptions, on the thread where they arise. Keep a [`LoopHandle`](crate::LoopHandle) in it to act on the loop.
pub type ExceptionHandler = Arc<dyn Fn(&Exception) + Send + Sync>;

impl EventLoop {
    /// Puts `handler` in the place of the loop's exception handler, and gives back the one that was set before. `None`: the default
    /// again, which is the builder's `exception_handler`, or a line on stderr.
    ///
    /// A handler that panics is told of to the default one, together with what it had been told; if that panics as well, a line on stderr
    /// is all. The loop goes on.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let heard = Arc::new(Mutex::new(String::new()));
    /// let ears = heard.clone();
    /// event_loop.set_exception_handler(Some(Arc::new(move |exception| {
    ///     *ears.lock().unwrap() = exception.message().to_owned();
    /// })));
    /// event_loop.call_soon(|| panic!("oh"))?;
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// assert_eq!(*heard.lock().unwrap(), "oh");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_exception_handler(&self, handler: Option<ExceptionHandler>) -> Option<ExceptionHandler> {
        self.cell.shared.settings.hooks.set(handler)
    }

    /// The handler that was set, if one was.
    pub fn get_exception_handler(&self) -> Option<ExceptionHandler> {
        self.cell.shared.settings.hooks.custom()
    }

    /// Tells the loop's exception handler of `exception`; see [`Exception::custom`].
    pub fn call_exception_handler(&self, exception: &Exception) {
        self.cell.shared.settings.hooks.tell(exception);
    }

    /// Tells the default handler of `exception`: for a handler that passes on what does not concern it.
    pub fn default_exception_handler(&self, exception: &Exception) {
        self.cell.shared.settings.hooks.tell_default(exception);
    }

    /// Switches debug mode on or off. In debug mode the loop measures what it runs, and reports what takes longer than
    /// [`slow_callback_duration`](EventLoop::slow_callback_duration), with the task's name and the place of its spawn or registration, to the builder's
    /// `on_slow_poll`, or on stderr. It costs two readings of the clock for each entry of the queue.
    ///
    /// asyncio's other checks of this mode are always on, or done by the compiler: an `EventLoop` cannot leave its thread, futures that are
    /// never awaited are warned of, and tasks know where they were spawned. On a closed loop it does nothing.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// event_loop.set_debug(true);
    /// assert!(event_loop.get_debug());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_debug(&self, is_on: bool) {
        let threshold = is_on.then(|| self.slow_callback_duration());
        // A closed loop runs nothing that could be measured.
        let _ = self.with_worker("set_debug", |worker| worker.set_slow_call(threshold));
    }

    /// Whether debug mode is on.
    pub fn get_debug(&self) -> bool {
        self.with_worker("get_debug", |worker| worker.slow_call().is_some()).unwrap_or(false)
    }

    /// What debug mode takes for slow. Default: 100 ms.
    pub fn slow_callback_duration(&self) -> Duration {
        self.cell.slow_callback_duration.get()
    }

    /// Sets [`slow_callback_duration`](EventLoop::slow_callback_duration).
    pub fn set_slow_callback_duration(&self, duration: Duration) {
        self.cell.slow_callback_duration.set(duration);
        if self.get_debug() {
            self.set_debug(true);
        }
    }
}
