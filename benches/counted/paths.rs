//! The hot paths: what a process does that valgrind counts. One worker.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use eddies::net::UnixStream;
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// The first argument of a process that is counted. After it: the path, and how many operations.
pub(crate) const ARGUMENT: &str = "--counted";

/// What is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HotPath {
    Spawn,
    Wake,
    Poll,
    Yield,
    Timer,
    Io,
}

/// How many tasks there are at once, where there are several.
const BATCH: usize = 100;

impl HotPath {
    pub(crate) const ALL: [HotPath; 6] =
        [HotPath::Spawn, HotPath::Wake, HotPath::Poll, HotPath::Yield, HotPath::Timer, HotPath::Io];

    pub(crate) fn name(self) -> &'static str {
        match self {
            HotPath::Spawn => "spawn",
            HotPath::Wake => "wake",
            HotPath::Poll => "poll",
            HotPath::Yield => "yield",
            HotPath::Timer => "timer",
            HotPath::Io => "io",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            HotPath::Spawn => "spawn from a task, run, drop; detached, 100 at once",
            HotPath::Wake => "a task wakes another one, which is polled; 100 at once",
            HotPath::Poll => "a task that wakes itself in its poll is polled again; 10 take turns",
            HotPath::Yield => "yield_now; 10 take turns",
            HotPath::Timer => "a sleep is armed, polled once, dropped",
            HotPath::Io => "a byte there and back between two tasks over a Unix socket: 2 readiness events, 4 calls",
        }
    }

    /// The two numbers of operations whose difference is counted.
    pub(crate) fn sizes(self) -> (usize, usize) {
        match self {
            HotPath::Io => (2_000, 12_000),
            _ => (20_000, 120_000),
        }
    }
}

/// The `main` of a counted process.
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PATH COUNT");
    let [path, count] = arguments else { return Err(invalid()) };
    let path = HotPath::ALL.into_iter().find(|known| known.name() == path).ok_or_else(invalid)?;
    let count: usize = count.parse().map_err(|_| invalid())?;
    let runtime = eddies::Runtime::builder().workers(1).build()?;
    runtime.block_on(async move {
        let task = eddies::spawn(async move {
            match path {
                HotPath::Spawn => spawn(count).await,
                HotPath::Wake => wake(count).await,
                HotPath::Poll => take_turns(count, poll_again).await,
                HotPath::Yield => take_turns(count, eddies::yield_now).await,
                HotPath::Timer => timer(count).await,
                HotPath::Io => return io_round_trips(count).await,
            }
            Ok(())
        });
        task.await.expect("a counted task does not panic")
    })
}

async fn until(counter: &AtomicUsize, value: usize) {
    // Ordering: Relaxed: a count, and there is one worker.
    while counter.load(Ordering::Relaxed) < value {
        eddies::yield_now().await;
    }
}

async fn spawn(count: usize) {
    let ran = Arc::new(AtomicUsize::new(0));
    for batch in 1..=count / BATCH {
        for _ in 0..BATCH {
            let ran = ran.clone();
            drop(eddies::spawn(async move {
                // Ordering: as in `until`.
                ran.fetch_add(1, Ordering::Relaxed);
            }));
        }
        until(&ran, batch * BATCH).await;
    }
}

async fn wake(count: usize) {
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let polls = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..BATCH {
        let (wakers, polls) = (wakers.clone(), polls.clone());
        let mut is_first = true;
        tasks.push(eddies::spawn(poll_fn(move |context| {
            if is_first {
                is_first = false;
                wakers.lock().expect("nobody panics under this lock").push(context.waker().clone());
            }
            // Ordering: as in `until`.
            polls.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        })));
    }
    until(&polls, BATCH).await;
    let wakers = std::mem::take(&mut *wakers.lock().expect("nobody panics under this lock"));
    for round in 1..=count / BATCH {
        wakers.iter().for_each(Waker::wake_by_ref);
        until(&polls, BATCH + round * BATCH).await;
    }
}

/// Ten tasks that each do it a tenth of the times.
async fn take_turns<F: Future<Output = ()> + Send + 'static>(count: usize, step: fn() -> F) {
    let turn = || {
        eddies::spawn(async move {
            for _ in 0..count / 10 {
                step().await;
            }
        })
    };
    let tasks: Vec<_> = (0..10).map(|_| turn()).collect();
    for task in tasks {
        task.await.expect("a counted task does not panic");
    }
}

async fn poll_again() {
    let mut has_been_polled = false;
    poll_fn(|context| {
        if has_been_polled {
            return Poll::Ready(());
        }
        has_been_polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn timer(count: usize) {
    for _ in 0..count {
        let mut sleep = pin!(eddies::sleep(Duration::from_secs(10)));
        let poll = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
        assert!(poll.is_pending());
    }
}

async fn io_round_trips(count: usize) -> io::Result<()> {
    let (mut near, mut far) = UnixStream::pair()?;
    let answering = eddies::spawn(async move {
        let mut byte = [0];
        while far.read(&mut byte).await? == 1 {
            far.write_all(&byte).await?;
        }
        Ok::<_, io::Error>(())
    });
    for number in 0..count {
        let mut byte = [number as u8];
        near.write_all(&byte).await?;
        near.read_exact(&mut byte).await?;
        assert_eq!(byte, [number as u8]);
    }
    drop(near);
    answering.await.expect("a counted task does not panic")
}
