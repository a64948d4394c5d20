//! Queues and channels through the public API: order, limits, shutdown, and that no item is lost with a waiter or dropped twice.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use eddies::Runtime;
use eddies::sync::{
    LifoQueue, OneshotReceiver, OneshotSender, PriorityQueue, Queue, Receiver, Sender, TryGetError, TryPutError,
    TryReceiveError, TrySendError, channel, oneshot, unbounded_channel,
};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

#[track_caller]
fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it still waits"),
    }
}

fn workers(count: usize) -> Runtime {
    Runtime::builder().workers(count).build().unwrap()
}

#[test]
fn the_types_go_anywhere() {
    fn anywhere<T: Send + Sync>() {}
    fn sends<T: Send>(_: T) {}
    type Cell = std::cell::Cell<u32>;
    anywhere::<(Queue<Cell>, LifoQueue<Cell>, PriorityQueue<Cell>)>();
    anywhere::<(Sender<Cell>, Receiver<Cell>, OneshotSender<Cell>, OneshotReceiver<Cell>)>();
    let queue = Queue::new(1);
    sends(queue.get());
    sends(queue.put(1));
}

#[test]
fn each_queue_has_its_order() {
    let (fifo, lifo, least) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    for item in [3, 1, 2] {
        fifo.put_nowait(item).unwrap();
        lifo.put_nowait(item).unwrap();
        least.put_nowait(item).unwrap();
    }
    let orders =
        [(); 3].map(|()| (fifo.get_nowait().unwrap(), lifo.get_nowait().unwrap(), least.get_nowait().unwrap()));
    assert_eq!(orders, [(3, 2, 1), (1, 1, 2), (2, 3, 3)]);
}

#[test]
fn equal_items_come_out_in_the_order_in_which_they_were_put() {
    #[derive(Debug)]
    struct Job(u32, &'static str);
    impl PartialEq for Job {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Job {}
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Job {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let queue = PriorityQueue::new(0);
    for job in [Job(2, "a"), Job(1, "b"), Job(1, "c"), Job(2, "d"), Job(1, "e")] {
        queue.put_nowait(job).unwrap();
    }
    let order: String = (0..5).map(|_| queue.get_nowait().unwrap().1).collect();
    assert_eq!(order, "bcead");
}

#[test]
fn a_full_queue_makes_putters_wait_in_order() {
    let queue = Queue::new(1);
    queue.put_nowait(0).unwrap();
    assert_eq!(queue.put_nowait(9), Err(TryPutError::Full(9)));
    let (mut first, mut second) = (pin!(queue.put(1)), pin!(queue.put(2)));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(
        format!("{queue:?}"),
        "Queue { len: 1, limit: Some(1), unfinished: 1, getters: 0, putters: 2, is_shut: false }"
    );
    assert_eq!(queue.get_nowait(), Ok(0));
    assert_eq!(queue.put_nowait(9), Err(TryPutError::Full(9)), "the room is the first putter's");
    assert!(poll(second.as_mut()).is_pending());
    ready(poll(first)).unwrap();
    assert_eq!(queue.get_nowait(), Ok(1));
    ready(poll(second)).unwrap();
    assert_eq!(queue.get_nowait(), Ok(2));
}

#[test]
fn a_dropped_putter_hands_its_room_on_and_puts_nothing() {
    let queue = Queue::new(1);
    queue.put_nowait(0).unwrap();
    let (woken, waker) = Count::new();
    let (mut gone, mut stays) = (Box::pin(queue.put(1)), pin!(queue.put(2)));
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll_with(stays.as_mut(), &waker).is_pending());
    queue.get_nowait().unwrap();
    drop(gone);
    assert_eq!(woken.get(), 1);
    ready(poll(stays)).unwrap();
    assert_eq!((queue.len(), queue.get_nowait()), (1, Ok(2)));
}

#[test]
fn dropped_getters_leave_the_items_in_their_order() {
    let queue = Queue::new(0);
    let (woken, waker) = Count::new();
    let mut gone: Vec<_> = (0..2).map(|_| Box::pin(queue.get())).collect();
    let mut stays = pin!(queue.get());
    for get in &mut gone {
        assert!(poll(get.as_mut()).is_pending());
    }
    assert!(poll_with(stays.as_mut(), &waker).is_pending());
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    assert_eq!(queue.get_nowait(), Err(TryGetError::Empty), "both are promised");
    assert_eq!(queue.len(), 2);
    drop(gone);
    assert_eq!(woken.get(), 1);
    assert_eq!(ready(poll(stays)), Ok(1));
    assert_eq!(queue.get_nowait(), Ok(2));
}

#[test]
fn a_batch_of_puts_wakes_as_many_getters() {
    let queue = Queue::new(0);
    let (woken, waker) = Count::new();
    let mut gets: Vec<_> = (0..3).map(|_| Box::pin(queue.get())).collect();
    for get in &mut gets {
        assert!(poll_with(get.as_mut(), &waker).is_pending());
    }
    for item in 0..3 {
        queue.put_nowait(item).unwrap();
    }
    assert_eq!(woken.get(), 3);
    assert!(gets.iter_mut().all(|get| poll(get.as_mut()).is_ready()));
}

#[test]
fn shutdown_drains_and_ends() {
    let queue = Queue::new(1);
    queue.put_nowait(1).unwrap();
    let mut put = pin!(queue.put(2));
    assert!(poll(put.as_mut()).is_pending());
    queue.shutdown(false);
    assert_eq!(ready(poll(put)).unwrap_err().0, 2);
    assert_eq!(queue.put_nowait(3), Err(TryPutError::ShutDown(3)));
    assert_eq!(ready(poll(pin!(queue.get()))), Ok(1));
    assert!(ready(poll(pin!(queue.get()))).is_err());
    assert_eq!(queue.get_nowait(), Err(TryGetError::ShutDown));
    let mut join = pin!(queue.join());
    assert!(poll(join.as_mut()).is_pending(), "what was taken is not done yet");
    queue.task_done().unwrap();
    ready(poll(join));
    queue.task_done().unwrap_err();
}

#[test]
fn shutdown_wakes_getters_and_a_putter_that_had_been_let_in_puts_nothing() {
    let (empty, full) = (Queue::<u32>::new(1), Queue::new(1));
    let (woken, waker) = Count::new();
    let mut get = pin!(empty.get());
    assert!(poll_with(get.as_mut(), &waker).is_pending());
    empty.shutdown(false);
    assert_eq!(woken.get(), 1);
    assert!(ready(poll(get)).is_err());

    full.put_nowait(1).unwrap();
    let mut put = pin!(full.put(2));
    assert!(poll(put.as_mut()).is_pending());
    full.get_nowait().unwrap();
    full.shutdown(false);
    assert_eq!(ready(poll(put)).unwrap_err().0, 2);
    assert!(full.is_empty());
}

#[test]
fn immediate_shutdown_drops_what_is_left_and_counts_it_done() {
    let queue = Queue::new(0);
    let item = Arc::new(());
    let mut promised = pin!(queue.get());
    assert!(poll(promised.as_mut()).is_pending());
    queue.put_nowait(item.clone()).unwrap();
    queue.put_nowait(item.clone()).unwrap();
    let mut join = pin!(queue.join());
    assert!(poll(join.as_mut()).is_pending());
    queue.shutdown(true);
    assert_eq!(Arc::strong_count(&item), 1);
    assert!(ready(poll(promised)).is_err());
    ready(poll(join));
}

#[test]
fn no_item_is_lost_on_four_workers_with_getters_that_give_up() {
    workers(4).block_on(async {
        let queue = Arc::new(Queue::new(4));
        let getters: Vec<_> = (0..8)
            .map(|_| {
                let queue = queue.clone();
                eddies::spawn(async move {
                    let mut sum = 0;
                    for turn in 0.. {
                        let mut get = Box::pin(queue.get());
                        // One look, and then, turn by turn, the whole wait or none: if all gave up always, nobody would be served.
                        match std::future::poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx))).await {
                            Poll::Ready(Ok(item)) => sum += item,
                            Poll::Ready(Err(_)) => return sum,
                            Poll::Pending if turn % 2 == 0 => eddies::yield_now().await,
                            Poll::Pending => match get.await {
                                Ok(item) => sum += item,
                                Err(_) => return sum,
                            },
                        }
                    }
                    unreachable!("the turns do not end")
                })
            })
            .collect();
        let putters: Vec<_> = (0..8)
            .map(|i| {
                let queue = queue.clone();
                eddies::spawn(async move {
                    for item in 0..100 {
                        queue.put(i * 100 + item).await.unwrap();
                    }
                })
            })
            .collect();
        for putter in putters {
            putter.await.unwrap();
        }
        queue.shutdown(false);
        let mut sum: u64 = 0;
        for getter in getters {
            sum += getter.await.unwrap();
        }
        while let Ok(item) = queue.get_nowait() {
            sum += item;
        }
        assert_eq!(sum, 800 * 799 / 2);
    });
}

#[test]
fn a_channel_ends_with_its_senders() {
    workers(4).block_on(async {
        let (sender, mut receiver) = channel(3);
        for i in 0..10_u64 {
            let sender = sender.clone();
            eddies::spawn(async move {
                for item in 0..50 {
                    sender.send(i * 50 + item).await.unwrap();
                }
            });
        }
        drop(sender);
        let (mut sum, mut last) = (0, [None; 10]);
        while let Some(item) = receiver.recv().await {
            let last = &mut last[(item / 50) as usize];
            assert!(last.is_none_or(|last| last < item), "the items of one sender stay in order");
            *last = Some(item);
            sum += item;
        }
        assert_eq!(sum, 500 * 499 / 2);
        assert_eq!(receiver.try_recv(), Err(TryReceiveError::Closed));
    });
}

#[test]
fn a_receiver_that_goes_drops_the_items_and_fails_the_sends() {
    let item = Arc::new(());
    let (sender, receiver) = channel(1);
    sender.try_send(item.clone()).unwrap();
    assert!(matches!(sender.try_send(item.clone()), Err(TrySendError::Full(_))));
    let (woken, waker) = Count::new();
    let mut send = Box::pin(sender.send(item.clone()));
    assert!(poll_with(send.as_mut(), &waker).is_pending());
    drop(receiver);
    assert_eq!(woken.get(), 1);
    assert_eq!(Arc::strong_count(&item), 2, "what is in the channel is gone, what is in the send is there");
    let error = ready(poll(send.as_mut())).unwrap_err();
    assert_eq!(format!("{error} {error:?}"), "the receiver of the channel is gone or closed SendError(..)");
    assert!(Arc::ptr_eq(&error.0, &item) && sender.is_closed());
}

#[test]
fn an_unbounded_channel_takes_all() {
    let (sender, mut receiver) = unbounded_channel();
    for item in 0..1_000 {
        sender.send(item).unwrap();
    }
    receiver.close();
    assert!(sender.send(0).is_err() && sender.is_closed());
    assert_eq!(receiver.len(), 1_000);
    eddies::run(async {
        for item in 0..1_000 {
            assert_eq!(receiver.recv().await, Some(item));
        }
        assert_eq!(receiver.recv().await, None);
    });
}

/// The items of two takings, and one of an interrupted wait, come in the order of their sends, however they are asked for.
#[test]
fn what_the_receiver_has_at_hand_comes_first() {
    let (woken, waker) = Count::new();
    let (sender, mut receiver) = unbounded_channel();
    {
        let mut waits = pin!(receiver.recv());
        assert!(poll_with(waits.as_mut(), &waker).is_pending());
        sender.send(0).unwrap();
        assert_eq!(woken.get(), 1);
    }
    for item in 1..4 {
        sender.send(item).unwrap();
    }
    assert_eq!((receiver.len(), receiver.try_recv()), (4, Ok(0)));
    sender.send(4).unwrap();
    assert_eq!((receiver.len(), ready(poll(pin!(receiver.recv())))), (4, Some(1)));
    assert!(format!("{receiver:?} {sender:?}").contains("len: 3"), "{receiver:?}");
    drop(sender);
    let mut rest = Vec::new();
    while let Some(item) = ready(poll(pin!(receiver.recv()))) {
        rest.push(item);
    }
    assert_eq!(rest, [2, 3, 4]);
    assert_eq!((receiver.len(), receiver.try_recv()), (0, Err(TryReceiveError::Closed)));
}

/// A wait that is given up takes its waker along, and one that is polled by another task wakes that one.
#[test]
fn a_receiver_wakes_who_polled_it_last() {
    let ((first_woken, first), (woken, waker)) = (Count::new(), Count::new());
    let (sender, mut receiver) = channel(2);
    assert!(poll_with(pin!(receiver.recv()), &first).is_pending());
    assert_eq!(Arc::strong_count(&first_woken), 2, "the waker went with the wait");
    {
        let mut waits = pin!(receiver.recv());
        assert!(poll_with(waits.as_mut(), &first).is_pending());
        assert!(poll_with(waits.as_mut(), &waker).is_pending());
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!((first_woken.get(), woken.get()), (0, 1), "one wake for one wait");
        assert_eq!(ready(poll(waits)), Some(1));
    }
    assert_eq!(ready(poll(pin!(receiver.recv()))), Some(2));
    let mut waits = pin!(receiver.recv());
    assert!(poll_with(waits.as_mut(), &waker).is_pending());
    drop(sender);
    assert_eq!((woken.get(), ready(poll(waits))), (2, None));
    assert_eq!((Arc::strong_count(&first_woken), Arc::strong_count(&woken)), (2, 2), "no waker is kept");
}

/// A receiver that goes drops what it has at hand and what is on the shelf, in the order of the sends.
#[test]
fn a_receiver_that_goes_drops_in_order() {
    struct Logged(usize, Arc<Mutex<Vec<usize>>>);
    impl Drop for Logged {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let (sender, mut receiver) = unbounded_channel();
    let send = |number| sender.send(Logged(number, log.clone())).is_ok();
    assert!(send(0) && send(1) && send(2));
    drop(receiver.try_recv());
    assert!(send(3) && send(4));
    drop(receiver);
    assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3, 4]);
    assert!(!send(5));
}

/// What is received without waiting takes a unit of the poll's budget, so a long channel does not keep its worker.
#[test]
fn a_channel_that_is_never_empty_yields() {
    let (sender, mut receiver) = unbounded_channel();
    for item in 0..1_000 {
        sender.send(item).unwrap();
    }
    workers(1).block_on(async {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let mut receives = Box::pin(async move { while receiver.recv().await.is_some_and(|item| item < 999) {} });
        let task = eddies::spawn(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            receives.as_mut().poll(cx)
        }));
        task.await.unwrap();
        assert_eq!(polls.load(Ordering::SeqCst), 1_000_usize.div_ceil(128));
    });
}

/// The ends of a channel can be shared between threads where the items can be sent to another.
#[test]
fn the_ends_of_a_channel_are_sync_where_the_items_are_send() {
    fn is_sync<T: Send + Sync>(_: &T) {}
    let (sender, mut receiver) = unbounded_channel::<Cell<u8>>();
    is_sync(&sender);
    is_sync(&receiver);
    is_sync(&receiver.recv());
}

#[test]
fn a_oneshot_wakes_its_receiver_and_its_sender() {
    let (woken, waker) = Count::new();
    let (sender, receiver) = oneshot();
    let mut receiver = pin!(receiver);
    assert!(poll_with(receiver.as_mut(), &waker).is_pending());
    sender.send(1).unwrap();
    assert_eq!((woken.get(), ready(poll(receiver))), (1, Ok(1)));

    let (sender, receiver) = oneshot::<u32>();
    let mut receiver = pin!(receiver);
    assert!(poll_with(receiver.as_mut(), &waker).is_pending());
    drop(sender);
    assert_eq!(woken.get(), 2);
    assert_eq!(ready(poll(receiver)).unwrap_err().to_string(), "no value was sent, and none will be");

    let (mut sender, receiver) = oneshot::<u32>();
    let mut closed = Box::pin(sender.closed());
    assert!(poll_with(closed.as_mut(), &waker).is_pending());
    drop(receiver);
    assert_eq!(woken.get(), 3);
    ready(poll(closed.as_mut()));
    drop(closed);
    assert_eq!(format!("{sender:?}"), "OneshotSender { is_closed: true }");
    assert_eq!(sender.send(1), Err(1));

    // Both wait, and each is told of what it waits for, and of nothing else.
    for sends in [true, false] {
        let ((receiver_woken, receivers), (sender_woken, senders)) = (Count::new(), Count::new());
        let (mut sender, receiver) = oneshot();
        let mut receiver = Box::pin(receiver);
        assert!(poll_with(pin!(sender.closed()), &senders).is_pending());
        assert!(poll_with(receiver.as_mut(), &receivers).is_pending());
        if sends {
            sender.send(1).unwrap();
        } else {
            drop(receiver);
        }
        assert_eq!((receiver_woken.get(), sender_woken.get()), if sends { (1, 0) } else { (0, 1) });
        assert_eq!((Arc::strong_count(&receiver_woken), Arc::strong_count(&sender_woken)), (2, 2), "no waker is kept");
    }
}

#[test]
fn a_oneshot_drops_its_value_once() {
    struct Probe(Arc<AtomicUsize>);
    impl Drop for Probe {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = oneshot();
    assert!(sender.send(Probe(drops.clone())).is_ok());
    assert_eq!(format!("{receiver:?} {}", drops.load(Ordering::SeqCst)), "OneshotReceiver { has_value: true } 0");
    drop(receiver);
    assert_eq!(drops.load(Ordering::SeqCst), 1);

    let (sender, mut receiver) = oneshot();
    receiver.close();
    assert_eq!(receiver.try_recv().err(), Some(TryReceiveError::Closed));
    assert!(sender.send(Probe(drops.clone())).is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    assert!(eddies::run(receiver).is_err());
}
