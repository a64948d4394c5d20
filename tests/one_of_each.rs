//! Everything once, and little of it: small enough for Miri, which runs these programs a thousand times slower (`scripts/sanitize.sh miri`).

use std::future::pending;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eddies::sync::{Lock, oneshot, unbounded_channel};
use eddies::{Runtime, spawn, spawn_blocking, spawn_local, yield_now};
use futures_util::{AsyncReadExt, AsyncWriteExt};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

#[test]
fn tasks_wake_and_await_each_other() {
    for workers in [1, 2] {
        runtime(workers).block_on(async {
            let (sender, mut receiver) = unbounded_channel();
            let counter = Arc::new(Lock::new(0));
            let tasks: Vec<_> = (0..6)
                .map(|i| {
                    let (sender, counter) = (sender.clone(), counter.clone());
                    spawn(async move {
                        yield_now().await;
                        *counter.lock().await += i;
                        sender.send(i).unwrap();
                        i
                    })
                })
                .collect();
            drop(sender);
            let mut heard = 0;
            while let Some(i) = receiver.recv().await {
                heard += i;
            }
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            assert_eq!((heard, sum, *counter.lock().await), (15, 15, 15));
        });
    }
}

#[test]
fn local_tasks_jobs_and_timers() {
    runtime(2).block_on(async {
        let shared = Rc::new(1);
        let local = spawn_local(async move {
            yield_now().await;
            *shared
        });
        let job = spawn_blocking(|| 2);
        let slept = spawn(async {
            eddies::sleep(Duration::from_millis(2)).await;
            3
        });
        let late = eddies::timeout(Duration::from_millis(1), pending::<()>()).await;
        assert!(late.is_err());
        assert_eq!(local.await.unwrap() + job.await.unwrap() + slept.await.unwrap(), 6);
    });
}

#[test]
fn aborts_panics_handles_and_a_shutdown() {
    let runtime = runtime(2);
    let (sender, receiver) = oneshot::<()>();
    runtime.block_on(async {
        let waits = spawn(receiver);
        yield_now().await;
        waits.abort();
        assert!(waits.await.unwrap_err().is_cancelled());
        assert!(sender.send(()).is_err());
        let panics = spawn(async { panic!("on purpose") });
        let error: eddies::TaskError = panics.await.unwrap_err();
        assert!(error.is_panic());
        for _ in 0..3 {
            drop(spawn(pending::<()>()));
        }
    });
    let handle = runtime.handle();
    let outside = thread::spawn(move || handle.spawn(async { 5 }));
    let task = outside.join().unwrap();
    assert_eq!(runtime.block_on(task).unwrap(), 5);
    runtime.shutdown(Duration::from_secs(600)).unwrap();
}

#[test]
fn bytes_go_over_a_socket_and_back() {
    runtime(2).block_on(async {
        let listener = eddies::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        let serve = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            stream.write_all(&bytes).await.unwrap();
        });
        serve.await.unwrap();
        assert_eq!(&client.join().unwrap(), b"gnip");
    });
}
