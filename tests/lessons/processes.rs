//! Operational failures that are of a whole process. Each test runs this program again; see `alone`.
#![expect(unsafe_code, reason = "fork")]

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use eddies::net::{TcpListener, TcpStream};
use eddies::signal::unix::{SignalKind, signal};
use eddies::{LoopHandle, Runtime, Task, spawn, spawn_blocking, yield_now};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{alone, alone_with};

/// tokio #3529, bun: an accept without descriptors spun or hung. Here it is an error each time, the queue of the kernel keeps the clients, and
/// whoever pauses and tries again serves them all.
#[test]
fn an_accept_without_descriptors_is_an_error_and_the_clients_are_served_later() {
    alone("processes::an_accept_without_descriptors_is_an_error_and_the_clients_are_served_later", || {
        eddies::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            // Everything that is opened by and by has been opened.
            eddies::sleep(Duration::from_millis(1)).await;
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
            let mut taken = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                taken.push(file);
            }
            for _ in 0..5 {
                assert_eq!(listener.accept().await.unwrap_err().raw_os_error(), Some(libc::EMFILE));
            }
            let (echo, timer) = (spawn(async { 1 }), spawn(eddies::sleep(Duration::from_millis(1))));
            assert_eq!(echo.await.unwrap(), 1);
            timer.await.unwrap();
            drop(taken);
            for client in &mut clients {
                let (mut served, _) = listener.accept().await.unwrap();
                served.write_all(b"x").await.unwrap();
                drop(served);
                let mut byte = [0];
                client.read_exact(&mut byte).await.unwrap();
            }
        });
    });
}

/// No process that is started gets a descriptor of ours: not the epoll instance, not its waker, no socket, no listener of signals.
#[test]
fn no_descriptor_is_inherited() {
    alone("processes::no_descriptor_is_inherited", || {
        let before = numbers();
        Runtime::builder().workers(2).build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (there, _) = listener.accept().await.unwrap();
            let udp = eddies::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let signals = signal(SignalKind::window_change()).unwrap();
            let child = eddies::process::Command::new("true").spawn().unwrap();
            let opened: Vec<i32> = numbers().into_iter().filter(|number| !before.contains(number)).collect();
            assert!(opened.len() >= 6 && opened.contains(&here.as_raw_fd()), "{opened:?}");
            for number in opened {
                let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { continue };
                let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
                let flags = i32::from_str_radix(flags, 8).unwrap();
                assert!(flags & libc::O_CLOEXEC != 0, "{number}: {info}");
            }
            drop((here, there, udp, signals, child));
        });
    });
}

/// The descriptors that are open now.
fn numbers() -> Vec<i32> {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

/// Runs `body` in a forked child, and gives its exit code: 0 unless `body` panics.
fn forked(body: impl FnOnce()) -> i32 {
    // SAFETY: the child allocates, which the allocator of the system allows after a fork, and leaves without running any destructor.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let is_good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!is_good)) }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call, and the child is this process's.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "{status}");
    libc::WEXITSTATUS(status)
}

/// tokio #4301: a forked child has the runtime's memory and none of its threads. It is told so, and can make a runtime of its own.
#[test]
fn a_forked_child_is_refused_its_parents_runtime_and_makes_its_own() {
    alone("processes::a_forked_child_is_refused_its_parents_runtime_and_makes_its_own", || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let handle = runtime.handle();
        runtime.block_on(async { spawn_blocking(|| ()).await.unwrap() });
        let code = forked(|| {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handle.block_on(async {})));
            let payload = caught.unwrap_err();
            let text = payload.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.unwrap_or_else(|| payload.downcast_ref::<String>().unwrap().clone());
            assert!(text.contains("forked") && text.contains("runtime of its own"), "{text}");
            // The copy of the parent's neither waits for threads that are not here nor touches what it shares with the parent.
            drop(runtime);
            let own = Runtime::builder().workers(2).build().unwrap();
            assert_eq!(own.block_on(async { spawn(async { 42 }).await.unwrap() }), 42);
            own.shutdown(Duration::from_secs(20)).unwrap();
        });
        assert_eq!(code, 0);
    });
}

/// Signals come faster than anybody listens, and interrupt every wait in the kernel. They become few, and the last one is not lost.
#[test]
fn a_storm_of_signals_is_not_lost_and_loses_nothing_else() {
    alone("processes::a_storm_of_signals_is_not_lost_and_loses_nothing_else", || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        runtime.block_on(async {
            let kind = SignalKind::user_defined1();
            let mut listener = signal(kind).unwrap();
            let is_over = Arc::new(AtomicUsize::new(0));
            let (over, done) = (is_over.clone(), is_over.clone());
            let storm = thread::spawn(move || {
                for _ in 0..20_000 {
                    signal_hook::low_level::raise(kind.as_raw_value()).unwrap();
                }
                over.store(1, SeqCst);
                signal_hook::low_level::raise(kind.as_raw_value()).unwrap();
            });
            let others = spawn(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (mut there, _) = listener.accept().await.unwrap();
                let mut rounds = 0;
                while rounds < 50 || done.load(SeqCst) == 0 {
                    let mut byte = [0];
                    here.write_all(b"x").await.unwrap();
                    there.read_exact(&mut byte).await.unwrap();
                    rounds += 1;
                }
            });
            loop {
                eddies::timeout(Duration::from_secs(30), listener.recv()).await.expect("the last one is heard");
                if is_over.load(SeqCst) == 1 {
                    break;
                }
            }
            others.await.unwrap();
            storm.join().unwrap();
        });
    });
}

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

/// Uses what a thread that ends may still hold.
struct LastWords {
    handle: LoopHandle,
    task: Option<Task<()>>,
    waker: Waker,
    tell: mpsc::Sender<bool>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.waker.wake_by_ref();
        let spawned = self.handle.spawn(async {});
        let refused = LoopHandle::try_current().is_err();
        drop(self.handle.enter());
        drop(self.task.take());
        drop(spawned);
        self.tell.send(refused).unwrap();
    }
}

/// Destructors of thread-locals run when the runtime's own thread-locals may be gone. They spawn, wake, enter and drop handles, and nobody
/// panics over a thread-local that is destroyed.
#[test]
fn destructors_of_thread_locals_may_use_handles_and_wakers() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (tell, heard) = mpsc::channel();
    let last_words = || {
        let handle = runtime.handle();
        let (lend, lent) = mpsc::channel::<Waker>();
        let task = handle.spawn(poll_fn(move |cx| {
            let _ = lend.send(cx.waker().clone());
            Poll::Pending
        }));
        LastWords { handle, task: Some(task), waker: lent.recv().unwrap(), tell: tell.clone() }
    };
    for was_inside in [false, true] {
        let words = last_words();
        let body = move || {
            // What of a thread is used first is destroyed last.
            if was_inside {
                words.handle.block_on(async { yield_now().await });
            }
            LAST_WORDS.with(|last| *last.borrow_mut() = Some(words));
        };
        thread::spawn(body).join().unwrap();
        assert_eq!(heard.recv(), Ok(true));
    }
    // A thread of the blocking pool, which is inside of the runtime until it ends.
    let words = last_words();
    runtime.block_on(async move {
        let job = spawn_blocking(|| LAST_WORDS.with(|last| *last.borrow_mut() = Some(words)));
        job.await.unwrap();
    });
    drop(runtime);
    heard.recv().unwrap();
}

/// A runtime that nobody drops, with workers, tasks, sockets and a job that never ends, does not keep its process.
#[test]
fn a_static_runtime_ends_with_its_process() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    alone("processes::a_static_runtime_ends_with_its_process", || {
        let runtime = RUNTIME.get_or_init(|| Runtime::builder().workers(2).build().unwrap());
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            drop(spawn(async move { listener.accept().await.map(drop) }));
            drop(spawn(async {
                loop {
                    yield_now().await;
                }
            }));
            let (tell, told) = eddies::sync::oneshot();
            drop(spawn_blocking(move || {
                let (read, write) = std::io::pipe().unwrap();
                tell.send(()).unwrap();
                // As one that reads a terminal: nobody ever writes.
                let _forever = (&read).read(&mut [0]);
                drop(write);
            }));
            told.await.unwrap();
        });
    });
}

/// The number of workers follows what the process may use, not what the machine has; and any number works.
#[test]
fn workers_follow_the_affinity_and_any_number_works() {
    let mut command = eddies::process::Command::new("taskset");
    command.args(["-c", "0"]).arg(std::env::current_exe().unwrap()).env_remove("EDDIES_WORKERS");
    alone_with(command, "processes::workers_follow_the_affinity_and_any_number_works", || {
        assert_eq!(Runtime::new().unwrap().workers(), 1);
        for workers in [2, 64, 200] {
            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let sum = runtime.block_on(async {
                let tasks: Vec<_> = (0..workers).map(|i| spawn(async move { i })).collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(sum, (0..workers).sum());
            runtime.shutdown(Duration::from_secs(20)).unwrap();
        }
    });
}
