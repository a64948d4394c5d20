//! X12: waiting for a list of tasks: `cargo run --example asyncio_x12`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     await asyncio.sleep(x)
//!     return 'Done after {}s'.format(x)
//!
//! start = now()
//! tasks = [
//!     asyncio.ensure_future(do_some_work(1)),
//!     asyncio.ensure_future(do_some_work(2)),
//!     asyncio.ensure_future(do_some_work(4))
//! ]
//! loop = asyncio.get_event_loop()
//! loop.run_until_complete(asyncio.wait(tasks))
//!
//! for task in tasks:
//!     print('Task ret: ', task.result())
//! print('TIME: ', now() - start)
//! ```
//!
//! It takes four seconds, not seven, and prints:
//!
//! ```text
//! Waiting:  1
//! Waiting:  2
//! Waiting:  4
//! Task ret:  Done after 1s
//! Task ret:  Done after 2s
//! Task ret:  Done after 4s
//! TIME:  4.001377s
//! ```
//!
//! `wait` has no default arguments: it is told to wait for all, and without a limit.

use std::error::Error;
use std::time::Duration;

use eddies::{When, ensure_future, get_event_loop, sleep, wait};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(4))];
    event_loop.run_until_complete(wait(&tasks, When::All, None))?;

    for task in &tasks {
        println!("Task ret:  {}", task.result()?);
    }
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
