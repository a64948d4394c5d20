//! Nothing starves: against each kind of endless work every other kind goes on.
//!
//! An *aggressor* works without an end: tasks that wake themselves, callbacks that queue the next, a socket that is always ready, and so on.
//! Beside it a driver asks each *lane* (a task, a timer, a socket, a callback, ...) for some rounds, one after the other. No clock decides: the
//! aggressor counts its own rounds, and the most of them that pass during one round of a lane have a bound. An aggressor that gets too far ahead
//! stops by itself, so that a lane that starves ends the test and names itself.
//!
//! Where a lane waits for nothing but its turn in the queues of a single loop, the bound is a small multiple of the aggressor's size
//! ([`Ahead::turns`]). Where it also waits for the kernel or the clock, or another thread runs the aggressor meanwhile, the bound
//! ([`Ahead::EVER`]) only tells slow from never.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::{TcpListener, TcpStream};
use eddies::sync::{Receiver, UnboundedSender, oneshot, unbounded_channel};
use eddies::{EventLoop, LoopHandle, Runtime, Task, sleep, spawn, spawn_blocking, spawn_local, yield_now};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

/// Rounds of each lane.
const ROUNDS: usize = 12;

/// What the aggressor has done.
struct Aggression {
    rounds: AtomicUsize,
    /// Its rounds when the lane that is being asked was asked.
    asked_at: AtomicUsize,
    is_over: AtomicBool,
    /// It got too far ahead.
    has_starved: AtomicBool,
}

/// How far an aggressor may get ahead.
struct Ahead;

impl Ahead {
    /// In one round that waits for the kernel, the clock or another thread: seconds.
    const EVER: usize = 20_000_000;

    /// In one round that only takes turns: a few passes through queues with all of an aggressor's tasks in them, `size`, and some more for what
    /// comes between two looks at an inbox.
    fn turns(size: usize) -> usize {
        6 * size + 500
    }
}

/// Tasks or chains of an aggressor, mostly.
const MANY: usize = 200;

impl Aggression {
    fn new() -> Arc<Self> {
        Arc::new(Aggression {
            rounds: AtomicUsize::new(0),
            asked_at: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            has_starved: AtomicBool::new(false),
        })
    }

    /// One round of the aggressor. `false`: it is to end.
    fn goes_on(&self) -> bool {
        let rounds = self.rounds.fetch_add(1, SeqCst);
        if rounds.saturating_sub(self.asked_at.load(SeqCst)) > Ahead::EVER {
            self.has_starved.store(true, SeqCst);
            self.end();
        }
        !self.is_over.load(SeqCst)
    }

    fn end(&self) {
        self.is_over.store(true, SeqCst);
    }

    fn ask(&self) -> usize {
        let rounds = self.rounds.load(SeqCst);
        self.asked_at.store(rounds, SeqCst);
        rounds
    }

    /// Lets the aggressor begin, without which there is nothing to be fair against.
    async fn has_begun(&self) {
        while self.rounds.load(SeqCst) == 0 {
            yield_now().await;
        }
    }
}

// ---- the lanes -------------------------------------------------------------------------------------------------------------------

/// Answers whoever asks, until nobody can any more.
async fn answer(mut asked: Receiver<eddies::sync::OneshotSender<()>>) {
    while let Some(reply) = asked.recv().await {
        reply.send(()).unwrap();
    }
}

type Ask = UnboundedSender<eddies::sync::OneshotSender<()>>;

/// Asks an [`answer`]er, and waits for the reply.
async fn ask(whom: &Ask) {
    let (reply, replied) = oneshot();
    whom.send(reply).unwrap();
    replied.await.unwrap();
}

async fn echo(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        stream.write_all(&byte).await.unwrap();
    }
}

/// Whom the driver asks.
struct Lanes {
    aggression: Arc<Aggression>,
    handle: LoopHandle,
    /// A local task, and the main future: they are on the thread of `block_on`.
    local: Ask,
    main: Ask,
    /// How far the aggressor may get ahead in a round that only takes turns.
    turns: usize,
}

impl Lanes {
    /// `ROUNDS` rounds of one lane, during each of which the aggressor makes at most `bound`.
    async fn lane<F: Future<Output = ()>>(&self, name: &str, bound: usize, mut round: impl FnMut() -> F) {
        let mut most = 0;
        for _ in 0..ROUNDS {
            let before = self.aggression.ask();
            round().await;
            most = most.max(self.aggression.rounds.load(SeqCst) - before);
        }
        assert!(!self.aggression.has_starved.load(SeqCst), "{name} starves");
        assert!(most <= bound, "{name}: the aggressor got {most} rounds ahead, {bound} are fair");
    }

    /// Every lane in turn, then the end of the aggressor.
    async fn drive(self) {
        /// Ends the aggressor also when an assertion fails.
        struct End(Arc<Aggression>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        let _end = End(self.aggression.clone());
        self.aggression.has_begun().await;
        self.lane("a task that yields", self.turns, yield_now).await;
        self.lane("a new task", self.turns, || async { spawn(async {}).await.unwrap() }).await;
        self.lane("a local task", self.turns, || ask(&self.local)).await;
        self.lane("the main future", self.turns, || ask(&self.main)).await;
        let callback = || async {
            let (tell, called) = oneshot();
            self.handle.call_soon_threadsafe(move || tell.send(()).unwrap()).unwrap();
            called.await.unwrap();
        };
        self.lane("a callback", self.turns, callback).await;
        self.lane("a timer", Ahead::EVER, || sleep(Duration::from_millis(1))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(echo(listener));
        let client = eddies::sync::Lock::new(TcpStream::connect(address).await.unwrap());
        let echoed = || async {
            let mut client = client.lock().await;
            client.write_all(&[7]).await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        };
        self.lane("a socket", Ahead::EVER, echoed).await;
        drop(client);
        self.lane("a blocking job", Ahead::EVER, || async { spawn_blocking(|| ()).await.unwrap() }).await;
        let outside = || async {
            let (tell, told) = oneshot();
            let handle = self.handle.clone();
            let thread = thread::spawn(move || drop(handle.spawn(async move { tell.send(()).unwrap() })));
            told.await.unwrap();
            thread.join().unwrap();
        };
        self.lane("a task from outside", Ahead::EVER, outside).await;
        self.aggression.end();
        server.await.unwrap();
    }
}

// ---- where it happens ------------------------------------------------------------------------------------------------------------

/// What begins an aggressor, from inside of the runtime, on the main future's thread.
type Begin = fn(&Arc<Aggression>) -> Vec<Task<()>>;

/// What the main future does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Main {
    /// It waits until it is asked.
    Waits,
    /// It yields for ever, and is the aggressor.
    Yields,
}

async fn contest(begin: Begin, turns: usize, main: Main) {
    let aggression = Aggression::new();
    let (ask_local, of_local) = unbounded_channel();
    let (ask_main, mut of_main) = unbounded_channel();
    let lanes = Lanes {
        aggression: aggression.clone(),
        handle: LoopHandle::current(),
        local: ask_local,
        main: ask_main,
        turns,
    };
    let local = spawn_local(answer(of_local));
    let tasks = begin(&aggression);
    let driver = spawn(lanes.drive());
    if main == Main::Yields {
        while !driver.is_finished() {
            aggression.goes_on();
            if let Ok(reply) = of_main.try_recv() {
                let reply: eddies::sync::OneshotSender<()> = reply;
                reply.send(()).unwrap();
            }
            yield_now().await;
        }
    } else {
        answer(of_main).await;
    }
    let outcome = driver.await;
    aggression.end();
    for task in tasks {
        task.await.unwrap();
    }
    local.await.unwrap();
    outcome.unwrap();
    assert!(aggression.rounds.load(SeqCst) > ROUNDS, "there was nothing to be fair against");
}

/// On one worker and on two, on an event loop and on one with a peer. The aggressor has so many tasks, or the like, at a time.
fn everywhere(size: usize, begin: Begin, main: Main) {
    everywhere_within(Ahead::turns(size), begin, main);
}

/// As `everywhere`; on one loop the aggressor may get `turns` ahead.
fn everywhere_within(turns: usize, begin: Begin, main: Main) {
    // What is counted exactly: on one loop nothing runs beside the lane.
    Runtime::builder().workers(1).build().unwrap().block_on(contest(begin, turns, main));
    EventLoop::new().unwrap().run_until_complete(contest(begin, turns, main)).unwrap();
    Runtime::builder().workers(2).build().unwrap().block_on(contest(begin, Ahead::EVER, main));
    let event_loop = Runtime::builder().workers(2).build_event_loop().unwrap();
    event_loop.run_until_complete(contest(begin, Ahead::EVER, main)).unwrap();
}

// ---- the aggressors --------------------------------------------------------------------------------------------------------------

async fn yield_for_ever(aggression: Arc<Aggression>) {
    while aggression.goes_on() {
        yield_now().await;
    }
}

#[test]
fn tasks_that_wake_themselves() {
    everywhere(MANY, |aggression| (0..MANY).map(|_| spawn(yield_for_ever(aggression.clone()))).collect(), Main::Waits);
}

/// Long enough for the loop to look at its reactor before each poll.
fn compute() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(400) {
        std::hint::spin_loop();
    }
}

#[test]
fn tasks_that_compute_and_yield() {
    async fn compute_for_ever(aggression: Arc<Aggression>) {
        while aggression.goes_on() {
            compute();
            yield_now().await;
        }
    }
    everywhere(8, |aggression| (0..8).map(|_| spawn(compute_for_ever(aggression.clone()))).collect(), Main::Waits);
}

/// Bytes that tasks which compute write to one that reads, one at a time.
struct Post {
    theirs: std::os::unix::net::UnixStream,
    polls: AtomicUsize,
    /// The poll in which the last byte was written; 0 when it has been read.
    written_in: AtomicUsize,
    is_over: AtomicBool,
}

impl Post {
    async fn compute_and_write(self: Arc<Self>) {
        while !self.is_over.load(SeqCst) {
            let poll = self.polls.fetch_add(1, SeqCst) + 1;
            compute();
            if self.written_in.compare_exchange(0, poll, SeqCst, SeqCst).is_ok() {
                (&self.theirs).write_all(&[7]).unwrap();
            }
            yield_now().await;
        }
    }

    /// How many polls each byte waited for.
    async fn read(self: Arc<Self>, ours: std::os::unix::net::UnixStream, bytes: usize) -> Vec<usize> {
        let mut stream = eddies::net::UnixStream::from_std(ours).unwrap();
        let mut waited = Vec::new();
        for _ in 0..bytes {
            stream.read_exact(&mut [0]).await.unwrap();
            waited.push(self.polls.load(SeqCst) - self.written_in.load(SeqCst));
            self.written_in.store(0, SeqCst);
        }
        self.is_over.store(true, SeqCst);
        waited
    }
}

/// What becomes ready while a task computes is served after that one poll, and not after one of each task that computes. They write the bytes
/// themselves: no other thread has a part in it.
#[test]
fn an_answer_waits_for_one_computation_and_not_for_all() {
    const COMPUTE: usize = 8;
    const BYTES: usize = 200;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (polls, written_in, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let post = Arc::new(Post { theirs, polls, written_in, is_over });
    let runtime = Runtime::builder().workers(1).spare_workers(0).build().unwrap();
    let waited = runtime.block_on(async {
        for _ in 0..COMPUTE {
            spawn(post.clone().compute_and_write());
        }
        spawn(post.clone().read(ours, BYTES)).await.unwrap()
    });
    // The first ones pass before the loop has learnt that polls are long here.
    let late = waited[BYTES / 4..].iter().filter(|&&polls| polls > 1).count();
    assert_eq!(late, 0, "so many computations came before the answers: {waited:?}");
}

#[test]
fn local_tasks_that_wake_themselves() {
    everywhere(
        MANY,
        |aggression| (0..MANY).map(|_| spawn_local(yield_for_ever(aggression.clone()))).collect(),
        Main::Waits,
    );
}

#[test]
fn a_main_future_that_yields_for_ever() {
    everywhere(1, |_| Vec::new(), Main::Yields);
}

/// One side of a table: waits for the ball, and gives it to the other.
async fn paddle(aggression: Arc<Aggression>, side: usize, table: Arc<Mutex<(usize, [Option<Waker>; 2])>>) {
    poll_fn(|cx| {
        let mut table = table.lock().unwrap();
        let is_over = table.0 == side && !aggression.goes_on() || aggression.is_over.load(SeqCst);
        if is_over || table.0 == side {
            table.0 = 1 - side;
            let other = table.1[1 - side].take();
            table.1[side] = Some(cx.waker().clone());
            drop(table);
            // Onto the run-next slot, which is empty: the other one is polled next.
            other.into_iter().for_each(Waker::wake);
        } else {
            table.1[side] = Some(cx.waker().clone());
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_pair_that_wakes_one_another_through_the_run_next_slot() {
    let begin: Begin = |aggression| {
        let table = Arc::new(Mutex::new((0, [None, None])));
        (0..2).map(|side| spawn(paddle(aggression.clone(), side, table.clone()))).collect()
    };
    everywhere(MANY, begin, Main::Waits);
    // And with others that wake themselves.
    let begin: Begin = |aggression| {
        let table = Arc::new(Mutex::new((0, [None, None])));
        let mut tasks: Vec<_> = (0..2).map(|side| spawn(paddle(aggression.clone(), side, table.clone()))).collect();
        tasks.extend((0..8).map(|_| spawn(yield_for_ever(aggression.clone()))));
        tasks
    };
    everywhere(MANY, begin, Main::Waits);
}

/// A callback that queues itself again, from whatever thread.
fn call_again(handle: LoopHandle, aggression: Arc<Aggression>) {
    if aggression.goes_on() {
        let again = handle.clone();
        // The loop may be gone when the last one comes.
        let _ = handle.call_soon_threadsafe(move || call_again(again, aggression));
    }
}

#[test]
fn callbacks_that_queue_the_next() {
    let begin: Begin = |aggression| {
        for _ in 0..MANY {
            call_again(LoopHandle::current(), aggression.clone());
        }
        Vec::new()
    };
    everywhere(MANY, begin, Main::Waits);
}

#[test]
fn local_callbacks_that_queue_the_next() {
    fn again(event_loop: Rc<EventLoop>, aggression: Arc<Aggression>) {
        if aggression.goes_on() {
            let next = event_loop.clone();
            event_loop.call_soon(move || again(next, aggression)).unwrap();
        }
    }
    let begin: Begin = |aggression| {
        let event_loop = Rc::new(eddies::get_running_loop().unwrap());
        for _ in 0..MANY {
            again(event_loop.clone(), aggression.clone());
        }
        Vec::new()
    };
    everywhere(MANY, begin, Main::Waits);
}

/// Two threads that keep some jobs queued: `queue` is given one after the other.
async fn flood(aggression: Arc<Aggression>, queue: fn(&LoopHandle, Box<dyn FnOnce() + Send>)) {
    let push = move |handle: LoopHandle, aggression: Arc<Aggression>| {
        let queued = Arc::new(AtomicUsize::new(0));
        while !aggression.is_over.load(SeqCst) {
            if queued.load(SeqCst) >= MANY / 2 {
                thread::yield_now();
                continue;
            }
            queued.fetch_add(1, SeqCst);
            let (aggression, queued) = (aggression.clone(), queued.clone());
            let job = move || {
                queued.fetch_sub(1, SeqCst);
                aggression.goes_on();
            };
            queue(&handle, Box::new(job));
        }
    };
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (handle, aggression) = (LoopHandle::current(), aggression.clone());
            thread::spawn(move || push(handle, aggression))
        })
        .collect();
    while !aggression.is_over.load(SeqCst) {
        sleep(Duration::from_millis(1)).await;
    }
    spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap())).await.unwrap();
}

#[test]
fn callbacks_from_other_threads() {
    let begin: Begin = |aggression| {
        vec![spawn(flood(aggression.clone(), |handle, job| drop(handle.call_soon_threadsafe(job).unwrap())))]
    };
    everywhere(MANY, begin, Main::Waits);
}

#[test]
fn tasks_from_other_threads() {
    let begin: Begin =
        |aggression| vec![spawn(flood(aggression.clone(), |handle, job| drop(handle.spawn(async { job() }))))];
    everywhere(MANY, begin, Main::Waits);
}

#[test]
fn a_socket_that_is_always_ready() {
    /// Reads byte by byte what a thread writes in large pieces: there is always more.
    async fn read(aggression: Arc<Aggression>) {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let of_thread = aggression.clone();
        let writer = thread::spawn(move || {
            while !of_thread.is_over.load(SeqCst) {
                if theirs.write_all(&[7; 1 << 14]).is_err() {
                    return;
                }
            }
        });
        let mut stream = eddies::net::UnixStream::from_std(ours).unwrap();
        let mut byte = [0];
        while aggression.goes_on() {
            stream.read_exact(&mut byte).await.unwrap();
        }
        drop(stream);
        spawn_blocking(|| writer.join().unwrap()).await.unwrap();
    }
    // A poll makes as many rounds as it has budget.
    everywhere(4 * 128, |aggression| (0..4).map(|_| spawn(read(aggression.clone()))).collect(), Main::Waits);
}

#[test]
fn a_storm_of_timers() {
    async fn storm(aggression: Arc<Aggression>) {
        while aggression.goes_on() {
            // The next tick of the wheel: with so many of them, some are always due.
            sleep(Duration::from_micros(10)).await;
        }
    }
    everywhere(5 * MANY, |aggression| (0..5 * MANY).map(|_| spawn(storm(aggression.clone()))).collect(), Main::Waits);
}

#[test]
fn a_flood_of_blocking_jobs() {
    fn job(handle: LoopHandle, aggression: Arc<Aggression>) {
        if aggression.goes_on() {
            let again = handle.clone();
            drop(handle.spawn_blocking(move || job(again, aggression)));
        }
    }
    let begin: Begin = |aggression| {
        for _ in 0..MANY {
            job(LoopHandle::current(), aggression.clone());
        }
        Vec::new()
    };
    // The pool's threads run beside the loop, also when the kernel lets the loop's wait.
    everywhere_within(Ahead::EVER, begin, Main::Waits);
}

#[test]
fn two_threads_that_block_on_one_runtime() {
    // The second has no seat; its main future goes on although the first never stops yielding.
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let aggression = Aggression::new();
    thread::scope(|scope| {
        let (tell, seated) = std::sync::mpsc::channel();
        let (runtime, aggression) = (&runtime, &aggression);
        scope.spawn(move || {
            runtime.block_on(async {
                tell.send(()).unwrap();
                yield_for_ever(aggression.clone()).await;
            });
        });
        seated.recv().unwrap();
        let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        runtime.block_on(async move {
            let mut server = eddies::net::UnixStream::from_std(server).unwrap();
            for _ in 0..ROUNDS {
                aggression.ask();
                yield_now().await;
                spawn(async {}).await.unwrap();
                sleep(Duration::from_millis(1)).await;
                server.write_all(&[7]).await.unwrap();
            }
        });
        client.read_exact(&mut [0; ROUNDS]).unwrap();
        aggression.end();
        assert!(!aggression.has_starved.load(SeqCst));
    });
}
