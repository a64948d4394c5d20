//! What a runtime offers of its own between tasks: a lock, a channel, a channel for one value.
//!
//! smol has no channel for one value: it is an async-channel of one there.

use std::future::Future;

use super::peer::Spawn;

/// A runtime's own primitives, of numbers.
pub(crate) trait Own: Spawn {
    type Lock: Send + Sync + 'static;
    type Sender: Send + Sync + 'static;
    type Receiver: Send + 'static;
    type OneSender: Send + 'static;
    type OneReceiver: Send + 'static;

    fn lock() -> Self::Lock;

    /// Locks, adds one, unlocks; what was there before.
    fn count_up(lock: &Self::Lock) -> impl Future<Output = usize> + Send;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver);

    /// Whether somebody receives.
    fn send(sender: &Self::Sender, value: usize) -> impl Future<Output = bool> + Send;

    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<usize>> + Send;

    fn oneshot() -> (Self::OneSender, Self::OneReceiver);

    fn send_one(sender: Self::OneSender, value: usize) -> bool;

    fn receive_one(receiver: Self::OneReceiver) -> impl Future<Output = Option<usize>> + Send;
}

/// Those of eddies, or of tokio, which are called alike: the types of a lock and of the halves of the channels, and what makes the channels.
macro_rules! own {
    ([$($generics:tt)*] $of:ty, $lock:ty, $channel:path, $sender:ty, $receiver:ty, $oneshot:path, $one_sender:ty, $one_receiver:ty) => {
        impl<$($generics)*> crate::peers::own::Own for $of {
            type Lock = $lock;
            type Sender = $sender;
            type Receiver = $receiver;
            type OneSender = $one_sender;
            type OneReceiver = $one_receiver;

            fn lock() -> Self::Lock {
                <$lock>::new(0)
            }

            #[inline]
            async fn count_up(lock: &Self::Lock) -> usize {
                let mut value = lock.lock().await;
                *value += 1;
                *value - 1
            }

            fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
                $channel(capacity)
            }

            #[inline]
            async fn send(sender: &Self::Sender, value: usize) -> bool {
                sender.send(value).await.is_ok()
            }

            #[inline]
            async fn receive(receiver: &mut Self::Receiver) -> Option<usize> {
                receiver.recv().await
            }

            #[inline]
            fn oneshot() -> (Self::OneSender, Self::OneReceiver) {
                $oneshot()
            }

            #[inline]
            fn send_one(sender: Self::OneSender, value: usize) -> bool {
                sender.send(value).is_ok()
            }

            #[inline]
            async fn receive_one(receiver: Self::OneReceiver) -> Option<usize> {
                receiver.await.ok()
            }
        }
    };
}
pub(crate) use own;

/// Those of tokio.
macro_rules! own_of_tokio {
    ([$($generics:tt)*] $of:ty) => {
        crate::peers::own::own!(
            [$($generics)*] $of,
            tokio::sync::Mutex<usize>,
            tokio::sync::mpsc::channel, tokio::sync::mpsc::Sender<usize>, tokio::sync::mpsc::Receiver<usize>,
            tokio::sync::oneshot::channel, tokio::sync::oneshot::Sender<usize>, tokio::sync::oneshot::Receiver<usize>
        );
    };
}
pub(crate) use own_of_tokio;
