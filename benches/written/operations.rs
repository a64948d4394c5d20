//! The operations whose writes are counted: what a process does that valgrind watches.
//!
//! They count themselves with plain loads and stores, and wait by giving up the processor: an atomic operation of the benchmark's own would be taken for the
//! runtime's. Only one thread writes each count.

use std::future::{Future, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::peers::eddies_peer::Eddies;
use crate::peers::peer::{Peer, Spawn};
use crate::peers::tokio_peer::Tokio;

/// The first argument of a process that is counted. After it: the peer, the operation, how many workers, how many operations.
pub(crate) const ARGUMENT: &str = "--counted";

/// The first argument of a process that is the client of an echo server. After it: the address, how many connections, how many requests on each.
pub(crate) const CLIENT: &str = "--client";

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    SpawnDetached,
    SpawnAwait,
    SpawnOutside,
    SpawnOutsideIdle,
    Wake,
    WakeOutsideIdle,
    Yield,
    TimerDropped,
    TimerCancelled,
    TimerFired,
    EchoAlone,
    EchoMany,
    Oneshot,
    Channel,
    SpawnBlocking,
    Steal,
}

/// How many tasks there are at once, where there are several.
const BATCH: usize = 100;

/// How many connections of the busy echo server send at once.
const CONNECTIONS: usize = 64;

/// How long a thread outside leaves the runtime alone, so that it falls asleep.
const REST: Duration = Duration::from_micros(500);

impl Operation {
    pub(crate) const ALL: [Operation; 16] = [
        Operation::SpawnDetached,
        Operation::SpawnAwait,
        Operation::SpawnOutside,
        Operation::SpawnOutsideIdle,
        Operation::Wake,
        Operation::WakeOutsideIdle,
        Operation::Yield,
        Operation::TimerDropped,
        Operation::TimerCancelled,
        Operation::TimerFired,
        Operation::EchoAlone,
        Operation::EchoMany,
        Operation::Oneshot,
        Operation::Channel,
        Operation::SpawnBlocking,
        Operation::Steal,
    ];

    /// The name, and what one operation is.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Operation::SpawnDetached => ("spawn_detached", "spawn from a task, run, free; 100 at once"),
            Operation::SpawnAwait => ("spawn_await", "the same, and its handle is awaited; 100 at once"),
            Operation::SpawnOutside => ("spawn_outside", "spawn from another thread, run, free; 100 at once"),
            Operation::SpawnOutsideIdle => ("spawn_outside_idle", "the same into a runtime that sleeps; one at a time"),
            Operation::Wake => ("wake", "a task wakes another, which is polled once; 100 at once"),
            Operation::WakeOutsideIdle => {
                ("wake_outside_idle", "another thread wakes a task of a runtime that sleeps, which is polled once")
            }
            Operation::Yield => ("yield", "yield_now; 10 tasks take turns"),
            Operation::TimerDropped => ("timer_dropped", "a sleep is made, polled and dropped in one poll"),
            Operation::TimerCancelled => ("timer_cancelled", "the same, dropped in the next poll; with a yield"),
            Operation::TimerFired => ("timer_fired", "a sleep of 1 ms, awaited; 100 at once"),
            Operation::EchoAlone => ("echo_alone", "TCP echo of 64 bytes, one connection, one request at a time"),
            Operation::EchoMany => ("echo_many", "TCP echo of 64 bytes, 64 connections that send at once"),
            Operation::Oneshot => ("oneshot", "spawn a task that answers over the runtime's own oneshot, await that"),
            Operation::Channel => ("channel", "there and back over two of the runtime's own channels of 1"),
            Operation::SpawnBlocking => ("spawn_blocking", "a closure that does nothing, awaited; one at a time"),
            Operation::Steal => ("steal", "spawn, stolen by the other worker, run there; 100 at once"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.describe().0
    }

    /// The two numbers of operations whose difference is counted.
    pub(crate) fn sizes(self) -> (usize, usize) {
        match self {
            Operation::SpawnOutsideIdle | Operation::WakeOutsideIdle | Operation::SpawnBlocking => (500, 2_500),
            Operation::EchoAlone | Operation::TimerFired => (1_000, 5_000),
            Operation::EchoMany => (64 * 20, 64 * 120),
            Operation::Steal => (5_000, 25_000),
            _ => (5_000, 25_000),
        }
    }

    /// Whether it needs two workers.
    pub(crate) fn needs_two(self) -> bool {
        self == Operation::Steal
    }
}

/// The `main` of a counted process.
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PEER OPERATION WORKERS COUNT");
    let [peer, operation, workers, count] = arguments else { return Err(invalid()) };
    let operation = Operation::ALL.into_iter().find(|known| known.name() == operation).ok_or_else(invalid)?;
    let workers = workers.parse().map_err(|_| invalid())?;
    let count = count.parse().map_err(|_| invalid())?;
    match peer.as_str() {
        Eddies::NAME => run(Eddies::start(workers)?, operation, count),
        Tokio::NAME => run(Tokio::start(workers)?, operation, count),
        _ => Err(invalid()),
    }
}

/// A runtime with channels of its own.
trait Messages: Peer {
    /// The task sends one message over a oneshot, and this one awaits it.
    fn oneshot(self) -> impl Future<Output = ()> + Send;

    /// Numbers there and back over two channels of capacity 1.
    fn channel(self, count: usize) -> impl Future<Output = ()> + Send;
}

impl Messages for Eddies {
    async fn oneshot(self) {
        let (sender, receiver) = eddies::sync::oneshot();
        Eddies::detach(self.spawn(async move { sender.send(1_u32).expect("the receiver waits") }));
        assert_eq!(receiver.await, Ok(1));
    }

    async fn channel(self, count: usize) {
        let (ping, mut pinged) = eddies::sync::channel(1);
        let (pong, mut ponged) = eddies::sync::channel(1);
        Eddies::detach(self.spawn(async move {
            while let Some(value) = pinged.recv().await {
                pong.send(value).await.expect("the other side waits for it");
            }
        }));
        for value in 0..count {
            ping.send(value).await.expect("the other side receives");
            assert_eq!(ponged.recv().await, Some(value));
        }
    }
}

impl Messages for Tokio {
    async fn oneshot(self) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        Tokio::detach(self.spawn(async move { sender.send(1_u32).expect("the receiver waits") }));
        assert_eq!(receiver.await, Ok(1));
    }

    async fn channel(self, count: usize) {
        let (ping, mut pinged) = tokio::sync::mpsc::channel(1);
        let (pong, mut ponged) = tokio::sync::mpsc::channel(1);
        Tokio::detach(self.spawn(async move {
            while let Some(value) = pinged.recv().await {
                pong.send(value).await.expect("the other side waits for it");
            }
        }));
        for value in 0..count {
            ping.send(value).await.expect("the other side receives");
            assert_eq!(ponged.recv().await, Some(value));
        }
    }
}

fn run<P: Messages>(peer: P, operation: Operation, times: usize) -> io::Result<()> {
    match operation {
        Operation::SpawnDetached => peer.run(spawn_detached(peer, times)),
        Operation::SpawnAwait => peer.run(spawn_await(peer, times)),
        Operation::SpawnOutside => outside(peer, move || spawn_outside(peer, times)),
        Operation::SpawnOutsideIdle => outside(peer, move || spawn_outside_idle(peer, times)),
        Operation::Wake => peer.run(wake(peer, times)),
        Operation::WakeOutsideIdle => outside(peer, move || wake_outside_idle(peer, times)),
        Operation::Yield => peer.run(take_turns(peer, 10, times, P::yield_now)),
        Operation::TimerDropped => peer.run(timer_dropped::<P>(times)),
        Operation::TimerCancelled => peer.run(timer_cancelled::<P>(times)),
        Operation::TimerFired => peer.run(take_turns(peer, BATCH, times, || P::sleep(Duration::from_millis(1)))),
        Operation::EchoAlone => return echo(peer, 1, times),
        Operation::EchoMany => return echo(peer, CONNECTIONS, times),
        Operation::Oneshot => peer.run(async move {
            for _ in 0..times {
                peer.oneshot().await;
            }
        }),
        Operation::Channel => peer.run(peer.channel(times)),
        Operation::SpawnBlocking => peer.run(async move {
            for _ in 0..times {
                P::spawn_blocking(|| ()).await;
            }
        }),
        Operation::Steal => peer.run(steal(peer, times)),
    }
    Ok(())
}

/// How often each of the tasks has run, or been polled. Each count is written by one task at a time.
static RAN: [AtomicUsize; BATCH] = [const { AtomicUsize::new(0) }; BATCH];

fn count(index: usize) {
    // Ordering: Relaxed: a count that one task writes at a time. No read-modify-write, which would be counted.
    let ran = RAN[index].load(Ordering::Relaxed);
    // Ordering: Relaxed, as above.
    RAN[index].store(ran + 1, Ordering::Relaxed);
}

fn ran() -> usize {
    // Ordering: Relaxed: counts.
    RAN.iter().map(|each| each.load(Ordering::Relaxed)).sum()
}

async fn until<S: Spawn>(count: usize) {
    while ran() < count {
        S::yield_now().await;
    }
}

fn spin_until(count: usize) {
    while ran() < count {
        thread::yield_now();
    }
}

async fn spawn_detached<P: Peer>(peer: P, times: usize) {
    for batch in 1..=times / BATCH {
        for index in 0..BATCH {
            P::detach(peer.spawn(async move { count(index) }));
        }
        until::<P>(batch * BATCH).await;
    }
}

async fn spawn_await<P: Peer>(peer: P, times: usize) {
    let mut tasks = Vec::with_capacity(BATCH);
    for _ in 0..times / BATCH {
        tasks.extend((0..BATCH).map(|index| peer.spawn(async move { index })));
        for (index, task) in tasks.drain(..).enumerate() {
            assert_eq!(task.await, index);
        }
    }
}

/// Runs `work` on a thread of its own, with the workers running.
fn outside<P: Peer>(peer: P, work: impl FnOnce() + Send + 'static) {
    static IS_OVER: AtomicUsize = AtomicUsize::new(0);
    let thread = thread::spawn(move || {
        work();
        // Ordering: Relaxed: the join below orders the rest.
        IS_OVER.store(1, Ordering::Relaxed);
    });
    // A runtime of one loop works while somebody is inside of it. The task only waits: a timer every 50 ms.
    peer.run(async {
        // Ordering: Relaxed, as above.
        while IS_OVER.load(Ordering::Relaxed) == 0 {
            P::sleep(Duration::from_millis(50)).await;
        }
    });
    thread.join().expect("the thread outside does not panic");
}

fn spawn_outside<P: Peer>(peer: P, times: usize) {
    for batch in 1..=times / BATCH {
        for index in 0..BATCH {
            P::detach(peer.spawn_outside(async move { count(index) }));
        }
        spin_until(batch * BATCH);
    }
}

fn spawn_outside_idle<P: Peer>(peer: P, times: usize) {
    for batch in 1..=times {
        P::detach(peer.spawn_outside(async { count(0) }));
        spin_until(batch);
        thread::sleep(REST);
    }
}

/// Tasks that only count their polls, and a waker of each.
async fn sleepers<P: Peer>(peer: P, tasks: usize) -> (Vec<Waker>, Vec<P::Task<()>>) {
    static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());
    let mut handles = Vec::new();
    for index in 0..tasks {
        let mut is_first = true;
        handles.push(peer.spawn(poll_fn(move |context| {
            if is_first {
                is_first = false;
                WAKERS.lock().expect("nobody panics under this lock").push(context.waker().clone());
            }
            count(index);
            Poll::<()>::Pending
        })));
        until::<P>(index + 1).await;
    }
    let wakers = std::mem::take(&mut *WAKERS.lock().expect("nobody panics under this lock"));
    (wakers, handles)
}

async fn wake<P: Peer>(peer: P, times: usize) {
    let (wakers, tasks) = sleepers(peer, BATCH).await;
    for _ in 0..times / BATCH {
        let before = ran();
        wakers.iter().for_each(Waker::wake_by_ref);
        until::<P>(before + BATCH).await;
    }
    drop(tasks);
}

fn wake_outside_idle<P: Peer>(peer: P, times: usize) {
    static WAKER: Mutex<Option<Waker>> = Mutex::new(None);
    P::detach(peer.spawn_outside(async move {
        let (mut wakers, tasks) = sleepers(peer, 1).await;
        *WAKER.lock().expect("nobody panics under this lock") = wakers.pop();
        tasks.into_iter().for_each(P::detach);
    }));
    let waker = loop {
        match WAKER.lock().expect("nobody panics under this lock").take() {
            Some(waker) => break waker,
            None => thread::yield_now(),
        }
    };
    for _ in 0..times {
        let before = ran();
        thread::sleep(REST);
        waker.wake_by_ref();
        spin_until(before + 1);
    }
}

/// `tasks` tasks that each do it their part of so many times.
async fn take_turns<P: Peer, F: Future<Output = ()> + Send + 'static>(
    peer: P,
    tasks: usize,
    times: usize,
    step: impl Fn() -> F + Copy + Send + 'static,
) {
    let turn = || {
        peer.spawn(async move {
            for _ in 0..times / tasks {
                step().await;
            }
        })
    };
    let tasks: Vec<_> = (0..tasks).map(|_| turn()).collect();
    for task in tasks {
        task.await;
    }
}

async fn timer_dropped<P: Peer>(times: usize) {
    for _ in 0..times {
        let mut sleep = pin!(P::sleep(Duration::from_secs(10)));
        let poll = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
        assert!(poll.is_pending());
    }
}

async fn timer_cancelled<P: Peer>(times: usize) {
    for _ in 0..times {
        let mut sleep = pin!(P::sleep(Duration::from_secs(10)));
        let poll = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
        assert!(poll.is_pending());
        P::yield_now().await;
    }
}

/// The spawner holds its worker until the other one has taken and run all but the one task that its runtime may keep for itself.
async fn steal<P: Peer>(peer: P, times: usize) {
    for batch in 1..=times / BATCH {
        for index in 0..BATCH {
            P::detach(peer.spawn(async move { count(index) }));
        }
        spin_until(batch * BATCH - 1);
        until::<P>(batch * BATCH).await;
    }
}

fn echo<P: Peer>(peer: P, connections: usize, times: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let arguments = [connections, times / connections].map(|number| number.to_string());
    let mut client = Command::new(std::env::current_exe()?)
        .args([CLIENT, &listener.local_addr()?.to_string()])
        .args(arguments)
        .spawn()?;
    let echoed = peer.run(peer.serve_echo(listener, connections))?;
    assert_eq!(echoed, (times * MESSAGE) as u64, "every byte is echoed");
    match client.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("the client failed: {status}"))),
    }
}

const MESSAGE: usize = 64;

/// The `main` of a client: sends on all connections, then awaits all answers, again and again.
pub(crate) fn client(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: ADDRESS CONNECTIONS REQUESTS");
    let [address, connections, requests] = arguments else { return Err(invalid()) };
    let address: SocketAddr = address.parse().map_err(|_| invalid())?;
    let connections: usize = connections.parse().map_err(|_| invalid())?;
    let requests: usize = requests.parse().map_err(|_| invalid())?;
    let open = |_| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..connections).map(open).collect::<io::Result<Vec<_>>>()?;
    for request in 0..requests {
        let message = [request as u8; MESSAGE];
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
        for stream in &mut streams {
            let mut answer = [0; MESSAGE];
            stream.read_exact(&mut answer)?;
            assert_eq!(answer, message, "the answer is the message");
        }
    }
    Ok(())
}
