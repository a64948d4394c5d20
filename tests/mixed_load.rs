//! Everything at once, from a seed: an echo server with clients that are threads, timers, trees of spawns, blocking jobs, channels, long polls,
//! `block_in_place`, cancellations. Every request is answered once and in its order, every timer fires once and not early, every task ends, and
//! when the runtimes are gone so are their threads.
//!
//! It lasts five seconds, or `EDDIES_MIXED_SECONDS`: `.ci/run` says 30, and the deep mode is 600. The seed is printed; `EDDIES_MIXED_SEED` sets it. What is drawn from
//! it is the work, not the order of the threads: a seed that failed is a hint.

use std::collections::hash_map::RandomState;
use std::future::{Future, pending};
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::{TcpListener, TcpStream};
use eddies::sync::channel;
use eddies::{
    LoopHandle, Runtime, block_in_place, sleep_until, spawn, spawn_blocking, spawn_local, timeout, yield_now,
};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

/// Far beyond any delay of a loaded machine.
const NEVER: Duration = Duration::from_secs(60);

/// How long one runtime lives. Many do, so that their threads' ends are tested too.
const LIFE: Duration = Duration::from_millis(1_200);

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn fork(&mut self) -> Draw {
        Draw(self.below(u64::MAX))
    }

    fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }
}

/// What was begun and what was ended, of each kind.
#[derive(Default)]
struct Book {
    is_over: AtomicBool,
    begun: [AtomicU64; KINDS.len()],
    ended: [AtomicU64; KINDS.len()],
}

const KINDS: [&str; 8] = ["requests", "timers", "trees", "jobs", "messages", "long polls", "lends", "cancellations"];
const REQUEST: usize = 0;
const TIMER: usize = 1;
const TREE: usize = 2;
const JOB: usize = 3;
const MESSAGE: usize = 4;
const LONG_POLL: usize = 5;
const LEND: usize = 6;
const CANCELLATION: usize = 7;

impl Book {
    fn begin(&self, kind: usize) {
        self.begun[kind].fetch_add(1, SeqCst);
    }

    fn end(&self, kind: usize) {
        self.ended[kind].fetch_add(1, SeqCst);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }
}

// ---- requests --------------------------------------------------------------------------------------------------------------------

/// A request: its number, and how long the server is to wait before the answer, in tenths of a millisecond.
const REQUEST_BYTES: usize = 16;

async fn serve_one(mut stream: TcpStream, mut draw: Draw) {
    let mut request = [0; REQUEST_BYTES];
    while stream.read_exact(&mut request).await.is_ok() {
        match draw.below(8) {
            0 => sleep_until(Instant::now() + draw.ms(0, 2)).await,
            1 => spawn(yield_now()).await.unwrap(),
            2 => spawn_blocking(|| ()).await.unwrap(),
            3 => drop(timeout(Duration::from_millis(1), pending::<()>()).await),
            _ => {}
        }
        stream.write_all(&request).await.unwrap();
    }
}

async fn serve(listener: TcpListener, mut draw: Draw) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(spawn(serve_one(stream, draw.fork())));
    }
}

/// A thread that sends a few requests at a time and reads as many answers.
fn client(address: SocketAddr, book: &Book, mut draw: Draw) {
    let mut stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    let mut number = 0_u128;
    while !book.is_over() {
        let first = number;
        for _ in 0..1 + draw.below(4) {
            book.begin(REQUEST);
            stream.write_all(&number.to_le_bytes()).unwrap();
            number += 1;
        }
        for expected in first..number {
            let mut answer = [0; REQUEST_BYTES];
            stream.read_exact(&mut answer).expect("a request was not answered");
            assert_eq!(u128::from_le_bytes(answer), expected, "an answer twice, or out of order");
            book.end(REQUEST);
        }
        if draw.below(4) == 0 {
            thread::sleep(Duration::from_micros(draw.below(800)));
        }
    }
    // Nothing is left on its way: an answer too many would be read here.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "an answer too many");
}

// ---- the rest --------------------------------------------------------------------------------------------------------------------

async fn timers(book: Arc<Book>, mut draw: Draw) {
    while !book.is_over() {
        let tasks: Vec<_> = (0..1 + draw.below(20))
            .map(|_| {
                let (book, wait) = (book.clone(), Duration::from_micros(draw.below(6_000)));
                spawn(async move {
                    book.begin(TIMER);
                    let deadline = Instant::now() + wait;
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline, "a timer fired early");
                    book.end(TIMER);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

/// The number of leaves below.
fn tree(depth: u64, mut draw: Draw) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return 1;
        }
        let children: Vec<_> = (0..3).map(|_| spawn(tree(depth - 1, draw.fork()))).collect();
        if draw.below(3) == 0 {
            yield_now().await;
        }
        let mut leaves = 0;
        for child in children {
            leaves += child.await.unwrap();
        }
        leaves
    })
}

async fn trees(book: Arc<Book>, mut draw: Draw) {
    while !book.is_over() {
        let depth = 1 + draw.below(4);
        book.begin(TREE);
        assert_eq!(tree(depth, draw.fork()).await, 3_u64.pow(depth as u32));
        book.end(TREE);
        sleep_until(Instant::now() + draw.ms(0, 3)).await;
    }
}

async fn jobs(book: Arc<Book>, mut draw: Draw) {
    while !book.is_over() {
        let jobs: Vec<_> = (0..1 + draw.below(6))
            .map(|i| {
                book.begin(JOB);
                let pause = Duration::from_micros(draw.below(2_000));
                spawn_blocking(move || {
                    thread::sleep(pause);
                    i
                })
            })
            .collect();
        for (i, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.await.unwrap(), i as u64);
            book.end(JOB);
        }
    }
}

async fn messages(book: Arc<Book>, mut draw: Draw) {
    let (send, mut receive) = channel(1 + draw.below(8) as usize);
    let of_sender = book.clone();
    let sender = spawn(async move {
        let mut number = 0_u64;
        while !of_sender.is_over() {
            for _ in 0..draw.below(50) {
                of_sender.begin(MESSAGE);
                send.send(number).await.unwrap();
                number += 1;
            }
            sleep_until(Instant::now() + draw.ms(0, 2)).await;
        }
    });
    let mut expected = 0;
    while let Some(number) = receive.recv().await {
        assert_eq!(number, expected, "a message twice, lost, or out of order");
        expected += 1;
        book.end(MESSAGE);
    }
    sender.await.unwrap();
}

fn hold(draw: &mut Draw) {
    let length = draw.ms(1, 20);
    if draw.below(2) == 0 {
        return thread::sleep(length);
    }
    let begin = Instant::now();
    while begin.elapsed() < length {
        std::hint::spin_loop();
    }
}

/// Holds whatever worker it runs on, and what it has woken and armed before must not wait for that.
async fn long_polls(book: Arc<Book>, mut draw: Draw) {
    while !book.is_over() {
        book.begin(LONG_POLL);
        let behind: Vec<_> = (0..draw.below(4)).map(|_| spawn(yield_now())).collect();
        hold(&mut draw);
        for task in behind {
            task.await.unwrap();
        }
        book.end(LONG_POLL);
        sleep_until(Instant::now() + draw.ms(1, 15)).await;
    }
}

async fn lends(book: Arc<Book>, mut draw: Draw) {
    while !book.is_over() {
        book.begin(LEND);
        let (tell, told) = mpsc::channel();
        let task = spawn(async move { tell.send(()).unwrap() });
        if draw.below(2) == 0 {
            block_in_place(|| told.recv_timeout(NEVER)).expect("nobody took over from a lent loop");
        } else {
            let answer = block_in_place(|| LoopHandle::current().block_on(async { spawn(async { 7 }).await.unwrap() }));
            assert_eq!(answer, 7);
        }
        task.await.unwrap();
        book.end(LEND);
        sleep_until(Instant::now() + draw.ms(1, 10)).await;
    }
}

async fn cancellations(book: Arc<Book>, mut draw: Draw) {
    /// Counts the drop of a future.
    struct Ends(Arc<Book>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.end(CANCELLATION);
        }
    }
    while !book.is_over() {
        let tasks: Vec<_> = (0..1 + draw.below(8))
            .map(|_| {
                book.begin(CANCELLATION);
                let (ends, wait) = (Ends(book.clone()), draw.ms(0, 3));
                spawn(async move {
                    let _ends = ends;
                    sleep_until(Instant::now() + wait).await;
                    pending::<()>().await;
                })
            })
            .collect();
        sleep_until(Instant::now() + draw.ms(0, 4)).await;
        for task in tasks {
            if draw.below(2) == 0 {
                task.abort()
            } else {
                _ = task.cancel(None)
            }
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
}

// ---- all of it -------------------------------------------------------------------------------------------------------------------

/// A local task that must stay on its thread, beside all that is stolen from it.
async fn stays(book: Arc<Book>, mut draw: Draw) {
    let here = thread::current().id();
    while !book.is_over() {
        sleep_until(Instant::now() + draw.ms(0, 3)).await;
        yield_now().await;
        assert_eq!(thread::current().id(), here);
    }
}

/// The main future of one runtime's life.
async fn mix(book: Arc<Book>, draw: &mut Draw, has_peers: bool, life: Duration) {
    let end = Instant::now() + life;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(serve(listener, draw.fork()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (book, draw) = (book.clone(), draw.fork());
            thread::spawn(move || client(address, &book, draw))
        })
        .collect();
    let mut tasks = vec![
        spawn_local(stays(book.clone(), draw.fork())),
        spawn(timers(book.clone(), draw.fork())),
        spawn(trees(book.clone(), draw.fork())),
        spawn(jobs(book.clone(), draw.fork())),
        spawn(messages(book.clone(), draw.fork())),
        spawn(cancellations(book.clone(), draw.fork())),
    ];
    tasks.extend((0..1 + draw.below(3)).map(|_| spawn(long_polls(book.clone(), draw.fork()))));
    if has_peers {
        // One: of two, each might hold the thread that the other waits for.
        tasks.push(spawn(lends(book.clone(), draw.fork())));
    }
    sleep_until(end).await;
    book.is_over.store(true, SeqCst);
    for task in tasks {
        timeout(NEVER, task).await.expect("a task does not end").unwrap();
    }
    let joined = spawn_blocking(|| clients.into_iter().for_each(|client| client.join().unwrap()));
    timeout(NEVER, joined).await.expect("a client does not end").unwrap();
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
}

/// One runtime, from its beginning to its end. What it did.
fn live(draw: &mut Draw, life: Duration) -> [u64; KINDS.len()] {
    let (workers, spares) = (1 + draw.below(4) as usize, draw.below(5) as usize);
    let runtime = Runtime::builder().workers(workers).spare_workers(spares).slow_poll(Duration::MAX).build().unwrap();
    let book = Arc::new(Book::default());
    runtime.block_on(mix(book.clone(), draw, workers + spares > 1, life));
    runtime.shutdown(NEVER).unwrap();
    let counts = |of: &[AtomicU64; KINDS.len()]| std::array::from_fn(|kind| of[kind].load(SeqCst));
    let (begun, ended): ([u64; KINDS.len()], [u64; KINDS.len()]) = (counts(&book.begun), counts(&book.ended));
    for (kind, name) in KINDS.iter().enumerate() {
        assert_eq!(begun[kind], ended[kind], "{name}: {workers} workers, {spares} spare ones");
    }
    ended
}

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> usize {
    0
}

#[test]
fn everything_that_begins_ends_once() {
    let from_environment = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = from_environment("EDDIES_MIXED_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let whole = Duration::from_secs(from_environment("EDDIES_MIXED_SECONDS").unwrap_or(5));
    println!("EDDIES_MIXED_SEED={seed}");
    let mut draw = Draw(seed);
    let before = threads();
    let begin = Instant::now();
    let (mut done, mut lives) = ([0; KINDS.len()], 0);
    while begin.elapsed() < whole {
        let did = live(&mut draw, LIFE);
        done.iter_mut().zip(did).for_each(|(sum, count)| *sum += count);
        lives += 1;
    }
    assert!(done[..LEND].iter().all(|&count| count > 0), "{done:?}");
    // A thread that was joined may take a moment to vanish.
    let give_up = Instant::now() + NEVER;
    while threads() > before {
        assert!(Instant::now() < give_up, "{} threads leaked", threads() - before);
        thread::yield_now();
    }
    let summary: Vec<String> = KINDS.iter().zip(done).map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("{lives} runtimes: {}", summary.join(", "));
}
