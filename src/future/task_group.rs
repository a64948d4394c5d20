//! Tasks that end together: asyncio's `TaskGroup`, as a function that returns when all of them have.
//!
//! The group is a future with the body inside it, which is polled within a scope (`crate::task::scope`). Its children are tasks of their own, in a roster
//! that future, handles and children share. When something fails, the children are cancelled where it failed, and the future is woken: it asks its scope to
//! end, so that a `catch_cancel` in the body, or a group in it, takes the cancellation and unwinds; without one the body is dropped. Then the future waits for
//! the roster to be empty. The scope also catches what comes from outside: a cancelled task, a deadline, a group around. It is put back when the children
//! have ended, for whoever it was for. So the group never cancels the task that it is in, whose count of cancellations nobody has to correct.
//!
//! Rejected: children that borrow from the body (a future can be leaked, and then the borrows end before the children do); cancelling the task that awaits
//! the group, as asyncio does (what runs beside the group in the same task would be cancelled too); a panic that goes through at once (the failures of
//! others would be lost, so it is one of them).

mod group_error;
mod member;
mod start;

pub use group_error::{ChildError, Failure, GroupClosed, StartError, TaskGroupError};
pub use member::Child;
pub use start::Ready;

use std::fmt;
use std::future::{Future, IntoFuture, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::roster::{Fate, Roster};
use crate::TaskBuilder;
use crate::error::Cancelled;
use crate::task::scope::{Caught, PassedOn, Scope};
use member::{Member, Membership, SharedRoster, carry_out, caught};

/// Runs what `body` makes, with a group into which it spawns tasks, and returns when body and tasks have all ended.
///
/// - **Children.** [`TaskGroup::spawn`] makes a task, which runs by itself, perhaps in parallel. The body need not await it: the group does. Whoever has
///   the group, a child for instance, may spawn into it, also when the body is done already and others still run.
/// - **A failure** (a child or the body gives an error, or panics) cancels the others, children and body, once. They may clean up, in the way of
///   [`catch_cancel`](crate::catch_cancel), and the group waits for that; what fails in their cleanup is a failure too. The group gives all failures, in
///   the order in which they came. It takes no children meanwhile.
/// - **A child that is cancelled** by itself, through its [`Child`], is no failure.
/// - **A cancellation from outside** (the task that awaits the group is cancelled, a [deadline](crate::with_deadline) around it passes, a group around it
///   ends) cancels body and children, and goes on to whom it was for when all have ended. The group gives nothing then, unless something failed:
///   the failures come first, and the cancellation takes effect where the task waits next.
/// - **[`TaskGroup::cancel`]** ends the group without a failure.
/// - **[`supervised`](TaskGroupFuture::supervised)**: a child that fails leaves the others alone.
///
/// Nothing that was spawned outlives the group. Children do not borrow from the body, for a future that is leaked would free what they borrow; let them share
/// it by an `Arc`, or give their results back.
///
/// The body is dropped where it waits, if it does so in no `catch_cancel` and no group of its own. The group works in a task and in a main future.
///
/// # Errors
///
/// [`TaskGroupError::Failed`] with all failures, the body's and its own panic among them; [`TaskGroupError::Cancelled`] when the group was cancelled by its
/// own `cancel` before the body had a value. The errors are of one type; where there are several, a `Box<dyn Error + Send + Sync>` or an enum
/// takes them, and the error of a group within is one of them.
///
/// # Panics
///
/// When polled again after it was ready.
///
/// # Cancel safety
///
/// Dropped before it is ready (by a `timeout` or `select`, which cannot wait), the group aborts its children: they clean up only by their destructors. The
/// runtime owns them until they have ended, and its shutdown waits for them. [`with_deadline`](crate::with_deadline) cancels instead, and waits.
///
/// ```
/// use std::io;
/// use eddies::task_group;
///
/// async fn length(text: &'static str) -> io::Result<usize> {
///     eddies::yield_now().await;
///     if text.is_empty() { Err(io::Error::other("nothing to measure")) } else { Ok(text.len()) }
/// }
///
/// eddies::run(async {
///     let sum = task_group(|group| async move {
///         let (a, b) = (group.spawn(length("one")), group.spawn(length("three")));
///         Ok(a.await.unwrap_or(0) + b.await.unwrap_or(0))
///     });
///     assert_eq!(sum.await.unwrap(), 8);
///
///     let error = task_group(|group| async move {
///         group.spawn(length(""));
///         group.spawn(std::future::pending::<io::Result<()>>());
///         Ok(())
///     });
///     assert_eq!(error.await.unwrap_err().to_string(), "1 failed in a task group: nothing to measure");
/// });
/// ```
#[doc(alias("nursery", "scope", "TaskGroup", "coroutineScope", "JoinSet"))]
pub fn task_group<F, B, R, E>(body: F) -> TaskGroupFuture<B::IntoFuture, R, E>
where
    F: FnOnce(TaskGroup<E>) -> B,
    B: IntoFuture<Output = Result<R, E>>,
{
    let roster: SharedRoster<E> = Arc::new(Roster::new());
    let body = body(TaskGroup { roster: roster.clone() }).into_future();
    TaskGroupFuture {
        body: Some(body),
        scope: None,
        roster,
        supervised: false,
        stage: Stage::Running { value: None, reason: Cancelled::default(), from: None, has_asked: false },
    }
}

/// A group of tasks; see [`task_group`]. Any thread; cheap to clone. It may outlive its group, which then takes no children any more.
pub struct TaskGroup<E> {
    roster: SharedRoster<E>,
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Spawns a task into the group. Its error, or panic, ends the group.
    ///
    /// When the group takes no children any more (it is being cancelled, perhaps because of a failure this very moment), `future` is dropped, and what is
    /// returned is the handle of a task that was cancelled. [`try_spawn`](TaskGroup::try_spawn) tells.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         let child = group.spawn(async { "7".parse::<u32>() });
    ///         Ok(child.await.unwrap())
    ///     });
    ///     assert_eq!(outcome.await.unwrap(), 7);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(TaskBuilder::new(), future)
    }

    /// Like [`spawn`](TaskGroup::spawn), for a future that gives a value, not a `Result`. A panic still ends the group.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         let child = group.spawn_ok(async { 7 });
    ///         Ok::<_, std::convert::Infallible>(child.await.unwrap())
    ///     });
    ///     assert_eq!(outcome.await.unwrap(), 7);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_ok<F>(&self, future: F) -> Child<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_with(TaskBuilder::new(), async move { Ok(future.await) })
    }

    /// Like [`spawn`](TaskGroup::spawn), for a task with a name or a context of its own.
    ///
    /// ```
    /// use eddies::{TaskBuilder, task_group};
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         let child = group.spawn_with(TaskBuilder::new().name("reader"), async { Ok::<_, ()>(()) });
    ///         Ok(child.name().map(str::to_owned))
    ///     });
    ///     assert_eq!(outcome.await.unwrap().as_deref(), Some("reader"));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_with<F, T>(&self, builder: TaskBuilder, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        match self.admit(future) {
            Ok((number, member)) => self.attach(number, Child::new(builder.spawn(member))),
            Err((_, future)) => {
                drop(future);
                let task = builder.spawn(pending());
                task.abort();
                Child::new(task)
            }
        }
    }

    /// Like [`spawn`](TaskGroup::spawn), but says when the group takes no children.
    ///
    /// # Errors
    ///
    /// [`GroupClosed`]; `future` has been dropped.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    ///
    /// ```
    /// use eddies::{future::GroupClosed, task_group};
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.cancel();
    ///         Ok::<_, ()>(group.try_spawn(async { Ok(()) }).unwrap_err())
    ///     });
    ///     assert_eq!(outcome.await.unwrap(), GroupClosed::Aborting);
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, future: F) -> Result<Child<T>, GroupClosed>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        match self.admit(future) {
            Ok((number, member)) => Ok(self.attach(number, Child::new(TaskBuilder::new().spawn(member)))),
            Err((closed, future)) => {
                drop(future);
                Err(closed)
            }
        }
    }

    /// Like [`spawn`](TaskGroup::spawn), for a future that need not be `Send`: the task stays on the calling thread. See
    /// [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    ///
    /// On a thread that runs no loop.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let shared = Rc::new(6);
    ///     let outcome = task_group(|group| async move {
    ///         let child = group.spawn_local(async move { Ok::<_, ()>(*shared + 1) });
    ///         Ok(child.await.unwrap())
    ///     });
    ///     assert_eq!(outcome.await.unwrap(), 7);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_local<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
    {
        match self.admit(future) {
            Ok((number, member)) => self.attach(number, Child::new(TaskBuilder::new().spawn_local(member))),
            Err((_, future)) => {
                drop(future);
                let task = TaskBuilder::new().spawn_local(pending());
                task.abort();
                Child::new(task)
            }
        }
    }

    /// The future with its place in the group, or why there is none (G1).
    fn admit<F>(&self, future: F) -> Result<(u64, Member<F, E>), (GroupClosed, F)> {
        match self.roster.admit() {
            Ok(number) => Ok((number, Member::new(future, Membership::new(self.roster.clone(), number)))),
            Err(refusal) => Err((refusal.into(), future)),
        }
    }

    /// The child was spawned (G2).
    fn attach<T>(&self, number: u64, child: Child<T>) -> Child<T> {
        match self.roster.attach(number, child.clone()) {
            Fate::Stay => {}
            Fate::Cancel(reason) => {
                child.cancel(reason.reason());
            }
            Fate::Abort => child.abort(),
        }
        child
    }
}

impl<E> TaskGroup<E> {
    /// Ends the group without a failure: children and body are cancelled, and no more children are taken. What they fail with while they clean up does
    /// count. asyncio's `TaskGroup.cancel()`.
    ///
    /// The group then gives the body's value, if the body has one: it had ended before, did not wait again, or caught the cancellation and gave a value; else
    /// [`TaskGroupError::Cancelled`]. Again, or after the group has ended, it has no effect. Any thread.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.spawn(std::future::pending::<Result<(), ()>>());
    ///         group.cancel();
    ///         Ok("enough")
    ///     });
    ///     assert_eq!(outcome.await.unwrap(), "enough");
    /// });
    /// ```
    pub fn cancel(&self) {
        carry_out(self.roster.abort(Cancelled::new(Some("the task group was cancelled"))));
    }

    /// How many tasks are in the group that have not ended.
    ///
    /// ```
    /// eddies::run(async {
    ///     let outcome = eddies::task_group(|group| async move {
    ///         group.spawn(async { Ok::<_, ()>(()) });
    ///         Ok(group.len())
    ///     });
    ///     assert!(outcome.await.unwrap() <= 1);
    /// });
    /// ```
    pub fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether no task is in the group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        TaskGroup { roster: self.roster.clone() }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup").field("children", &self.len()).finish()
    }
}

pin_project! {
    /// The future of [`task_group`].
    #[must_use = "a group does nothing unless it is awaited"]
    pub struct TaskGroupFuture<B, R, E> {
        // Dropped before the scope: scopes within it leave first. `None` when it has ended.
        #[pin]
        body: Option<B>,
        scope: Option<Scope>,
        roster: SharedRoster<E>,
        supervised: bool,
        stage: Stage<R>,
    }

    impl<B, R, E> PinnedDrop for TaskGroupFuture<B, R, E> {
        fn drop(this: Pin<&mut Self>) {
            for child in this.project().roster.close() {
                child.abort();
            }
        }
    }
}

/// How far the group is.
enum Stage<R> {
    Running {
        /// The body's.
        value: Option<R>,
        /// Why the body was cancelled, if it was.
        reason: Cancelled,
        /// What was caught was for somebody further out; this is where it is put back.
        from: Option<u64>,
        /// Whether the body was asked to end.
        has_asked: bool,
    },
    /// All have ended, and the cancellation went on to somebody further out, who drops this future.
    PassedOn(PassedOn, Cancelled),
    Done,
}

impl<B, R, E> TaskGroupFuture<B, R, E> {
    /// Makes it a group whose children fail by themselves: an error or panic of one is kept until all have ended, and leaves the others and the body alone.
    /// A failure of the body still ends the group.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.spawn(async { Err::<(), _>("the first") });
    ///         let second = group.spawn(async { Ok(eddies::yield_now().await) });
    ///         assert!(second.await.is_ok());
    ///         Ok(())
    ///     });
    ///     let error = outcome.supervised().await.unwrap_err();
    ///     assert!(error.errors().eq(&["the first"]));
    /// });
    /// ```
    pub fn supervised(mut self) -> Self {
        self.supervised = true;
        self
    }
}

impl<B, R, E> Future for TaskGroupFuture<B, R, E>
where
    B: Future<Output = Result<R, E>>,
{
    type Output = Result<R, TaskGroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        if let Stage::PassedOn(passed, reason) = me.stage {
            if !passed.is_withdrawn() {
                return Poll::Pending;
            }
            let reason = std::mem::take(reason);
            *me.stage = Stage::Done;
            return Poll::Ready(Err(TaskGroupError::Cancelled(reason)));
        }
        let Stage::Running { value, reason, from, has_asked } = me.stage else {
            panic!("`TaskGroupFuture` was polled again after it was ready")
        };
        if me.scope.as_ref().is_some_and(|scope| !scope.is_here()) {
            // The future has moved to another task, which was asked nothing yet.
            *me.scope = None;
            *from = None;
            *has_asked = false;
        }
        let is_new = me.scope.is_none();
        let scope = me.scope.get_or_insert_with(|| {
            me.roster.enter(*me.supervised);
            Scope::enter(None)
        });
        let mut note = |caught: Caught| {
            if caught.beyond {
                *from = Some(from.map_or(caught.from, |before| before.min(caught.from)));
            }
            *reason = caught.cancelled;
            carry_out(me.roster.abort(reason.clone()));
        };
        if me.body.is_none() {
            // What was asked while it waited for its children comes before their end.
            scope.take().into_iter().for_each(&mut note);
        } else {
            let ended = poll_body(me.body.as_mut(), (scope, is_new), me.roster, has_asked, cx);
            match ended {
                BodyPoll::Pending => return Poll::Pending,
                BodyPoll::Value(output) => *value = Some(output),
                BodyPoll::Failed(failure) => carry_out(me.roster.fail_body(failure, "the body of the group failed")),
                BodyPoll::Cancelled(caught) => note(caught),
            }
            if let Err(payload) = member::caught(|| me.body.set(None)) {
                let failure = Failure::panicked(payload);
                carry_out(me.roster.fail_body(failure, "the body of the group panicked"));
            }
        }
        let Poll::Ready(failures) = me.roster.poll_end(cx.waker().clone()) else {
            scope.take_or_wait(cx).into_iter().for_each(&mut note);
            return Poll::Pending;
        };
        let (value, reason, from) = (value.take(), std::mem::take(reason), *from);
        *me.stage = Stage::Done;
        let passed = match (from, me.scope.take()) {
            (Some(from), Some(scope)) => scope.pass_on(from, cx),
            _ => None,
        };
        if !failures.is_empty() {
            return Poll::Ready(Err(TaskGroupError::Failed(failures)));
        }
        if let Some(passed) = passed {
            *me.stage = Stage::PassedOn(passed, reason);
            return Poll::Pending;
        }
        Poll::Ready(value.ok_or(TaskGroupError::Cancelled(reason)))
    }
}

/// What came of a poll of the body.
enum BodyPoll<R, E> {
    Pending,
    Value(R),
    Failed(Failure<E>),
    /// It is to be dropped.
    Cancelled(Caught),
}

fn poll_body<B, R, E>(
    body: Pin<&mut Option<B>>,
    (scope, is_new): (&Scope, bool),
    roster: &SharedRoster<E>,
    has_asked: &mut bool,
    cx: &mut Context<'_>,
) -> BodyPoll<R, E>
where
    B: Future<Output = Result<R, E>>,
{
    if let Some(reason) = roster.poll_body(cx.waker().clone()).filter(|_| !*has_asked) {
        *has_asked = true;
        scope.ask(reason);
    }
    // A request that was there before the group takes effect where the body waits, unless it is the group's own.
    if (!is_new || *has_asked)
        && let Some(caught) = scope.take()
    {
        return BodyPoll::Cancelled(caught);
    }
    let Some(body) = body.as_pin_mut() else { unreachable!("the caller has looked") };
    match caught(|| scope.poll_within(body, cx)) {
        Ok(Poll::Ready(Ok(value))) => BodyPoll::Value(value),
        Ok(Poll::Ready(Err(error))) => BodyPoll::Failed(Failure::Error(error)),
        Ok(Poll::Pending) => {
            let caught = scope.take_or_wait(cx).or_else(|| scope.take_unheard(cx));
            caught.map_or(BodyPoll::Pending, BodyPoll::Cancelled)
        }
        Err(payload) => BodyPoll::Failed(Failure::panicked(payload)),
    }
}

impl<B, R, E> fmt::Debug for TaskGroupFuture<B, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroupFuture").field("children", &self.roster.len()).finish()
    }
}
