//! The relay: moves a task's output to where others wait for it, without another task.
//!
//! A relay is the task's join waker and the owner of its handle. The task that completes wakes it, and it takes the output out of the handle
//! and gives it to a closure, on the thread that completed the task. Until then task and relay keep each other; the task's end parts them.
//!
//! Invariants:
//!
//! - **L1** The output is taken once: by whoever takes the handle out of the relay, and nobody puts it back.
//! - **L2** It is taken as soon as the task is complete. The handle goes into the relay after the waker was registered; a wake that came
//!   before found nothing there, and the look that follows finds the task complete (both pass through the lock, the wake first).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::Task;
use crate::coop;
use crate::error::TaskError;
use crate::loom::Mutex;

struct Relay<T, F> {
    /// The task and what to do with its output. Put in by `relay`, taken by whoever finds the task complete (L1). Any thread.
    parcel: Mutex<Option<(Task<T>, F)>>,
}

/// Gives the task's output to `receive` as soon as it is there, which may be now. `receive` runs on any thread, under no lock.
pub(super) fn relay<T, F>(task: Task<T>, receive: F)
where
    T: Send + 'static,
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
{
    let relay = Arc::new(Relay { parcel: Mutex::new(None) });
    if task.poll_complete(&Waker::from(relay.clone())) {
        return hand_over(task, receive);
    }
    *relay.parcel.lock() = Some((task, receive));
    relay.look();
}

impl<T, F: FnOnce(Result<T, TaskError>)> Relay<T, F> {
    /// Takes the output if the task is complete (L2).
    fn look(&self) {
        let parcel = self.parcel.lock().take_if(|(task, _)| task.is_finished());
        if let Some((task, receive)) = parcel {
            hand_over(task, receive);
        }
    }
}

impl<T, F> Wake for Relay<T, F>
where
    T: Send + 'static,
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        self.look();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.look();
    }
}

fn hand_over<T, F: FnOnce(Result<T, TaskError>)>(mut task: Task<T>, receive: F) {
    let mut cx = Context::from_waker(Waker::noop());
    // Whoever is polled on this thread has no part in it: the budget is not theirs to give.
    let output = coop::without_budget(|| Pin::new(&mut task).poll(&mut cx));
    drop(task);
    match output {
        Poll::Ready(output) => receive(output),
        Poll::Pending => unreachable!("the task is complete"),
    }
}
