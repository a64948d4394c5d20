//! A lock, a channel and a channel for one value for the limit's executor: one thread, no fairness, nobody that comes or goes in between. What std's mutex costs
//! where nobody else wants it is in it, for the executor takes futures that are Send.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::Limit;
use crate::peers::own::Own;

struct Pipe {
    items: VecDeque<usize>,
    capacity: usize,
    is_shut: bool,
    /// Of the one side that waits.
    waiting: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// One end; the other comes to the end when this one goes.
pub(crate) struct End(Arc<Mutex<Pipe>>);

impl End {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn pair(capacity: usize) -> (End, End) {
        let pipe = Pipe { items: VecDeque::with_capacity(capacity), capacity, is_shut: false, waiting: None };
        let shared = Arc::new(Mutex::new(pipe));
        (End(shared.clone()), End(shared))
    }

    async fn receive(&self) -> Option<usize> {
        poll_fn(|context| {
            let mut pipe = self.pipe();
            let item = pipe.items.pop_front();
            if item.is_none() && !pipe.is_shut {
                pipe.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            pipe.wake();
            Poll::Ready(item)
        })
        .await
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pipe = self.pipe();
        pipe.is_shut = true;
        pipe.wake();
    }
}

impl Own for Limit {
    type Lock = Mutex<usize>;
    type Sender = End;
    type Receiver = End;
    type OneSender = End;
    type OneReceiver = End;

    fn lock() -> Mutex<usize> {
        Mutex::new(0)
    }

    #[inline]
    async fn count_up(lock: &Mutex<usize>) -> usize {
        let mut value = lock.lock().expect("no holder of this lock panics");
        *value += 1;
        *value - 1
    }

    fn channel(capacity: usize) -> (End, End) {
        End::pair(capacity)
    }

    async fn send(sender: &End, value: usize) -> bool {
        poll_fn(|context| {
            let mut pipe = sender.pipe();
            if pipe.is_shut {
                return Poll::Ready(false);
            }
            if pipe.items.len() == pipe.capacity {
                pipe.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            pipe.items.push_back(value);
            pipe.wake();
            Poll::Ready(true)
        })
        .await
    }

    async fn receive(receiver: &mut End) -> Option<usize> {
        receiver.receive().await
    }

    fn oneshot() -> (End, End) {
        End::pair(1)
    }

    fn send_one(sender: End, value: usize) -> bool {
        let mut pipe = sender.pipe();
        pipe.items.push_back(value);
        pipe.wake();
        !pipe.is_shut
    }

    async fn receive_one(receiver: End) -> Option<usize> {
        receiver.receive().await
    }
}
