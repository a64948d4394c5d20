//! A loop stuck in a poll holds up nothing but what is pinned to it: sockets, timers and queued tasks of that loop are served by a peer.
//!
//! In each test the main future, on loop 0, blocks its thread inside of one poll until the peer has done what would have waited for it. The
//! order is shown by happens-before: the block ends because of the service. A service that does not come ends the test by a time limit.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::sync::mpsc::{self, Receiver};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::{Interest, TcpListener};
use eddies::{Runtime, spawn, spawn_blocking};

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

#[test]
fn a_socket_of_a_stalled_loop_is_served_by_a_peer() {
    let mut delays = on_two_loops(async {
        let mut delays = Vec::new();
        for _ in 0..20 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = std::net::TcpStream::connect(address).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            // The first wait for it happens here, on loop 0: this is where the socket is registered, and stays.
            {
                let mut readable = pin!(stream.ready(Interest::READABLE));
                poll_fn(|cx| {
                    assert!(readable.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            let (tell, served) = mpsc::channel();
            let (tell_waiting, is_waiting) = mpsc::channel();
            let reader = spawn(async move {
                let mut byte = [0];
                let mut tell_waiting = Some(tell_waiting);
                loop {
                    match stream.try_read(&mut byte) {
                        Ok(count) => break assert_eq!((count, byte[0]), (1, 7)),
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                    let mut readable = pin!(stream.readable());
                    poll_fn(|cx| {
                        let polled = readable.as_mut().poll(cx);
                        if let Some(tell) = tell_waiting.take_if(|_| polled.is_pending()) {
                            tell.send(()).unwrap();
                        }
                        polled
                    })
                    .await
                    .unwrap();
                }
                tell.send(thread::current().id()).unwrap();
            });
            spawn_blocking(move || is_waiting.recv_timeout(NEVER).unwrap()).await.unwrap();
            // From here to the end of `block_until` is one poll of the main future: loop 0 is stuck.
            client.write_all(&[7]).unwrap();
            delays.push(block_until(&served));
            reader.await.unwrap();
        }
        delays
    });
    delays.sort();
    println!("served by a peer after {:?} (median), {:?} (worst)", delays[delays.len() / 2], delays.last().unwrap());
}

#[test]
fn a_due_timer_of_a_stalled_loop_is_fired_by_a_peer() {
    on_two_loops(async {
        let mut sleep = eddies::sleep(Duration::from_millis(5));
        // Registered here, on loop 0.
        poll_fn(|cx| {
            assert!(std::pin::Pin::new(&mut sleep).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let (tell, served) = mpsc::channel();
        let sleeper = spawn(async move {
            sleep.await;
            tell.send(thread::current().id()).unwrap();
        });
        eddies::yield_now().await;
        block_until(&served);
        sleeper.await.unwrap();
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

#[test]
fn a_spawn_from_outside_does_not_wait_for_a_stalled_loop() {
    on_two_loops(async {
        let handle = eddies::LoopHandle::current();
        for _ in 0..20 {
            let (tell, served) = mpsc::channel();
            let handle = handle.clone();
            let outside = thread::spawn(move || {
                // One for each loop's inbox: the spawns take turns.
                for _ in 0..2 {
                    let tell = tell.clone();
                    drop(handle.spawn(async move { tell.send(thread::current().id()).unwrap() }));
                }
            });
            block_until(&served);
            block_until(&served);
            outside.join().unwrap();
            eddies::yield_now().await;
        }
    });
}
