//! X5: the same three tasks with a library that blocks, and the remedy: `cargo run --example asyncio_x05`.
//!
//! ```python
//! @asyncio.coroutine
//! def sleep_coro(name, seconds=1):
//!     print("[%s] coroutine will sleep for %d second(s)…" % (name, seconds))
//!     time.sleep(seconds)
//!     print("[%s] done!" % name)
//!
//! loop = asyncio.get_event_loop()
//! tasks = [asyncio.Task(sleep_coro('Task-A', 3)),
//!          asyncio.Task(sleep_coro('Task-B')),
//!          asyncio.Task(sleep_coro('Task-C'))]
//! loop.run_until_complete(asyncio.gather(*tasks))
//! ```
//!
//! `time.sleep` blocks the thread, and with it the loop: the tasks run one after the other, for 3 + 1 + 1 seconds. Then the program does the
//! same with `spawn_blocking`, Python's `await loop.run_in_executor(None, time.sleep, seconds)`, and takes as long as the longest of them:
//!
//! ```text
//! [Task-A] coroutine will sleep for 3 second(s)…
//! [Task-A] done!
//! [Task-B] coroutine will sleep for 1 second(s)…
//! [Task-B] done!
//! [Task-C] coroutine will sleep for 1 second(s)…
//! [Task-C] done!
//! TIME:  5.000903272s
//! [Task-A] coroutine will sleep for 3 second(s)…
//! [Task-B] coroutine will sleep for 1 second(s)…
//! [Task-C] coroutine will sleep for 1 second(s)…
//! [Task-B] done!
//! [Task-C] done!
//! [Task-A] done!
//! TIME:  3.000792974s
//! ```
//!
//! In debug mode, which this program switches on, the loop says on stderr who held it up, as asyncio does ("Executing <Task…> took 3.001
//! seconds"). A loop that is built with `Builder::slow_poll` says it while it lasts.
//!
//! ```text
//! eddies: task spawned at examples/asyncio/x05_blocking_library.rs:79:20 took 3.000258508s in one go and held worker 0 meanwhile
//! ```
//!
//! On an event loop of several workers, and in `eddies::run`, B and C run elsewhere while A blocks its own worker: a blocking call costs a
//! worker there, not the whole program. It is still a mistake, for there are only so many workers. See docs/long-polls.md.

use std::error::Error;
use std::thread;
use std::time::Duration;

use eddies::{FutureError, get_event_loop, spawn_blocking, try_gather};

/// A function that blocks the thread that calls it, as a library does that knows nothing of event loops.
type Sleep = fn(Duration);

pub(crate) async fn sleep_coro(name: &str, seconds: u64, sleep: Sleep) {
    println!("[{name}] coroutine will sleep for {seconds} second(s)…");
    sleep(Duration::from_secs(seconds));
    println!("[{name}] done!");
}

async fn sleep_coro_in_the_pool(name: &str, seconds: u64, sleep: Sleep) -> Result<(), FutureError> {
    println!("[{name}] coroutine will sleep for {seconds} second(s)…");
    spawn_blocking(move || sleep(Duration::from_secs(seconds))).await?;
    println!("[{name}] done!");
    Ok(())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    program(thread::sleep)
}

pub(crate) fn program(sleep: Sleep) -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    event_loop.set_debug(true);

    let start = event_loop.time();
    let tasks = [
        event_loop.create_task(sleep_coro("Task-A", 3, sleep))?,
        event_loop.create_task(sleep_coro("Task-B", 1, sleep))?,
        event_loop.create_task(sleep_coro("Task-C", 1, sleep))?,
    ];
    event_loop.run_until_complete(try_gather(tasks))??;
    println!("TIME:  {:?}", event_loop.time() - start);

    let start = event_loop.time();
    let tasks = [
        event_loop.try_create_task(sleep_coro_in_the_pool("Task-A", 3, sleep))?,
        event_loop.try_create_task(sleep_coro_in_the_pool("Task-B", 1, sleep))?,
        event_loop.try_create_task(sleep_coro_in_the_pool("Task-C", 1, sleep))?,
    ];
    event_loop.run_until_complete(try_gather(tasks))??;
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
