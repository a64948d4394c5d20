//! One value from one task to another.
//!
//! The value lies under the mutex between the send and the receipt. Whoever finds the other side gone, or goes while it lies there, takes it
//! out under the mutex and drops it outside, once.
//!
//! Most pairs are sent to before anybody waits, or received from by one that waits and nobody else: each side takes the mutex once for what it
//! does and, having done it, not once more when it goes. What waits is looked at in functions of its own, so that the straight way is short.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::errors::{NotSent, TryReceiveError};
use crate::coop;
use crate::loom::{Mutex, MutexGuard};

/// How far a pair has come. Any thread, under the mutex.
enum Slot<T> {
    /// Both are there, nothing was sent, nobody waits.
    Open,
    /// The same, and somebody waits or did.
    Awaited(Waiting),
    /// The sender is gone, and its value was not received yet.
    Sent(T),
    /// There is no value and never will be one: the sender went without, the receiver went or closed before the send, or it was received.
    Ended,
}

#[derive(Default)]
struct Waiting {
    /// The receiver's, while it waits for the value.
    receiver: Option<Waker>,
    /// The sender's, while it waits for the receiver to go.
    sender: Option<Waker>,
}

type Shared<T> = Arc<Mutex<Slot<T>>>;

/// Waits with `waker`, in a slot that is open or awaited.
#[inline(never)]
fn listen<T>(mut slot: MutexGuard<'_, Slot<T>>, place: fn(&mut Waiting) -> &mut Option<Waker>, waker: &Waker) {
    if let Slot::Open = *slot {
        *slot = Slot::Awaited(Waiting::default());
    }
    let Slot::Awaited(waiting) = &mut *slot else { return };
    let place = place(waiting);
    if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
        return;
    }
    let stale = place.replace(waker.clone());
    drop(slot);
    drop(stale);
}

/// The sender goes, and leaves `last`. A receiver that waits is woken with the mutex free.
#[inline(never)]
fn sender_goes<T>(mut slot: MutexGuard<'_, Slot<T>>, last: Slot<T>) {
    let before = mem::replace(&mut *slot, last);
    drop(slot);
    if let Slot::Awaited(Waiting { receiver: Some(waker), .. }) = before {
        waker.wake();
    }
}

/// The receiver goes. A sender that waits for that is woken, and a value that was not received dropped, with the mutex free.
#[inline(never)]
fn receiver_goes<T>(mut slot: MutexGuard<'_, Slot<T>>) {
    let before = mem::replace(&mut *slot, Slot::Ended);
    drop(slot);
    if let Slot::Awaited(Waiting { sender: Some(waker), .. }) = before {
        waker.wake();
    }
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
    let slot = Arc::new(Mutex::new(Slot::Open));
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
    slot: Option<Shared<T>>,
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
        let Some(shared) = self.slot.take() else { return Err(value) };
        let mut slot = shared.lock();
        match *slot {
            Slot::Open => *slot = Slot::Sent(value),
            Slot::Ended => return Err(value),
            _ => sender_goes(slot, Slot::Sent(value)),
        }
        Ok(())
    }

    /// Whether the receiver is gone at this moment.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::oneshot::<u32>();
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| matches!(*slot.lock(), Slot::Ended))
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
                let slot = slot.lock();
                if !matches!(*slot, Slot::Ended) {
                    listen(slot, |waiting| &mut waiting.sender, cx.waker());
                    return Poll::Pending;
                }
            }
            unit.made_progress();
            Poll::Ready(())
        })
        .await;
    }
}

impl<T> Drop for OneshotSender<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.slot.take() {
            sender_drops(shared);
        }
    }
}

#[inline(never)]
fn sender_drops<T>(shared: Shared<T>) {
    sender_goes(shared.lock(), Slot::Ended);
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
    slot: Option<Shared<T>>,
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
        match mem::replace(&mut *slot, Slot::Ended) {
            Slot::Sent(value) => {
                drop(slot);
                self.slot = None;
                Ok(value)
            }
            Slot::Ended => Err(TryReceiveError::Closed),
            open => {
                *slot = open;
                Err(TryReceiveError::Empty)
            }
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
        let Some(shared) = &self.slot else { return };
        let slot = shared.lock();
        if !matches!(*slot, Slot::Sent(_)) {
            receiver_goes(slot);
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, NotSent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        let Some(shared) = &self.slot else { return Poll::Ready(Err(NotSent(()))) };
        let mut slot = shared.lock();
        if let Slot::Open | Slot::Awaited(_) = *slot {
            listen(slot, |waiting| &mut waiting.receiver, cx.waker());
            return Poll::Pending;
        }
        let value = match mem::replace(&mut *slot, Slot::Ended) {
            Slot::Sent(value) => Some(value),
            // After `close` too: nothing can come any more.
            _ => None,
        };
        drop(slot);
        unit.made_progress();
        if value.is_some() {
            self.slot = None;
        }
        Poll::Ready(value.ok_or(NotSent(())))
    }
}

impl<T> Drop for OneshotReceiver<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.slot.take() {
            receiver_drops(shared);
        }
    }
}

#[inline(never)]
fn receiver_drops<T>(shared: Shared<T>) {
    receiver_goes(shared.lock());
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_value = self.slot.as_ref().is_some_and(|slot| matches!(*slot.lock(), Slot::Sent(_)));
        f.debug_struct("OneshotReceiver").field("has_value", &has_value).finish()
    }
}
