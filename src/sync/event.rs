//! An event: a flag that tasks wait for.
//!
//! `set` grants to all that wait, under the mutex, so each of them wakes even if `clear` follows before it runs (asyncio's rule).

use std::fmt;

use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::loom::Mutex;

/// A flag that tasks can wait for: asyncio's `Event`.
///
/// ```
/// use std::sync::Arc;
/// use eddies::sync::Event;
///
/// eddies::run(async {
///     let event = Arc::new(Event::new());
///     let set_later = event.clone();
///     let task = eddies::spawn(async move { set_later.set() });
///     event.wait().await;
///     assert!(event.is_set());
///     task.await.unwrap();
/// });
/// ```
pub struct Event {
    /// Any thread.
    state: Mutex<EventState>,
}

struct EventState {
    is_set: bool,
    /// While `is_set`, nobody waits.
    waiters: WaitList<()>,
}

struct UntilSet;

impl Waiter for UntilSet {
    type State = EventState;
    type Grant = ();
    type Output = ();

    fn list(state: &mut EventState) -> &mut WaitList<()> {
        &mut state.waiters
    }

    fn try_now(&mut self, state: &mut EventState, _: &mut Wakes) -> Option<()> {
        state.is_set.then_some(())
    }

    fn claim(&mut self, (): (), _: &mut EventState, _: &mut Wakes) {}

    fn left(&mut self, _: Option<()>, _: &mut EventState, _: &mut Wakes) {
        // It was told, or need not be: there is nothing to hand on, everybody is told.
    }
}

impl Event {
    /// An event that is not set.
    ///
    /// ```
    /// assert!(!eddies::sync::Event::new().is_set());
    /// ```
    pub fn new() -> Self {
        Event { state: Mutex::new(EventState { is_set: false, waiters: WaitList::new() }) }
    }

    /// Sets the flag and wakes all that wait, in the order in which they came. Any thread.
    ///
    /// ```
    /// let event = eddies::sync::Event::new();
    /// event.set();
    /// eddies::run(event.wait());
    /// ```
    pub fn set(&self) {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        state.is_set = true;
        state.waiters.grant_all(&mut wakes, || ());
        drop(state);
        wakes.wake();
    }

    /// Clears the flag: who waits from now on waits for the next [`set`](Event::set). Who waited before an earlier one still wakes.
    ///
    /// ```
    /// let event = eddies::sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.state.lock().is_set = false;
    }

    /// Whether the flag is set at this moment.
    ///
    /// ```
    /// let event = eddies::sync::Event::default();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn is_set(&self) -> bool {
        self.state.lock().is_set
    }

    /// Waits until the flag is set; ready at once when it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// eddies::run(async {
    ///     let event = eddies::sync::Event::new();
    ///     assert!(eddies::timeout(Duration::from_millis(1), event.wait()).await.is_err());
    /// });
    /// ```
    pub async fn wait(&self) {
        Wait::new(&self.state, UntilSet).await;
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_set, waiting) = {
            let state = self.state.lock();
            (state.is_set, state.waiters.waiting())
        };
        f.debug_struct("Event").field("is_set", &is_set).field("waiting", &waiting).finish()
    }
}
