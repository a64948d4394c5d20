//! When every worker is held, a spare one takes over, and goes home afterwards. Each hold ends because of what the spare worker did: order by
//! happens-before, and a service that never comes ends the test by a time limit.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use eddies::net::{TcpListener, TcpStream};
use eddies::{Runtime, block_in_place, spawn, spawn_blocking, spawn_local};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

const NEVER: Duration = Duration::from_secs(20);

/// Two workers whose threads tell their names when they stop.
fn runtime() -> (Runtime, Receiver<String>) {
    let (tell, stopped) = mpsc::channel();
    let name = || thread::current().name().unwrap_or_default().to_owned();
    let runtime = Runtime::builder()
        .workers(2)
        .slow_poll(Duration::MAX)
        .thread_name("r")
        .on_thread_stop(move || drop(tell.send(name())))
        .build()
        .unwrap();
    (runtime, stopped)
}

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

async fn echo(listener: TcpListener) {
    async fn serve(mut stream: TcpStream) {
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() {
            stream.write_all(&byte).await.unwrap();
        }
    }
    while let Ok((stream, _)) = listener.accept().await {
        spawn(serve(stream));
    }
}

/// Holds two threads of the runtime in polls, the one with the main future and another, until `meanwhile` returns; it is given the name of the
/// other. That one is the second worker, or, on a machine so busy that this one seemed stalled, a spare worker already; then the second worker
/// is free. In either case a spare worker has to come.
fn hold_two(runtime: &Runtime, meanwhile: impl FnOnce(String) + Send + 'static) {
    runtime.block_on(async move {
        let both = Arc::new(Barrier::new(2));
        let (release, released) = mpsc::channel::<()>();
        let (tell_name, held) = mpsc::channel();
        let hog = spawn(async move {
            tell_name.send(thread_name()).unwrap();
            released.recv_timeout(NEVER).expect_err("the other end is dropped");
        });
        let of_thread = both.clone();
        let outside = thread::spawn(move || {
            let held = held.recv_timeout(NEVER).unwrap();
            of_thread.wait();
            meanwhile(held);
            drop(release);
        });
        // Both are inside of a poll from here on.
        both.wait();
        outside.join().unwrap();
        hog.await.unwrap();
    });
}

#[test]
fn sockets_timers_and_tasks_go_on_while_all_workers_are_held() {
    let (runtime, stopped) = runtime();
    let handle = runtime.handle();
    let (tell_address, address) = mpsc::channel();
    // Not in a `block_on`: after one of them a stand-in sits in seat 0, and a later one may find it too busy to leave in time.
    runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell_address.send(listener.local_addr().unwrap()).unwrap();
        echo(listener).await;
    });
    let mut client = std::net::TcpStream::connect(address.recv().unwrap()).unwrap();
    client.set_read_timeout(Some(NEVER)).unwrap();
    client.write_all(&[1]).unwrap();
    client.read_exact(&mut [0]).unwrap();
    hold_two(&runtime, move |held| {
        for i in 0..20 {
            client.write_all(&[i]).unwrap();
            let mut reply = [0];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(reply, [i]);
        }
        let (tell, heard) = mpsc::channel();
        handle.spawn(async move {
            eddies::sleep(Duration::from_millis(2)).await;
            tell.send(thread_name()).unwrap();
        });
        let by = heard.recv_timeout(NEVER).unwrap();
        assert!(by != held && by.starts_with("r-"), "{by}");
    });
    let first = stopped.recv_timeout(NEVER).expect("the spare worker is sent home");
    assert!(first.starts_with("r-spare-"), "{first}");
}

#[test]
fn a_spare_worker_that_is_held_too_gets_help() {
    let (runtime, _stopped) = runtime();
    let handle = runtime.handle();
    hold_two(&runtime, move |_| {
        // Four tasks that wait for one another inside of their polls: each needs a thread, and no worker is free.
        let all = Arc::new(Barrier::new(4));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let all = all.clone();
                handle.spawn(async move { all.wait().is_leader() })
            })
            .collect();
        for task in tasks {
            while !task.is_finished() {
                thread::yield_now();
            }
        }
    });
}

#[test]
fn without_spare_workers_none_starts() {
    let runtime = Runtime::builder().workers(2).spare_workers(0).slow_poll(Duration::MAX).build().unwrap();
    let handle = runtime.handle();
    let (tell, heard) = mpsc::channel();
    hold_two(&runtime, move |_| {
        handle.spawn(async move { tell.send(thread_name()).unwrap() });
    });
    let by = runtime.block_on(async { spawn_blocking(move || heard.recv_timeout(NEVER)).await.unwrap().unwrap() });
    assert!(!by.starts_with("eddies-spare"), "{by}");
}

/// Spawns a task that tells the name of its thread, and waits for it without yielding.
fn ask(tell: Sender<String>, heard: &Receiver<String>) -> String {
    spawn(async move { tell.send(thread_name()).unwrap() });
    heard.recv_timeout(NEVER).expect("nobody took over")
}

#[test]
fn block_in_place_hands_the_loop_over() {
    async fn blocks() -> String {
        let (tell, heard) = mpsc::channel();
        block_in_place(|| ask(tell, &heard))
    }
    let (runtime, _stopped) = runtime();
    runtime.block_on(async {
        // The main future blocks, then both workers at once.
        let by = blocks().await;
        assert_ne!(by, thread_name());
        let (left, right) = (spawn(blocks()), spawn(blocks()));
        blocks().await;
        left.await.unwrap();
        right.await.unwrap();
    });
}

#[test]
fn a_local_task_on_any_worker_stays_where_it_is() {
    let (runtime, _stopped) = runtime();
    let handle = runtime.handle();
    hold_two(&runtime, move |held| {
        let (tell, heard) = mpsc::channel();
        handle.spawn(async move {
            // On a spare worker, mostly, since the others are held: its local task keeps it until it is done.
            let here = thread::current().id();
            let local = spawn_local(async move {
                for _ in 0..50 {
                    eddies::sleep(Duration::from_millis(2)).await;
                    assert_eq!(thread::current().id(), here);
                }
                tell.send(thread_name()).unwrap();
            });
            local.await.unwrap();
        });
        assert_ne!(heard.recv_timeout(NEVER).unwrap(), held);
    });
}

#[test]
fn a_shutdown_ends_held_workers_spares_and_all() {
    for _ in 0..20 {
        let (runtime, stopped) = runtime();
        let handle = runtime.handle();
        hold_two(&runtime, move |_| {
            let (tell, heard) = mpsc::channel();
            handle.spawn(async move { tell.send(()).unwrap() });
            heard.recv_timeout(NEVER).unwrap();
        });
        runtime.shutdown(NEVER).unwrap();
        let mut names: Vec<String> = stopped.try_iter().collect();
        names.sort();
        assert!(names.iter().any(|name| name == "r-1"), "{names:?}");
    }
}
