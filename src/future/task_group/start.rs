//! A child that says when it is ready, and somebody who waits for that: trio's `nursery.start`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::group_error::{GroupClosed, StartError};
use super::{Child, TaskGroup};
use crate::TaskHandle;
use crate::loom::Mutex;
use crate::sync::{OneshotSender, oneshot};

/// Where the first word of a child goes, until it was said.
type FirstWord<V, E> = Arc<Mutex<Option<OneshotSender<Result<V, E>>>>>;

/// By this a child says that it is ready; see [`TaskGroup::start`].
#[must_use = "whoever started the task waits for this"]
pub struct Ready<V, E> {
    word: FirstWord<V, E>,
}

impl<V, E> Ready<V, E> {
    /// The task is ready, and gives `value` to whoever started it. From now on its failures are the group's.
    ///
    /// If nobody waits for it any more, `value` is dropped; the task has been cancelled then.
    pub fn ready(self, value: V) {
        let sender = self.word.lock().take();
        if let Some(sender) = sender {
            // Who started it may be gone.
            let _ = sender.send(Ok(value));
        }
    }
}

impl<V, E> fmt::Debug for Ready<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready(..)")
    }
}

/// Cancels a child that is not waited for any more before it was ready.
struct NotReady(Option<TaskHandle>);

impl Drop for NotReady {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            child.cancel("nobody waits for its start any more");
        }
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Spawns a task and waits until it says that it is ready: a server that listens, a connection that is made. The value it says that with is given
    /// back, and the task runs on in the group.
    ///
    /// # Errors
    ///
    /// [`StartError::Failed`] with the task's error, when it fails before it is ready: that is given here and does not end the group.
    /// [`StartError::Ended`] when it ends before in another way; a panic does end the group. [`StartError::Closed`] when the group takes no children.
    ///
    /// # Panics
    ///
    /// When polled outside of any runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the task is ready, this cancels the task.
    ///
    /// ```
    /// use eddies::net::{TcpListener, TcpStream};
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         let address = group
    ///             .start(|ready| async move {
    ///                 let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///                 ready.ready(listener.local_addr()?);
    ///                 listener.accept().await
    ///             })
    ///             .await
    ///             .unwrap();
    ///         // It listens by now.
    ///         TcpStream::connect(address).await
    ///     });
    ///     assert!(outcome.await.is_ok());
    /// });
    /// ```
    pub async fn start<F, B, T, V>(&self, body: F) -> Result<V, StartError<E>>
    where
        F: FnOnce(Ready<V, E>) -> B,
        B: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        V: Send + 'static,
    {
        let (sender, receiver) = oneshot();
        let word: FirstWord<V, E> = Arc::new(Mutex::new(Some(sender)));
        let body = body(Ready { word: word.clone() });
        let child: Result<Child<Option<T>>, GroupClosed> = self.try_spawn(async move {
            match body.await {
                Ok(value) => Ok(Some(value)),
                Err(error) => refuse(&word, error).map(|()| None),
            }
        });
        let child = child.map_err(StartError::Closed)?;
        let mut not_ready = NotReady(Some(TaskHandle::clone(&child)));
        let word = receiver.await;
        not_ready.0 = None;
        match word {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(StartError::Failed(error)),
            Err(_) => Err(StartError::Ended),
        }
    }
}

/// The child failed: its error goes to who started it, if it was not ready, and else it is the group's.
fn refuse<V, E>(word: &FirstWord<V, E>, error: E) -> Result<(), E> {
    let sender = word.lock().take();
    match sender {
        None => Err(error),
        Some(sender) => match sender.send(Err(error)) {
            Ok(()) | Err(Ok(_)) => Ok(()),
            Err(Err(error)) => Err(error),
        },
    }
}
