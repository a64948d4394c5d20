//! A thousand runtimes, one after the other, leave no thread and no file descriptor behind. Alone in its process: it counts them.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use eddies::{Runtime, spawn, spawn_blocking};

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn cycle(round: usize) {
    let runtime = Runtime::builder().workers(1 + round % 3).build().unwrap();
    runtime.block_on(async {
        let listener = eddies::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.writable().await.unwrap();
            stream.try_write(b"x").unwrap();
            // Stays open, and waits, until the runtime ends it.
            std::future::pending::<()>().await;
        });
        let reply = spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.flush().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            byte[0]
        });
        assert_eq!(reply.await.unwrap(), b'x');
        drop(task);
        drop(spawn(eddies::sleep(Duration::from_secs(3600))));
    });
    if round.is_multiple_of(2) {
        runtime.shutdown(Duration::from_secs(20)).unwrap();
    }
}

/// Threads and descriptors of this process, as soon as there are so many threads. A thread that has been joined may stand in /proc for a moment longer.
fn settled(threads: usize) -> (usize, usize) {
    let now = || (count("/proc/self/task"), count("/proc/self/fd"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if now().0 == threads {
            break;
        }
        std::thread::yield_now();
    }
    now()
}

#[test]
fn a_thousand_runtimes_leak_no_thread_and_no_descriptor() {
    let threads = count("/proc/self/task");
    for round in 0..10 {
        cycle(round);
    }
    let before = settled(threads);
    assert_eq!(before.0, threads, "threads after ten runtimes");
    for round in 0..1_000 {
        cycle(round);
    }
    assert_eq!(settled(threads), before, "(threads, descriptors)");
}
