//! Many at once: ten thousand connections of which a hundred are active, a million pending tasks, a hundred thousand timers. Bounded in
//! count, on loopback.

use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use eddies::net::{TcpListener, TcpStream};
use eddies::{Runtime, spawn};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of descriptors as far as it goes, up to `wanted`; how far that is.
fn descriptors(wanted: u64) -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let possible = wanted.min(hard);
    if soft < possible {
        setrlimit(Resource::RLIMIT_NOFILE, possible, hard).unwrap();
    }
    possible.max(soft)
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Set in the process that plays the clients: the address to connect to.
const CLIENT_OF: &str = "EDDIES_TEST_CLIENT_OF";

const CONNECTIONS: usize = 10_000;

/// The clients: connect, let a hundred at a time have an echo, others in each round, and go away.
fn clients(address: &str) {
    const ACTIVE: usize = 100;
    const ROUNDS: usize = 20;
    let mut streams: Vec<StdStream> = (0..CONNECTIONS).map(|_| StdStream::connect(address).unwrap()).collect();
    for round in 0..ROUNDS {
        let active = (0..ACTIVE).map(|i| (i * (CONNECTIONS / ACTIVE) + round * 7) % CONNECTIONS);
        for i in active.clone() {
            streams[i].write_all(&[i as u8; 16]).unwrap();
        }
        for i in active {
            let mut reply = [0; 16];
            streams[i].read_exact(&mut reply).unwrap();
            assert_eq!(reply, [i as u8; 16]);
        }
    }
}

#[test]
fn ten_thousand_connections_with_a_hundred_active() {
    let possible = descriptors(CONNECTIONS as u64 + 500);
    assert!(possible > CONNECTIONS as u64, "needs `ulimit -n` above {CONNECTIONS}, and the hard limit is {possible}");
    if let Ok(address) = std::env::var(CLIENT_OF) {
        return clients(&address);
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    let (tell, address) = std::sync::mpsc::channel();
    drop(runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, SeqCst);
            drop(spawn(echo(stream)));
        }
    }));
    // A process of their own, for their half of the descriptors.
    let clients = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ten_thousand_connections_with_a_hundred_active"])
        .env(CLIENT_OF, address.recv().unwrap().to_string())
        .output()
        .unwrap();
    assert!(clients.status.success(), "{}", String::from_utf8_lossy(&clients.stdout));
    assert_eq!(served.load(SeqCst), CONNECTIONS);
    runtime.shutdown(Duration::from_secs(60)).unwrap();
}

#[test]
fn a_million_pending_tasks() {
    const TASKS: usize = 1_000_000;
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        for _ in 0..TASKS {
            let count = Count(dropped.clone());
            drop(spawn(async move {
                let _count = count;
                pending::<()>().await;
            }));
        }
        assert_eq!(spawn(async { 5 }).await.unwrap(), 5, "new work gets through");
    });
    assert_eq!(runtime.handle().live_tasks(), TASKS);
    assert_eq!(dropped.load(SeqCst), 0);
    runtime.shutdown(Duration::from_secs(120)).unwrap();
    assert_eq!(dropped.load(SeqCst), TASKS);
}

#[test]
fn a_hundred_thousand_timers_fire_and_none_early() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100_000_u64)
            .map(|i| {
                spawn(async move {
                    let deadline = Instant::now() + Duration::from_micros(500 + (i * 37) % 20_000);
                    eddies::sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}
