//! Context variables: values that belong to what runs, not to the thread it runs on.
//!
//! A [`Context`] is a map from variables to values behind a lock. Each task has one of its own, a copy of the context in which it was spawned; each
//! callback likewise that of its registration. The map itself is shared until somebody writes (copy on write), so a copy costs one reference count
//! whatever it holds; a write to a shared map copies its pointers.
//!
//! Nothing is installed around a poll: a variable is looked up through the task that the thread runs (`frame`), whose extension holds the context.
//! A task that inherits nothing and sets nothing has no extension, so what is not used costs a load at each spawn.
//!
//! Which context is current: that of the innermost `Context::run` on this thread since the task's poll began; else that of the task, or of the
//! callback; else, outside of any (in the main future of `block_on`, in ordinary code), the thread's own.
//!
//! No user code runs under a lock here: values are dropped, and closures called, after it is released.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use super::frame;
use crate::loom::{Arc, Mutex, thread_local};

type Value = std::sync::Arc<dyn Any + Send + Sync>;

/// The map: from the address of a variable to its value.
type Values = Arc<BTreeMap<usize, Value>>;

thread_local! {
    /// The context of what runs on this thread outside of any task. Read and written by this thread only.
    static OF_THREAD: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// Whether it was ever made: a look that costs no spawn anything. Read and written by this thread only.
    static HAS_OF_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// A variable whose value depends on the task that asks: asyncio's `ContextVar`.
///
/// It is a `static`. A task sees what was set where it was spawned, and what it sets itself; its siblings and its parent do not see that.
///
/// ```
/// use eddies::ContextVar;
///
/// static REQUEST: ContextVar<u64> = ContextVar::new("request");
///
/// eddies::run(async {
///     REQUEST.set(7);
///     let child = eddies::spawn(async {
///         let inherited = REQUEST.get();
///         REQUEST.set(8);
///         (inherited, REQUEST.get())
///     });
///     assert_eq!(child.await.unwrap(), (Some(7), Some(8)));
///     assert_eq!(REQUEST.get(), Some(7));
/// });
/// ```
pub struct ContextVar<T: 'static> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> ContextVar<T> {
    /// A variable without a value. The name is for `Debug`.
    pub const fn new(name: &'static str) -> Self {
        ContextVar { name, value: PhantomData }
    }

    /// The name given to [`new`](ContextVar::new).
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn key(&'static self) -> usize {
        // Two variables are two statics, and a static with a name in it has an address of its own.
        std::ptr::from_ref(self).addr()
    }

    /// Its value in the current context, `None` if it was never set there.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// What `f` makes of the value; `None` if there is none.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let value = with_current_if_any(|context| context.value(self.key()))?;
        value.downcast_ref().map(f)
    }

    /// Sets it in the current context. The token remembers what was there before; it can be dropped.
    pub fn set(&'static self, value: T) -> Token<T> {
        let context = current();
        let before = context.replace(self.key(), Some(std::sync::Arc::new(value)));
        Token { variable: self, context, before }
    }

    /// Brings back what was there before the `set` that made `token`.
    ///
    /// # Errors
    ///
    /// [`ForeignToken`], with the token inside: it was made in another context than the current one, or is another variable's.
    ///
    /// ```
    /// static DEPTH: eddies::ContextVar<u32> = eddies::ContextVar::new("depth");
    ///
    /// let token = DEPTH.set(1);
    /// assert_eq!(DEPTH.get(), Some(1));
    /// DEPTH.reset(token).unwrap();
    /// assert_eq!(DEPTH.get(), None);
    /// ```
    pub fn reset(&'static self, token: Token<T>) -> Result<(), ForeignToken<T>> {
        let of_other = !std::ptr::eq(self, token.variable);
        if of_other || !current().is_same(&token.context) {
            return Err(ForeignToken { asked: of_other.then_some(self.name), token });
        }
        let now = token.context.replace(self.key(), token.before);
        drop(now);
        Ok(())
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextVar({:?})", self.name)
    }
}

/// What a variable was before it was set; see [`ContextVar::reset`].
pub struct Token<T: 'static> {
    variable: &'static ContextVar<T>,
    context: Context,
    before: Option<Value>,
}

impl<T> fmt::Debug for Token<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.variable.name)
    }
}

/// A variable was to be [reset](ContextVar::reset) with a token that does not fit.
///
/// ```
/// use eddies::{Context, ContextVar};
///
/// static DEPTH: ContextVar<u32> = ContextVar::new("depth");
///
/// let token = DEPTH.set(1);
/// let error = Context::new().run(|| DEPTH.reset(token)).unwrap_err();
/// assert!(error.to_string().starts_with("the token of `depth` was made in another context"));
/// DEPTH.reset(error.into_token()).unwrap();
/// ```
pub struct ForeignToken<T: 'static> {
    /// The name of the variable that was asked, if it is not the token's.
    asked: Option<&'static str>,
    token: Token<T>,
}

impl<T> ForeignToken<T> {
    /// The token, which is still good where it belongs.
    pub fn into_token(self) -> Token<T> {
        self.token
    }
}

impl<T> fmt::Debug for ForeignToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignToken").field("asked", &self.asked).field("token", &self.token).finish()
    }
}

impl<T> fmt::Display for ForeignToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.token.variable.name;
        match self.asked {
            Some(asked) => write!(f, "the token is of another variable, `{of}`, and cannot reset `{asked}`"),
            None => write!(
                f,
                "the token of `{of}` was made in another context: reset the variable in the task, or the `Context::run`, that set it"
            ),
        }
    }
}

impl<T> Error for ForeignToken<T> {}

/// The values of all context variables, as some task sees them: asyncio's `Context`.
///
/// A clone is the same context, a [`copy`](Context::copy) another with the same values. Any thread may use it.
///
/// ```
/// use eddies::{Context, ContextVar};
///
/// static USER: ContextVar<&str> = ContextVar::new("user");
///
/// let context = Context::current().copy();
/// context.run(|| USER.set("ada"));
/// assert_eq!(USER.get(), None);
/// assert_eq!(context.run(|| USER.get()), Some("ada"));
/// ```
#[derive(Clone)]
pub struct Context {
    /// `None` is the empty map. Any thread that holds the context.
    values: Arc<Mutex<Option<Values>>>,
}

impl Default for Context {
    fn default() -> Self {
        Context::new()
    }
}

impl Context {
    /// A context in which no variable has a value.
    pub fn new() -> Self {
        Context { values: Arc::new(Mutex::new(None)) }
    }

    /// The current context itself: what is set in it is seen by whoever it belongs to.
    pub fn current() -> Self {
        current()
    }

    /// Another context with the same values. It takes the same time whatever they are.
    pub fn copy(&self) -> Self {
        let values = self.values.lock().clone();
        Context { values: Arc::new(Mutex::new(values)) }
    }

    /// What a callback that is registered now gets: a copy of the current context, `None` if that is empty.
    pub(crate) fn inherited() -> Option<Context> {
        inherit()
    }

    /// Calls `f` with this as the current context. Contexts nest; one may be entered by several threads at once.
    ///
    /// It is for code that does not wait. A future takes a context with it as a task:
    /// [`TaskBuilder::context`](crate::TaskBuilder::context).
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let _leave = frame::enter_context(self);
        f()
    }

    /// The value of `variable` in this context.
    pub fn get<T: Clone + Send + Sync + 'static>(&self, variable: &'static ContextVar<T>) -> Option<T> {
        self.value(variable.key())?.downcast_ref().cloned()
    }

    /// How many variables have a value.
    pub fn len(&self) -> usize {
        self.values.lock().as_ref().map_or(0, |values| values.len())
    }

    /// Whether no variable has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_same(&self, other: &Context) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }

    fn value(&self, key: usize) -> Option<Value> {
        self.values.lock().as_ref()?.get(&key).cloned()
    }

    /// Puts `value` in, and gives back what was there, to be dropped by the caller.
    fn replace(&self, key: usize, value: Option<Value>) -> Option<Value> {
        let mut guard = self.values.lock();
        let mut values = guard.as_ref().map(|values| BTreeMap::clone(values)).unwrap_or_default();
        let before = match value {
            Some(value) => values.insert(key, value),
            None => values.remove(&key),
        };
        // The map of before may be its last reference, but every value in it has another, in the new map or in `before`.
        *guard = Some(Arc::new(values));
        before
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} variables)", self.len())
    }
}

/// Calls `f` with the current context if it was ever used; otherwise there is nothing in it.
fn with_current_if_any<R>(f: impl FnOnce(&Context) -> Option<R>) -> Option<R> {
    if let Some(context) = existing() { f(&context) } else { None }
}

/// The current context, if there is one yet.
fn existing() -> Option<Context> {
    if let Some(entered) = frame::with_context(|context| context.cloned()) {
        return Some(entered);
    }
    frame::with_task(|task| match task {
        Some(task) => task.extension.get().and_then(|extension| extension.context.lock().clone()),
        None => OF_THREAD.try_with(|context| context.borrow().clone()).ok().flatten(),
    })
}

/// The current context, made now if there was none.
fn current() -> Context {
    if let Some(context) = existing() {
        return context;
    }
    frame::with_task(|task| match task {
        Some(task) => task.extension.get_or_make().context.lock().get_or_insert_default().clone(),
        None => {
            let made = OF_THREAD.try_with(|context| context.borrow_mut().get_or_insert_default().clone());
            HAS_OF_THREAD.with(|has| has.set(true));
            // A thread that is being torn down keeps nothing.
            made.unwrap_or_default()
        }
    })
}

/// What a task, or a callback, that is made now gets: a copy of the current context, nothing if that is empty.
#[inline]
pub(super) fn inherit() -> Option<Context> {
    if frame::may_have_context(HAS_OF_THREAD.with(Cell::get)) { inherit_existing() } else { None }
}

#[inline(never)]
fn inherit_existing() -> Option<Context> {
    let context = existing()?;
    let is_empty = context.values.lock().is_none();
    if is_empty { None } else { Some(context.copy()) }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/context.rs"]
mod models;
