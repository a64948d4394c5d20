//! A loop stuck in a poll holds up nothing but what is pinned to it: sockets, timers and queued tasks of that loop are served by a peer.
//!
//! In each test the main future, on loop 0, blocks its thread inside of one poll until the peer has done what would have waited for it. The
//! order is shown by happens-before: the block ends because of the service. A service that does not come ends the test by a time limit.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::{Interest, TcpListener, TcpStream};
use eddies::time::Sleep;
use eddies::{LoopHandle, Runtime, Task, spawn, spawn_blocking};
use futures_util::io::AsyncReadExt;

/// Far beyond any delay that a loaded machine brings; only a service that never comes lasts as long.
const NEVER: Duration = Duration::from_secs(20);

fn on_two_loops<F: Future>(test: F) -> F::Output {
    Runtime::builder().workers(2).build().unwrap().block_on(test)
}

/// Blocks the thread, in the middle of a poll, until `served` hears; how long that took.
fn block_until(served: &Receiver<thread::ThreadId>) -> Duration {
    let start = Instant::now();
    let by = served.recv_timeout(NEVER).expect("the stalled loop's work was not taken over");
    assert_ne!(by, thread::current().id());
    start.elapsed()
}

/// Reads the byte 7, then tells on which thread; tells before that when it has begun to wait.
async fn read_seven(stream: TcpStream, waiting: Sender<()>, served: Sender<thread::ThreadId>) {
    let mut byte = [0];
    let mut waiting = Some(waiting);
    while let Err(error) = stream.try_read(&mut byte) {
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let mut readable = pin!(stream.readable());
        let wait = poll_fn(|cx| {
            let polled = readable.as_mut().poll(cx);
            if let Some(waiting) = waiting.take_if(|_| polled.is_pending()) {
                waiting.send(()).unwrap();
            }
            polled
        });
        wait.await.unwrap();
    }
    assert_eq!(byte, [7]);
    served.send(thread::current().id()).unwrap();
}

/// Polls `future`, which is not ready, once.
async fn begin_to_wait<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Stalls loop 0 so often, after `before`, each time until a socket of that loop was served. Prints how long the services took.
async fn stalls_with_a_socket<F: Future<Output = ()>>(stalls: usize, before: impl Fn() -> F) {
    let mut delays = Vec::new();
    for _ in 0..stalls {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // The first wait for it happens here, on loop 0: this is where the socket is registered, and stays.
        begin_to_wait(stream.ready(Interest::READABLE)).await;
        let (tell, served) = mpsc::channel();
        let (tell_waiting, is_waiting) = mpsc::channel();
        let reader = spawn(read_seven(stream, tell_waiting, tell));
        spawn_blocking(move || is_waiting.recv_timeout(NEVER).unwrap()).await.unwrap();
        before().await;
        // From here to the end of `block_until` is one poll of the main future: loop 0 is stuck.
        client.write_all(&[7]).unwrap();
        delays.push(block_until(&served));
        reader.await.unwrap();
    }
    delays.sort();
    println!("served by a peer after {:?} (median), {:?} (worst)", delays[delays.len() / 2], delays.last().unwrap());
}

#[test]
fn a_socket_of_a_stalled_loop_is_served_by_a_peer() {
    on_two_loops(stalls_with_a_socket(20, || async {}));
}

/// Some messages with a rest after each.
async fn mostly_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        for _ in 0..40 {
            thread::sleep(Duration::from_millis(5));
            stream.write_all(&[7]).unwrap();
        }
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut messages = Vec::new();
    stream.read_to_end(&mut messages).await.unwrap();
    assert_eq!(messages.len(), 40);
    client.join().unwrap();
}

/// The monitor looks seldom at such a runtime, and is to hear of the socket instead. (By what it came, only the printed time shows.)
#[test]
fn a_socket_of_a_loop_that_mostly_rested_is_served_by_a_peer() {
    for _ in 0..3 {
        let runtime = Runtime::builder().workers(2).slow_poll(Duration::MAX).build().unwrap();
        runtime.block_on(stalls_with_a_socket(1, mostly_rest));
    }
}

/// A sleep that is registered here, on loop 0. On a busy machine one may be over before it is polled: then another.
async fn sleep_that_waits() -> Sleep {
    loop {
        let mut sleep = eddies::sleep(Duration::from_millis(5));
        if poll_fn(|cx| Poll::Ready(pin!(&mut sleep).poll(cx).is_pending())).await {
            return sleep;
        }
    }
}

#[test]
fn a_due_timer_of_a_stalled_loop_is_fired_by_a_peer() {
    on_two_loops(async {
        loop {
            let sleep = sleep_that_waits().await;
            let (tell, served) = mpsc::channel();
            let sleeper = spawn(async move {
                sleep.await;
                tell.send(thread::current().id()).unwrap();
            });
            eddies::yield_now().await;
            // From here on this loop is stuck. What was due before that is no matter of this test.
            let is_early = served.try_recv().is_ok();
            if !is_early {
                block_until(&served);
            }
            sleeper.await.unwrap();
            if !is_early {
                break;
            }
        }
    });
}

#[test]
fn tasks_queued_behind_a_stall_are_taken_also_from_the_run_next_slot() {
    on_two_loops(async {
        for _ in 0..20 {
            // The first task goes to the run-next slot, which nobody is told of; the others to the deque.
            let (tell, served) = mpsc::channel();
            let tasks: Vec<_> = (0..3)
                .map(|_| {
                    let tell = tell.clone();
                    spawn(async move { tell.send(thread::current().id()).unwrap() })
                })
                .collect();
            for _ in &tasks {
                block_until(&served);
            }
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
}

/// One for each loop's inbox: spawns from outside take turns.
fn spawn_for_each_loop(handle: &LoopHandle, served: &Sender<thread::ThreadId>) {
    for _ in 0..2 {
        let served = served.clone();
        handle.spawn(async move { served.send(thread::current().id()).unwrap() });
    }
}

#[test]
fn a_spawn_from_outside_does_not_wait_for_a_stalled_loop() {
    on_two_loops(async {
        for _ in 0..20 {
            let handle = LoopHandle::current();
            let (tell, served) = mpsc::channel();
            let outside = thread::spawn(move || spawn_for_each_loop(&handle, &tell));
            block_until(&served);
            block_until(&served);
            outside.join().unwrap();
            eddies::yield_now().await;
        }
    });
}

// ---- with a peer that is never idle ----------------------------------------------------------------------------------------------

/// A task that yields for ever. Told when it runs on another thread than the caller's, which holds its own meanwhile: then that thread's loop is
/// one that runs, and never looks for work.
fn keep_the_peer_busy(is_over: &Arc<AtomicBool>) -> Task<()> {
    let (tell, elsewhere) = mpsc::channel();
    let (here, is_over) = (thread::current().id(), is_over.clone());
    let hog = spawn(async move {
        let mut tell = Some(tell);
        while !is_over.load(SeqCst) {
            if let Some(tell) = tell.take_if(|_| thread::current().id() != here) {
                tell.send(()).unwrap();
            }
            eddies::yield_now().await;
        }
    });
    elsewhere.recv_timeout(NEVER).unwrap();
    hog
}

/// Blocks a loop with work of every kind in it, in `block`, while its only peer is busy for ever.
fn beside_a_busy_peer(block: impl Fn(&Receiver<thread::ThreadId>)) {
    // No spare worker that could come to help, should the peer seem stalled on a busy machine.
    Runtime::builder().workers(2).spare_workers(0).build().unwrap().block_on(async {
        for _ in 0..5 {
            let is_over = Arc::new(AtomicBool::new(false));
            let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut stream = eddies::net::UnixStream::from_std(ours).unwrap();
            begin_to_wait(stream.ready(Interest::READABLE)).await;
            let sleep = sleep_that_waits().await;
            let (tell, served) = mpsc::channel();
            let of_reader = tell.clone();
            let reader = spawn(async move {
                stream.read_exact(&mut [0]).await.unwrap();
                of_reader.send(thread::current().id()).unwrap();
            });
            let of_sleeper = tell.clone();
            let sleeper = spawn(async move {
                sleep.await;
                of_sleeper.send(thread::current().id()).unwrap();
            });
            // Both wait, for their loop's reactor and timers.
            eddies::yield_now().await;
            let hog = keep_the_peer_busy(&is_over);
            theirs.write_all(&[7]).unwrap();
            let handle = LoopHandle::current();
            let of_outside = tell.clone();
            let outside = thread::spawn(move || spawn_for_each_loop(&handle, &of_outside));
            // One for the run-next slot, two for the deque.
            for _ in 0..3 {
                let tell = tell.clone();
                drop(spawn(async move { tell.send(thread::current().id()).unwrap() }));
            }
            // The sleep may be over by now; nobody else has told anything that this loop could have done.
            let early = served.try_iter().count();
            for _ in early..7 {
                block(&served);
            }
            is_over.store(true, SeqCst);
            outside.join().unwrap();
            for task in [hog, reader, sleeper] {
                task.await.unwrap();
            }
        }
    });
}

#[test]
fn a_stalled_loops_work_does_not_wait_until_a_busy_peer_is_idle() {
    beside_a_busy_peer(|served| _ = block_until(served));
}

#[test]
fn a_lent_loops_work_does_not_wait_until_a_busy_peer_is_idle() {
    beside_a_busy_peer(|served| _ = eddies::block_in_place(|| block_until(served)));
}
