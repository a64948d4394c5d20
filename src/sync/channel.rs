//! A channel: many senders, one receiver, on the queues' shelf.
//!
//! The last sender to go shuts the shelf, the receiver to go shuts and clears it; all else is the shelf's.
//!
//! Where there is no limit, the receiver takes all that lies on the shelf with the one item that it asked for, under the one lock, and has the
//! others at hand: they need no lock until it has received them. With a limit it takes one at a time, for what it has not received takes up room.

use std::fmt;
use std::sync::Arc;

use super::errors::{SendError, TryReceiveError, TrySendError};
use super::shelf::{AtHand, Fifo, Refused, Shelf, Store};

/// What all senders of a channel hold; it goes with the last of them.
struct Senders<T>(Arc<Shelf<Fifo<T>>>);

impl<T> Drop for Senders<T> {
    fn drop(&mut self) {
        drop(self.0.shut(false));
    }
}

/// A channel with room for `capacity` items. A send waits while it is full.
///
/// # Panics
///
/// When `capacity` is 0.
///
/// ```
/// use eddies::sync::channel;
///
/// eddies::run(async {
///     let (sender, mut receiver) = channel(8);
///     for i in 0..3 {
///         let sender = sender.clone();
///         eddies::spawn(async move { sender.send(i).await.unwrap() });
///     }
///     drop(sender);
///     let mut sum = 0;
///     while let Some(i) = receiver.recv().await {
///         sum += i;
///     }
///     assert_eq!(sum, 3);
/// });
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for at least one item");
    let shelf = Arc::new(Shelf::new(Some(capacity)));
    (Sender { senders: Arc::new(Senders(shelf.clone())) }, Receiver::new(shelf))
}

/// A channel with no limit: a send never waits, and if the receiver does not keep up, the memory that it takes grows without bound.
///
/// ```
/// let (sender, mut receiver) = eddies::sync::unbounded_channel();
/// sender.send(1).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let shelf = Arc::new(Shelf::new(None));
    (UnboundedSender { senders: Arc::new(Senders(shelf.clone())) }, Receiver::new(shelf))
}

/// A sending end of a [`channel`]. When the last clone is dropped, the receiver comes to the end.
///
/// ```
/// let (sender, mut receiver) = eddies::sync::channel(1);
/// sender.try_send('a').unwrap();
/// drop(sender);
/// eddies::run(async {
///     assert_eq!(receiver.recv().await, Some('a'));
///     assert_eq!(receiver.recv().await, None);
/// });
/// ```
pub struct Sender<T> {
    senders: Arc<Senders<T>>,
}

impl<T> Sender<T> {
    /// Waits for room and sends. First come, first served.
    ///
    /// # Errors
    ///
    /// The item comes back when the receiver is gone or closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing; the item is dropped with it.
    ///
    /// ```
    /// eddies::run(async {
    ///     let (sender, receiver) = eddies::sync::channel(1);
    ///     sender.send(1).await.unwrap();
    ///     drop(receiver);
    ///     assert_eq!(sender.send(2).await.unwrap_err().0, 2);
    /// });
    /// ```
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.senders.0.put(item).await.map_err(SendError)
    }

    /// Sends if that needs no waiting.
    ///
    /// # Errors
    ///
    /// The item comes back when there is no room, or the receiver is gone or closed.
    ///
    /// ```
    /// let (sender, _receiver) = eddies::sync::channel(1);
    /// sender.try_send(1).unwrap();
    /// assert!(sender.try_send(2).is_err());
    /// ```
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.senders.0.put_now(item).map_err(|(refused, item)| match refused {
            Refused::Wait => TrySendError::Full(item),
            Refused::Shut => TrySendError::Closed(item),
        })
    }

    /// Whether the receiver is gone or closed at this moment.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::channel::<u32>(1);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.senders.0.is_shut()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { senders: self.senders.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.senders.0.fmt(f.debug_struct("Sender"), 0)
    }
}

/// A sending end of an [`unbounded_channel`].
///
/// ```
/// let (sender, mut receiver) = eddies::sync::unbounded_channel();
/// sender.clone().send(1).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub struct UnboundedSender<T> {
    senders: Arc<Senders<T>>,
}

impl<T> UnboundedSender<T> {
    /// Sends, without waiting.
    ///
    /// # Errors
    ///
    /// The item comes back when the receiver is gone or closed.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::unbounded_channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1).unwrap_err().0, 1);
    /// ```
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.senders.0.put_now(item).map_err(|(_, item)| SendError(item))
    }

    /// Whether the receiver is gone or closed at this moment.
    ///
    /// ```
    /// let (sender, _receiver) = eddies::sync::unbounded_channel::<u32>();
    /// assert!(!sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.senders.0.is_shut()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        UnboundedSender { senders: self.senders.clone() }
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.senders.0.fmt(f.debug_struct("UnboundedSender"), 0)
    }
}

/// The receiving end of a [`channel`] or an [`unbounded_channel`]. Dropping it drops what was sent and not received.
///
/// ```
/// let (sender, mut receiver) = eddies::sync::channel(1);
/// sender.try_send(1).unwrap();
/// assert_eq!(eddies::run(receiver.recv()), Some(1));
/// ```
pub struct Receiver<T> {
    shelf: Arc<Shelf<Fifo<T>>>,
    /// What came before all that is on the shelf; nothing, where there is a limit. Written by `recv` and `try_recv`.
    at_hand: AtHand<Fifo<T>>,
}

impl<T> Receiver<T> {
    fn new(shelf: Arc<Shelf<Fifo<T>>>) -> Self {
        Receiver { shelf, at_hand: AtHand::new(Fifo::new()) }
    }

    /// Waits for the next item; None when all senders are gone (or this end is [closed](Receiver::close)) and all was received.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing out of the channel.
    ///
    /// ```
    /// let (sender, mut receiver) = eddies::sync::channel::<u32>(1);
    /// drop(sender);
    /// assert_eq!(eddies::run(receiver.recv()), None);
    /// ```
    pub fn recv(&mut self) -> impl Future<Output = Option<T>> {
        self.shelf.receive(&mut self.at_hand)
    }

    /// The next item, if that needs no waiting.
    ///
    /// # Errors
    ///
    /// When nothing is there now, or ever will be.
    ///
    /// ```
    /// let (_sender, mut receiver) = eddies::sync::channel::<u32>(1);
    /// assert!(receiver.try_recv().is_err());
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryReceiveError> {
        self.shelf.receive_now(&mut self.at_hand).map_err(|refused| match refused {
            Refused::Wait => TryReceiveError::Empty,
            Refused::Shut => TryReceiveError::Closed,
        })
    }

    /// From now on every send fails, those that wait included; what was sent before can still be received.
    ///
    /// ```
    /// let (sender, mut receiver) = eddies::sync::channel(2);
    /// sender.try_send(1).unwrap();
    /// receiver.close();
    /// assert!(sender.try_send(2).is_err());
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn close(&mut self) {
        drop(self.shelf.shut(false));
    }

    /// How many items are there at this moment.
    ///
    /// ```
    /// let (sender, receiver) = eddies::sync::channel(2);
    /// sender.try_send(1).unwrap();
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.at_hand.lock().len() + self.shelf.len()
    }

    /// Whether no item is there at this moment.
    ///
    /// ```
    /// let (_sender, receiver) = eddies::sync::channel::<u32>(2);
    /// assert!(receiver.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // In the order in which they came.
        let rest = self.shelf.shut(true);
        drop(std::mem::replace(self.at_hand.get_mut(), Fifo::new()));
        drop(rest);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shelf.fmt(f.debug_struct("Receiver"), self.at_hand.lock().len())
    }
}
