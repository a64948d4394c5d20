//! X4: three tasks that sleep at the same time: `cargo run --example asyncio_x04`.
//!
//! ```python
//! @asyncio.coroutine
//! def sleep_coro(name, seconds=1):
//!     print("[%s] coroutine will sleep for %d second(s)…" % (name, seconds))
//!     yield from asyncio.sleep(seconds)
//!     print("[%s] done!" % name)
//!
//! loop = asyncio.get_event_loop()
//! tasks = [asyncio.Task(sleep_coro('Task-A', 10)),
//!          asyncio.Task(sleep_coro('Task-B')),
//!          asyncio.Task(sleep_coro('Task-C'))]
//! print(loop.run_until_complete(asyncio.gather(*tasks)))
//! ```
//!
//! It takes ten seconds, not twelve, and prints the first three lines at once, in the order in which the tasks were made:
//!
//! ```text
//! [Task-A] coroutine will sleep for 10 second(s)…
//! [Task-B] coroutine will sleep for 1 second(s)…
//! [Task-C] coroutine will sleep for 1 second(s)…
//! [Task-B] done!
//! [Task-C] done!
//! [Task-A] done!
//! [(), (), ()]
//! ```
//!
//! The last `print` is added. Python's `gather` raises the first exception of its tasks; so does `try_gather`. The plain `gather` gives a
//! `Result` for each, as Python's does with `return_exceptions=True`.

use std::error::Error;
use std::time::Duration;

use eddies::{get_event_loop, sleep, try_gather};

async fn sleep_coro(name: &str, seconds: u64) {
    println!("[{name}] coroutine will sleep for {seconds} second(s)…");
    sleep(Duration::from_secs(seconds)).await;
    println!("[{name}] done!");
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let tasks = [
        event_loop.create_task(sleep_coro("Task-A", 10))?,
        event_loop.create_task(sleep_coro("Task-B", 1))?,
        event_loop.create_task(sleep_coro("Task-C", 1))?,
    ];
    let results = event_loop.run_until_complete(try_gather(tasks))??;
    println!("{results:?}");
    Ok(())
}
