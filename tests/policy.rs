//! The event loop policy: whose loop is whose. Traps 32 and 33 of asyncio's semantics; for the main thread see `policy_main.rs`.

#![expect(unsafe_code, reason = "fork")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use eddies::policy::{
    DefaultEventLoopPolicy, EventLoopPolicy, get_event_loop, get_event_loop_policy, get_running_loop, new_event_loop,
    set_event_loop, set_event_loop_policy,
};
use eddies::{EventLoop, NoEventLoop, Runtime};

/// The policy is the process's: who replaces it, and who relies on the default one, takes turns.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn trap_032_a_thread_has_the_loop_that_was_set_there_or_an_error() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let error = get_event_loop().unwrap_err();
    assert!(error.to_string().starts_with("There is no current event loop in thread `trap_032_a_thread"), "{error}");
    let event_loop = new_event_loop().unwrap();
    set_event_loop(Some(event_loop.clone()));
    assert_eq!(get_event_loop().as_ref(), Ok(&event_loop));
    thread::spawn(|| assert!(get_event_loop().is_err(), "another thread's loop is its own")).join().unwrap();
    set_event_loop(None);
    get_event_loop().unwrap_err();
}

#[test]
fn trap_032_a_running_loop_wins_over_every_policy() {
    struct Nobody;
    impl EventLoopPolicy for Nobody {
        fn get_event_loop(&self) -> Result<EventLoop, NoEventLoop> {
            Err(NoEventLoop::current())
        }
        fn set_event_loop(&self, _: Option<EventLoop>) {}
        fn new_event_loop(&self) -> io::Result<EventLoop> {
            DefaultEventLoopPolicy::new().new_event_loop()
        }
    }

    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    set_event_loop_policy(Some(Arc::new(Nobody)));
    let event_loop = new_event_loop().unwrap();
    set_event_loop(Some(event_loop.clone()));
    get_event_loop().unwrap_err();
    let (in_task, in_callback) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = in_callback.clone();
    let expected = event_loop.clone();
    event_loop
        .call_soon(move || {
            assert_eq!(get_running_loop().as_ref(), Ok(&expected));
            count.fetch_add(1, Relaxed);
        })
        .unwrap();
    let count = in_task.clone();
    let expected = event_loop.clone();
    event_loop
        .run_until_complete(async move {
            assert_eq!(get_event_loop().as_ref(), Ok(&expected));
            assert_eq!(get_running_loop().as_ref(), Ok(&expected));
            assert!(expected.is_running());
            count.fetch_add(1, Relaxed);
        })
        .unwrap();
    assert_eq!((in_task.load(Relaxed), in_callback.load(Relaxed)), (1, 1));
    set_event_loop_policy(None);
    get_running_loop().unwrap_err();
}

#[test]
fn a_policy_can_be_replaced_and_put_back() {
    struct Counting(DefaultEventLoopPolicy, AtomicUsize);
    impl EventLoopPolicy for Counting {
        fn get_event_loop(&self) -> Result<EventLoop, NoEventLoop> {
            self.1.fetch_add(1, Relaxed);
            self.0.get_event_loop()
        }
        fn set_event_loop(&self, event_loop: Option<EventLoop>) {
            self.1.fetch_add(10, Relaxed);
            self.0.set_event_loop(event_loop);
        }
        fn new_event_loop(&self) -> io::Result<EventLoop> {
            self.1.fetch_add(100, Relaxed);
            self.0.new_event_loop()
        }
    }

    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let counting = Arc::new(Counting(DefaultEventLoopPolicy::new(), AtomicUsize::new(0)));
    set_event_loop_policy(Some(counting.clone()));
    let event_loop = new_event_loop().unwrap();
    set_event_loop(Some(event_loop.clone()));
    assert_eq!(get_event_loop_policy().get_event_loop().as_ref(), Ok(&event_loop));
    assert_eq!(counting.1.load(Relaxed), 111);
    set_event_loop_policy(None);
    assert_eq!(get_event_loop(), Ok(event_loop), "the default policies share what they know");
    set_event_loop(None);
    assert_eq!(counting.1.load(Relaxed), 111);
}

#[test]
fn a_worker_of_a_plain_runtime_has_a_running_loop() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let left = runtime.block_on(async {
        let event_loop = get_running_loop().unwrap();
        assert!(event_loop.is_running() && !event_loop.is_closed());
        assert!(event_loop.close().is_err());
        event_loop.run_forever().unwrap_err();
        let (tell, hear) = eddies::sync::oneshot();
        let later = event_loop.clone();
        event_loop
            .call_soon(move || {
                later.call_later(std::time::Duration::from_millis(1), move || tell.send(5).unwrap()).unwrap();
            })
            .unwrap();
        assert_eq!(hear.await, Ok(5));
        event_loop.call_later(std::time::Duration::from_secs(60), || unreachable!()).unwrap();
        event_loop
    });
    // The thread has left that loop.
    assert!(left.is_closed() && !left.is_running());
    left.call_soon(|| unreachable!()).unwrap_err();
    let error = get_running_loop().unwrap_err().to_string();
    assert!(error.starts_with("no running event loop"), "{error}");
}

#[test]
fn trap_033_a_forked_child_does_not_see_its_parents_loop() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let event_loop = new_event_loop().unwrap();
    set_event_loop(Some(event_loop.clone()));
    let status = event_loop
        .run_until_complete(async {
            // SAFETY: the child allocates, which the allocator of the system allows after a fork, and leaves without running any destructor.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let is_seen = get_event_loop().is_ok() || get_running_loop().is_ok();
                // SAFETY: ends the process.
                unsafe { libc::_exit(if is_seen { 1 } else { 7 }) }
            }
            assert!(child > 0);
            let mut status = 0;
            // SAFETY: `status` outlives the call, and the child is this process's.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            status
        })
        .unwrap();
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 7);
    set_event_loop(None);
}
