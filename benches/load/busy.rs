//! CPU tasks that never pause, beside an echo server of the same runtime.
//!
//! Every worker gets one task, or some. Each of their polls computes for a while between [`SHORTEST`] and [`LONGEST`], then the task either yields, or
//! wakes its partner and waits for it: a message goes to and fro between the two over async-channel, so that one of each pair is always
//! runnable, and always because the other woke it. What a runtime does for a task that was just woken (a slot that is preferred to its queue, say) is
//! then done all the time, and whatever stands behind it in the queue, or in the kernel, may wait for long.
//!
//! The lengths are a fixed sequence that looks random, another for each task, the same for all peers. A length is CPU time of the thread: who has more threads than
//! CPUs gets no more done. How many computations were done in a second stands beside the latency, as the holds do in the other rows. Each task
//! must have got on, or the run does not count.
//!
//! Two kinds of hand-written code are the limit. "limit" leaves it to the kernel: the one epoll thread of the other rows, and for each worker a plain thread that does
//! its tasks' computations in turn. "limit, by turns" has no more threads than workers and so is what a runtime without preemption can reach: each
//! thread computes once, serves whatever is ready by then on any connection, and so on. In both, partners cost nothing: the next computation
//! is the next line.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::time::{ClockId, clock_gettime};

use super::hog::{Mixed, Scale, measure};
use super::paced_client::Plan;
use crate::peers::contest::Contestant;
use crate::peers::limit;
use crate::peers::peer::{ECHO_BUFFER, Peer};
use crate::peers::row::Outcome;

/// How long a computation is.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(5);

/// Under this load accepting the connections takes its time too, and is not to be measured.
const WARM_UP_MS: u64 = 300;

/// The CPU tasks of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// How many for each worker: an even number where they have partners.
    pub(super) per_worker: usize,
    pub(super) next: Next,
}

/// Who runs after a task that has computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Whoever is at the front: the task yields.
    Anybody,
    /// The partner, whom the task wakes.
    Partner,
}

/// The computations of one task.
struct Labour {
    task: u64,
    done: u64,
}

impl Labour {
    fn of(task: usize) -> Labour {
        Labour { task: task as u64, done: 0 }
    }

    /// The length of the next computation.
    fn next(&mut self) -> Duration {
        let mut word = (self.task << 32 | self.done).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.done += 1;
        SHORTEST + Duration::from_nanos((word ^ (word >> 31)) % (LONGEST - SHORTEST).as_nanos() as u64)
    }
}

/// The CPU time of this thread so far.
fn cpu_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread may read its own clock"))
}

/// Computes for so much CPU time. The clock is a system call, read every few microseconds.
fn compute(length: Duration) {
    let end = cpu_time() + length;
    let mut word = 1_u64;
    while cpu_time() < end {
        for _ in 0..2_000 {
            word = black_box(word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        }
    }
    black_box(word);
}

/// Said once the client is gone; the tasks look before each computation.
#[derive(Clone, Default)]
struct Closing(Arc<AtomicBool>);

impl Closing {
    fn say(&self) {
        // Ordering: publishes nothing.
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_said(&self) -> bool {
        // Ordering: as in `say`.
        self.0.load(Ordering::Relaxed)
    }
}

/// A task that yields; how many computations it did.
async fn alone<P: Peer>(task: usize, closing: Closing) -> u64 {
    let mut labour = Labour::of(task);
    while !closing.is_said() {
        let length = labour.next();
        P::hold(move || compute(length)).await;
        P::yield_now().await;
    }
    labour.done
}

/// A task that computes whenever its partner says so, and then has the partner do the same.
async fn partner<P: Peer>(task: usize, closing: Closing, own: Receiver<()>, others: Sender<()>) -> u64 {
    let mut labour = Labour::of(task);
    while own.recv().await.is_ok() && !closing.is_said() {
        let length = labour.next();
        P::hold(move || compute(length)).await;
        if others.send(()).await.is_err() {
            break;
        }
    }
    labour.done
}

fn spawn_all<P: Peer>(peer: P, next: Next, count: usize, closing: &Closing) -> Vec<P::Task<u64>> {
    if next == Next::Anybody {
        return (0..count).map(|task| peer.spawn(alone::<P>(task, closing.clone()))).collect();
    }
    let mut tasks = Vec::with_capacity(count);
    for pair in 0..count / 2 {
        let (to_first, first) = async_channel::bounded(1);
        let (to_second, second) = async_channel::bounded(1);
        to_first.try_send(()).expect("the channel is empty and open");
        tasks.push(peer.spawn(partner::<P>(2 * pair, closing.clone(), first, to_second)));
        tasks.push(peer.spawn(partner::<P>(2 * pair + 1, closing.clone(), second, to_first)));
    }
    tasks
}

/// All computations, unless a task did none.
fn add_up(done: &[u64]) -> io::Result<u64> {
    match done.iter().filter(|&&done| done == 0).count() {
        0 => Ok(done.iter().sum()),
        starved => Err(io::Error::other(format!("{starved} of {} CPU tasks never ran", done.len()))),
    }
}

fn with_longer_warm_up(scale: &Scale) -> Scale {
    let warm_up_ms = scale.plan.warm_up_ms.max(WARM_UP_MS);
    Scale { plan: Plan { warm_up_ms, ..scale.plan }, ..*scale }
}

pub(super) fn on_peer<P: Peer>(peer: P, crowd: Crowd, scale: &Scale) -> Outcome {
    let (count, connections) = (crowd.per_worker * scale.workers, scale.plan.connections);
    measure(&with_longer_warm_up(scale), false, |listener| {
        peer.run(async move {
            let closing = Closing::default();
            let tasks = spawn_all(peer, crowd.next, count, &closing);
            let served = peer.serve_echo(listener, connections).await;
            closing.say();
            let mut done = Vec::with_capacity(count);
            for task in tasks {
                done.push(task.await);
            }
            Ok((served?, add_up(&done)?))
        })
    })
}

/// The computations of one worker's tasks, one of each in turn, with `between` after each; how many of each.
fn labour_of_worker(
    worker: usize,
    crowd: Crowd,
    closing: &Closing,
    mut between: impl FnMut() -> io::Result<()>,
) -> io::Result<Vec<u64>> {
    let first = worker * crowd.per_worker;
    let mut labours: Vec<Labour> = (first..first + crowd.per_worker).map(Labour::of).collect();
    for turn in 0.. {
        if closing.is_said() {
            break;
        }
        compute(labours[turn % crowd.per_worker].next());
        between()?;
    }
    Ok(labours.iter().map(|labour| labour.done).collect())
}

pub(super) fn on_limit(crowd: Crowd, scale: &Scale) -> Outcome {
    let connections = scale.plan.connections;
    measure(&with_longer_warm_up(scale), false, |listener| {
        let closing = Closing::default();
        thread::scope(|scope| {
            let closing = &closing;
            let work = |worker| scope.spawn(move || labour_of_worker(worker, crowd, closing, || Ok(())));
            let threads: Vec<_> = (0..scale.workers).map(work).collect();
            let echoed = limit::serve_echo(&listener, connections);
            closing.say();
            let mut done = Vec::new();
            for thread in threads {
                done.extend(thread.join().expect("a computation does not panic")?);
            }
            Ok((echoed?, add_up(&done)?))
        })
    })
}

pub(crate) const BY_TURNS: &str = "limit, by turns";

/// The limit of those who have no more threads than workers. It takes part in these rows only.
pub(crate) fn by_turns() -> Contestant<Mixed> {
    Contestant::with(BY_TURNS, |row, scale| row.crowd().map(|crowd| measure_by_turns(crowd, scale)))
}

/// The connections, which any thread may serve.
struct Counter {
    poll: Mutex<Poll>,
    /// Put there once it is accepted, and taken out by whom the kernel told that it is closed.
    streams: Vec<OnceLock<Mutex<Option<TcpStream>>>>,
    open: AtomicUsize,
    echoed: AtomicUsize,
}

impl Counter {
    fn open(connections: usize) -> io::Result<Counter> {
        Ok(Counter {
            poll: Mutex::new(Poll::new()?),
            streams: (0..connections).map(|_| OnceLock::new()).collect(),
            open: AtomicUsize::new(connections),
            echoed: AtomicUsize::new(0),
        })
    }

    fn accept_all(&self, listener: &TcpListener) -> io::Result<()> {
        let registry = self.poll.lock().expect("no holder of this lock panics").registry().try_clone()?;
        for (index, place) in self.streams.iter().enumerate() {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let mut stream = TcpStream::from_std(stream);
            let place = place.get_or_init(Mutex::default);
            let mut place = place.lock().expect("no holder of this lock panics");
            registry.register(&mut stream, Token(index), Interest::READABLE)?;
            *place = Some(stream);
        }
        Ok(())
    }

    /// What one of the threads does; how many computations of each task.
    fn stand_at(&self, worker: usize, crowd: Crowd, closing: &Closing) -> io::Result<Vec<u64>> {
        let mut events = Events::with_capacity(1024);
        labour_of_worker(worker, crowd, closing, || self.serve(&mut events, closing))
    }

    /// Echoes what has come on any connection, and says so when the last one is closed. Does not wait for anything, nor for another thread that asks.
    fn serve(&self, events: &mut Events, closing: &Closing) -> io::Result<()> {
        let Ok(mut poll) = self.poll.try_lock() else { return Ok(()) };
        match poll.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        drop(poll);
        for event in &*events {
            let place = self.streams[event.token().0].get().expect("it is made before the stream is registered");
            let mut place = place.lock().expect("no holder of this lock panics");
            // Two threads may hear of the same end.
            let Some(stream) = &mut *place else { continue };
            let (echoed, is_closed) = echo(stream)?;
            // Ordering: Relaxed: read once the threads have been joined.
            self.echoed.fetch_add(echoed, Ordering::Relaxed);
            if is_closed {
                *place = None;
                // Ordering: Relaxed: a count; publishes nothing.
                let open = self.open.fetch_sub(1, Ordering::Relaxed) - 1;
                if open == 0 {
                    closing.say();
                }
            }
        }
        Ok(())
    }
}

/// Echoes until nothing is there; how much, and whether the client has closed the connection.
fn echo(stream: &mut TcpStream) -> io::Result<(usize, bool)> {
    let mut buffer = [0; ECHO_BUFFER];
    let mut echoed = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((echoed, true)),
            Ok(read) => {
                stream.write_all(&buffer[..read])?;
                echoed += read;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((echoed, false)),
            Err(error) => return Err(error),
        }
    }
}

fn measure_by_turns(crowd: Crowd, scale: &Scale) -> Outcome {
    let connections = scale.plan.connections;
    measure(&with_longer_warm_up(scale), false, |listener| {
        let counter = Counter::open(connections)?;
        let closing = Closing::default();
        let done = thread::scope(|scope| {
            let (counter, closing) = (&counter, &closing);
            let work = |worker| scope.spawn(move || counter.stand_at(worker, crowd, closing));
            let threads: Vec<_> = (0..scale.workers).map(work).collect();
            let accepted = counter.accept_all(&listener);
            if accepted.is_err() {
                closing.say();
            }
            let mut done = Vec::new();
            for thread in threads {
                done.extend(thread.join().expect("a computation does not panic")?);
            }
            accepted.map(|()| done)
        })?;
        Ok((counter.echoed.into_inner() as u64, add_up(&done)?))
    })
}
