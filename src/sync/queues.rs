//! asyncio's three queues: one shelf, three orders.

use std::fmt;

use super::errors::{QueueShutDown, TooManyDone, TryGetError, TryPutError};
use super::shelf::{Fifo, Lifo, Refused, Shelf, Smallest};

macro_rules! queues {
    ($($(#[$doc:meta])* $name:ident in $store:ident where $($bound:path)?;)*) => {$(
        $(#[$doc])*
        pub struct $name<T> {
            shelf: Shelf<$store<T>>,
        }

        impl<T $(: $bound)?> $name<T> {
            /// An empty queue with room for `maxsize` items; 0 means that there is always room, and then nothing but the memory limits it.
            ///
            /// ```
            #[doc = concat!("let queue: eddies::sync::", stringify!($name), "<u32> = eddies::sync::", stringify!($name), "::new(10);")]
            /// assert!(queue.is_empty());
            /// ```
            pub fn new(maxsize: usize) -> Self {
                $name { shelf: Shelf::new((maxsize > 0).then_some(maxsize)) }
            }

            /// Waits for room and puts `item` into the queue. First come, first served.
            ///
            /// # Errors
            ///
            /// The item comes back when the queue is or gets [shut down](Self::shutdown).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future before it is ready puts nothing into the queue; the item is dropped with it.
            ///
            /// ```
            /// eddies::run(async {
            #[doc = concat!("    let queue = eddies::sync::", stringify!($name), "::new(1);")]
            ///     queue.put("a").await.unwrap();
            ///     assert!(queue.is_full());
            /// });
            /// ```
            pub async fn put(&self, item: T) -> Result<(), QueueShutDown<T>> {
                self.shelf.put(item).await.map_err(QueueShutDown)
            }

            /// Puts `item` into the queue if that needs no waiting.
            ///
            /// # Errors
            ///
            /// The item comes back when there is no room, or when the queue is shut down.
            ///
            /// ```
            #[doc = concat!("let queue = eddies::sync::", stringify!($name), "::new(1);")]
            /// queue.put_nowait(1).unwrap();
            /// assert!(queue.put_nowait(2).is_err());
            /// ```
            pub fn put_nowait(&self, item: T) -> Result<(), TryPutError<T>> {
                self.shelf.put_now(item).map_err(|(refused, item)| match refused {
                    Refused::Wait => TryPutError::Full(item),
                    Refused::Shut => TryPutError::ShutDown(item),
                })
            }

            /// Waits for an item and takes it. First come, first served.
            ///
            /// # Errors
            ///
            /// When the queue is shut down and nothing is left for this caller.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future takes nothing: an item that was there for it stays where it is and goes to the next.
            ///
            /// ```
            /// eddies::run(async {
            #[doc = concat!("    let queue = eddies::sync::", stringify!($name), "::new(0);")]
            ///     queue.put_nowait(7).unwrap();
            ///     assert_eq!(queue.get().await, Ok(7));
            /// });
            /// ```
            pub async fn get(&self) -> Result<T, QueueShutDown> {
                self.shelf.get().await.map_err(|_| QueueShutDown(()))
            }

            /// Takes an item if that needs no waiting.
            ///
            /// # Errors
            ///
            /// When nothing is there, or all that is there is for those that were woken for it; when the queue is shut down besides.
            ///
            /// ```
            #[doc = concat!("let queue = eddies::sync::", stringify!($name), "::<u32>::new(0);")]
            /// assert!(queue.get_nowait().is_err());
            /// ```
            pub fn get_nowait(&self) -> Result<T, TryGetError> {
                self.shelf.get_now().map_err(|refused| match refused {
                    Refused::Wait => TryGetError::Empty,
                    Refused::Shut => TryGetError::ShutDown,
                })
            }

            /// Reports that an item that was taken has been worked on: [`join`](Self::join) waits for as many reports as there were items.
            ///
            /// # Errors
            ///
            /// When there were as many reports as items before this one.
            ///
            /// ```
            #[doc = concat!("let queue = eddies::sync::", stringify!($name), "::new(0);")]
            /// queue.put_nowait(1).unwrap();
            /// queue.get_nowait().unwrap();
            /// assert!(queue.task_done().is_ok());
            /// assert!(queue.task_done().is_err());
            /// ```
            pub fn task_done(&self) -> Result<(), TooManyDone> {
                if self.shelf.task_done() { Ok(()) } else { Err(TooManyDone(())) }
            }

            /// Waits until every item that was put has been reported done.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            ///
            /// ```
            /// use std::sync::Arc;
            ///
            /// eddies::run(async {
            #[doc = concat!("    let queue = Arc::new(eddies::sync::", stringify!($name), "::new(0));")]
            ///     for item in 0..10 {
            ///         queue.put_nowait(item).unwrap();
            ///     }
            ///     let work = queue.clone();
            ///     eddies::spawn(async move {
            ///         while work.get().await.is_ok() {
            ///             work.task_done().unwrap();
            ///         }
            ///     });
            ///     queue.join().await;
            ///     queue.shutdown(false);
            /// });
            /// ```
            pub async fn join(&self) {
                self.shelf.join().await;
            }

            /// Ends the queue: from now on every put fails, those that wait included, and a get fails once nothing is left. With
            /// `immediate`, what is left is dropped now and counts as done.
            ///
            /// ```
            #[doc = concat!("let queue = eddies::sync::", stringify!($name), "::new(0);")]
            /// queue.put_nowait(1).unwrap();
            /// queue.shutdown(false);
            /// assert!(queue.put_nowait(2).is_err());
            /// assert_eq!(queue.get_nowait(), Ok(1));
            /// assert!(queue.get_nowait().is_err());
            /// ```
            pub fn shutdown(&self, immediate: bool) {
                drop(self.shelf.shut(immediate));
            }

            /// How many items are in the queue at this moment: asyncio's `qsize()`.
            ///
            /// ```
            #[doc = concat!("let queue = eddies::sync::", stringify!($name), "::new(0);")]
            /// queue.put_nowait('a').unwrap();
            /// assert_eq!(queue.len(), 1);
            /// ```
            pub fn len(&self) -> usize {
                self.shelf.len()
            }

            /// Whether no item is in the queue at this moment.
            ///
            /// ```
            #[doc = concat!("assert!(eddies::sync::", stringify!($name), "::<u32>::new(0).is_empty());")]
            /// ```
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there are as many items as there is room for. Never, where there is always room.
            ///
            /// ```
            #[doc = concat!("assert!(!eddies::sync::", stringify!($name), "::<u32>::new(0).is_full());")]
            /// ```
            pub fn is_full(&self) -> bool {
                self.shelf.limit().is_some_and(|limit| self.len() >= limit)
            }

            /// What was given to [`new`](Self::new); 0 means that there is always room.
            ///
            /// ```
            #[doc = concat!("assert_eq!(eddies::sync::", stringify!($name), "::<u32>::new(5).maxsize(), 5);")]
            /// ```
            pub fn maxsize(&self) -> usize {
                self.shelf.limit().unwrap_or(0)
            }
        }

        impl<T $(: $bound)?> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.shelf.fmt(f.debug_struct(stringify!($name)), 0)
            }
        }
    )*};
}

queues! {
    /// A queue, first in, first out, for any number of producers and consumers: asyncio's `Queue`, with `shutdown`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use eddies::sync::Queue;
    ///
    /// eddies::run(async {
    ///     let queue = Arc::new(Queue::new(2));
    ///     let filled = queue.clone();
    ///     let producer = eddies::spawn(async move {
    ///         for item in 0..5 {
    ///             filled.put(item).await.unwrap();
    ///         }
    ///         filled.shutdown(false);
    ///     });
    ///     let mut items = Vec::new();
    ///     while let Ok(item) = queue.get().await {
    ///         items.push(item);
    ///     }
    ///     assert_eq!(items, [0, 1, 2, 3, 4]);
    ///     producer.await.unwrap();
    /// });
    /// ```
    Queue in Fifo where;

    /// A queue that gives out what was put last: asyncio's `LifoQueue`. Otherwise as [`Queue`].
    ///
    /// ```
    /// let queue = eddies::sync::LifoQueue::new(0);
    /// queue.put_nowait(1).unwrap();
    /// queue.put_nowait(2).unwrap();
    /// assert_eq!(queue.get_nowait(), Ok(2));
    /// ```
    LifoQueue in Lifo where;

    /// A queue that gives out the least item first, and of equal ones the one that was put first: asyncio's `PriorityQueue`. Otherwise as
    /// [`Queue`].
    ///
    /// Items are compared while the queue is locked: a comparison that uses the queue it is in never ends.
    ///
    /// ```
    /// let queue = eddies::sync::PriorityQueue::new(0);
    /// queue.put_nowait((2, "later")).unwrap();
    /// queue.put_nowait((1, "sooner")).unwrap();
    /// assert_eq!(queue.get_nowait(), Ok((1, "sooner")));
    /// ```
    PriorityQueue in Smallest where Ord;
}
