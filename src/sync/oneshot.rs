//! One value from one task to another.
//!
//! The value lies under the mutex between the send and the receipt. Whoever finds the other side gone, or goes while it lies there, takes it
//! out under the mutex and drops it outside, once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::errors::{NotSent, TryReceiveError};
use crate::coop;
use crate::loom::Mutex;

struct Slot<T> {
    value: Option<T>,
    sender_gone: bool,
    receiver_gone: bool,
    /// The receiver's, while it waits.
    receiver: Option<Waker>,
    /// The sender's, while it waits for the receiver to go.
    sender: Option<Waker>,
}

/// A pair for one value.
///
/// ```
/// use eddies::sync::oneshot;
///
/// eddies::run(async {
///     let (sender, receiver) = oneshot();
///     eddies::spawn(async move { sender.send(7).unwrap() });
///     assert_eq!(receiver.await, Ok(7));
/// });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let slot = Slot { value: None, sender_gone: false, receiver_gone: false, receiver: None, sender: None };
    let slot = Arc::new(Mutex::new(slot));
    (OneshotSender { slot: Some(slot.clone()) }, OneshotReceiver { slot: Some(slot) })
}

/// The sending half of a [`oneshot`]. Dropped without a send, it tells the receiver so.
///
/// ```
/// let (sender, mut receiver) = eddies::sync::oneshot();
/// sender.send(1).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub struct OneshotSender<T> {
    /// None once it has sent: its drop has nothing to say then.
    slot: Option<Arc<Mutex<Slot<T>>>>,
}

impl<T> OneshotSender<T> {
    /// Sends the value. That it was sent does not say that it will be received: the receiver may be dropped before it looks.
    ///
    /// # Errors
    ///
    /// The value comes back when the receiver is gone.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::oneshot();
    /// drop(receiver);
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn send(mut self, value: T) -> Result<(), T> {
        let Some(slot) = self.slot.take() else { return Err(value) };
        leave(&slot, Some(value)).map_or(Ok(()), Err)
    }

    /// Whether the receiver is gone at this moment.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::oneshot::<u32>();
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.lock().receiver_gone)
    }

    /// Waits until the receiver is gone, to give up work that nobody waits for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// eddies::run(async {
    ///     let (mut sender, receiver) = eddies::sync::oneshot::<u32>();
    ///     eddies::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    /// });
    /// ```
    pub async fn closed(&mut self) {
        std::future::poll_fn(|cx| {
            let unit = ready!(coop::poll_proceed(cx));
            if let Some(slot) = &self.slot {
                let mut slot = slot.lock();
                if !slot.receiver_gone {
                    let stale = keep(&mut slot.sender, cx.waker());
                    drop(slot);
                    drop(stale);
                    return Poll::Pending;
                }
            }
            unit.made_progress();
            Poll::Ready(())
        })
        .await;
    }
}

/// Keeps `waker` in `place`, and returns what is to be dropped with the mutex free.
fn keep(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if place.as_ref().is_some_and(|old| old.will_wake(waker)) { None } else { place.replace(waker.clone()) }
}

/// The sender goes, with a value or without; the value comes back if nobody receives.
fn leave<T>(slot: &Mutex<Slot<T>>, value: Option<T>) -> Option<T> {
    let mut slot = slot.lock();
    slot.sender_gone = true;
    let refused = if slot.receiver_gone {
        value
    } else {
        slot.value = value;
        None
    };
    let (waiting, own) = (slot.receiver.take(), slot.sender.take());
    drop(slot);
    if let Some(waker) = waiting {
        waker.wake();
    }
    drop(own);
    refused
}

impl<T> Drop for OneshotSender<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            leave(&slot, None);
        }
    }
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").field("is_closed", &self.is_closed()).finish()
    }
}

/// The receiving half of a [`oneshot`]: a future of the value.
///
/// # Cancel safety
///
/// A `&mut` to it can be awaited and dropped, and awaited again. Dropping the receiver drops a value that was sent and not received.
///
/// ```
/// let (sender, receiver) = eddies::sync::oneshot::<u32>();
/// drop(sender);
/// assert!(eddies::run(receiver).is_err());
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct OneshotReceiver<T> {
    /// None once it has received: no sender is there any more that its drop could tell.
    slot: Option<Arc<Mutex<Slot<T>>>>,
}

impl<T> OneshotReceiver<T> {
    /// The value, if it was sent.
    ///
    /// # Errors
    ///
    /// When it was not sent yet, or never will be, or was received before.
    ///
    /// ```
    /// let (sender, mut receiver) = eddies::sync::oneshot();
    /// assert!(receiver.try_recv().is_err());
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryReceiveError> {
        let Some(shared) = &self.slot else { return Err(TryReceiveError::Closed) };
        let mut slot = shared.lock();
        match slot.value.take() {
            Some(value) => {
                drop(slot);
                self.slot = None;
                Ok(value)
            }
            None if slot.sender_gone => Err(TryReceiveError::Closed),
            None => Err(TryReceiveError::Empty),
        }
    }

    /// From now on a send fails; a value that was sent before can still be received.
    ///
    /// ```
    /// let (sender, mut receiver) = eddies::sync::oneshot();
    /// receiver.close();
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn close(&mut self) {
        drop(self.go(false));
    }

    /// Tells the sender that nobody receives; with `clear`, returns what is left here.
    fn go(&self, clear: bool) -> (Option<T>, Option<Waker>) {
        let Some(slot) = &self.slot else { return (None, None) };
        let mut slot = slot.lock();
        slot.receiver_gone = true;
        let value = if clear { slot.value.take() } else { None };
        let (waiting, own) = (slot.sender.take(), slot.receiver.take());
        drop(slot);
        if let Some(waker) = waiting {
            waker.wake();
        }
        (value, own)
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, NotSent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        let Some(shared) = &self.slot else { return Poll::Ready(Err(NotSent(()))) };
        let mut slot = shared.lock();
        let output = match slot.value.take() {
            Some(value) => Ok(value),
            // After `close` too: nothing can come any more.
            None if slot.sender_gone || slot.receiver_gone => Err(NotSent(())),
            None => {
                let stale = keep(&mut slot.receiver, cx.waker());
                drop(slot);
                drop(stale);
                return Poll::Pending;
            }
        };
        drop(slot);
        if output.is_ok() {
            self.slot = None;
        }
        unit.made_progress();
        Poll::Ready(output)
    }
}

impl<T> Drop for OneshotReceiver<T> {
    #[inline]
    fn drop(&mut self) {
        if self.slot.is_some() {
            drop(self.go(true));
        }
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_value = self.slot.as_ref().is_some_and(|slot| slot.lock().value.is_some());
        f.debug_struct("OneshotReceiver").field("has_value", &has_value).finish()
    }
}
