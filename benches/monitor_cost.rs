//! A loop that is always busy, to see what the monitor costs it: yields, or an echo between two tasks, on one worker. `scripts/monitor_cost.sh` runs it,
//! with the monitor (`EDDIES_SLOW_POLL=60s`) and without (`off`), and counts instructions.
//!
//! `monitor_cost yields|echo N` prints how long N of them took, and how long the monitor's thread had a CPU meanwhile.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use eddies::net::UnixStream;
use eddies::{Runtime, spawn, yield_now};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// The CPU time of the thread whose name ends in "-monitor". Linux only; none elsewhere.
fn monitor_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_monitor = threads
        .map(|thread| thread.path())
        .find(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end().ends_with("-monitor")));
    let figures = of_monitor.and_then(|thread| fs::read_to_string(thread.join("schedstat")).ok());
    let ns = figures.and_then(|figures| figures.split(' ').next().and_then(|ns| ns.parse().ok()));
    Duration::from_nanos(ns.unwrap_or(0))
}

async fn yields(count: u64) {
    for _ in 0..count {
        yield_now().await;
    }
}

async fn echo(count: u64) {
    let (mut client, mut server) = UnixStream::pair().expect("two descriptors are left");
    let server = spawn(async move {
        let mut message = [0; 64];
        while server.read_exact(&mut message).await.is_ok() {
            server.write_all(&message).await.expect("the client is there");
        }
    });
    let mut message = [7; 64];
    for _ in 0..count {
        client.write_all(&message).await.expect("the server is there");
        client.read_exact(&mut message).await.expect("the server answers");
    }
    drop(client);
    server.await.expect("the server does not panic");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let asked = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["yields", count] => count.parse().ok().map(|count| (true, count)),
        ["echo", count] => count.parse().ok().map(|count| (false, count)),
        _ => None,
    };
    let Some((is_yields, count)) = asked else {
        eprintln!("expected: yields|echo, and a number");
        return ExitCode::from(2);
    };
    // The C library saves itself work, in read and write for one, while a process has one thread. That is not the monitor's doing.
    thread::spawn(thread::park);
    let runtime = Runtime::builder().workers(1).thread_name("cost").build().expect("a runtime can be built");
    let begin = Instant::now();
    runtime.block_on(async move {
        let work = spawn(async move { if is_yields { yields(count).await } else { echo(count).await } });
        work.await.expect("the work does not panic");
    });
    println!("{:.6} s, of it {:.6} s of the monitor", begin.elapsed().as_secs_f64(), monitor_time().as_secs_f64());
    ExitCode::SUCCESS
}
