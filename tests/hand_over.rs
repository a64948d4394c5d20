//! Many hand-overs in a row: a worker lends its loop, or is stuck in a poll, and does not go on before others have run what was queued there.
//!
//! Two thousand by default, or `EDDIES_HAND_OVERS`. CONTRIBUTING.md says how a million of them run under ThreadSanitizer, which
//! looks for what no assertion here does.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use eddies::net::UnixStream;
use eddies::{Runtime, block_in_place, sleep, spawn, yield_now};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

/// Far beyond any delay, also under a sanitizer.
const NEVER: Duration = Duration::from_secs(120);

/// Every so many hand-overs are by a stall that the monitor has to notice, and every so many need a reactor or a timer of the lent loop.
const STALLED: usize = 500;
const WITH_SOCKET: usize = 5;
const WITH_TIMER: usize = 50;

fn hand_overs() -> usize {
    let default = 2_000;
    std::env::var("EDDIES_HAND_OVERS").map_or(default, |text| text.parse().expect("a number of hand-overs"))
}

/// Tells when it is dropped, which is when its task has ended.
struct Tells(Sender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

/// An echo of one byte at a time, on the loop where it first has to wait.
async fn echo(mut stream: UnixStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        stream.write_all(&byte).await.unwrap();
    }
}

fn wait(served: &Receiver<()>, times: usize) {
    for _ in 0..times {
        served.recv_timeout(NEVER).expect("nobody took over");
    }
}

/// `count` hand-overs, one after the other, by the task that calls this.
async fn hand_over(count: usize, done: Arc<AtomicUsize>) {
    let (mut ours, theirs) = StdStream::pair().unwrap();
    ours.set_read_timeout(Some(NEVER)).unwrap();
    let server = spawn(echo(UnixStream::from_std(theirs).unwrap()));
    let (tell, served) = mpsc::channel();
    for i in 0..count {
        // One for the run-next slot and one for the deque.
        for _ in 0..2 {
            let tells = Tells(tell.clone());
            drop(spawn(async move {
                let _tells = tells;
                yield_now().await;
            }));
        }
        let with_timer = i % WITH_TIMER == 0;
        if with_timer {
            let tells = Tells(tell.clone());
            drop(spawn(async move {
                let _tells = tells;
                sleep(Duration::from_millis(1)).await;
            }));
        }
        {
            let mut blocks = || {
                wait(&served, 2 + usize::from(with_timer));
                if i % WITH_SOCKET == 0 {
                    ours.write_all(&[i as u8]).unwrap();
                    let mut answer = [0];
                    ours.read_exact(&mut answer).expect("nobody served the socket");
                    assert_eq!(answer, [i as u8]);
                }
            };
            if i % STALLED == 0 { blocks() } else { block_in_place(blocks) }
        }
        done.fetch_add(1, SeqCst);
        // Elsewhere, perhaps.
        yield_now().await;
    }
    drop(ours);
    server.await.unwrap();
}

#[test]
fn a_loop_that_is_lent_again_and_again_loses_nothing() {
    let count = hand_overs();
    let done = Arc::new(AtomicUsize::new(0));
    // Two lenders at a time on two workers: spare ones come and go.
    for (workers, spares, lenders) in [(2, 0, 1), (2, 8, 2), (3, 4, 3), (1, 4, 2)] {
        let runtime =
            Runtime::builder().workers(workers).spare_workers(spares).slow_poll(Duration::MAX).build().unwrap();
        let each = (count / 4).div_ceil(lenders);
        let before = done.load(SeqCst);
        runtime.block_on(async {
            let tasks: Vec<_> = (1..lenders).map(|_| spawn(hand_over(each, done.clone()))).collect();
            // And one by the main future.
            hand_over(each, done.clone()).await;
            for task in tasks {
                task.await.unwrap();
            }
        });
        runtime.shutdown(NEVER).unwrap();
        assert_eq!(done.load(SeqCst) - before, each * lenders);
    }
    println!("{} hand-overs", done.load(SeqCst));
}
