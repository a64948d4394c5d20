//! X1: a task that tells a callback when it is done: `cargo run --example asyncio_x01`.
//!
//! ```python
//! @asyncio.coroutine
//! def slow_operation():
//!     yield from asyncio.sleep(1)
//!     return 'Future is done!'
//!
//! def got_result(future):
//!     print(future.result())
//!
//! loop = asyncio.get_event_loop()
//! task = loop.create_task(slow_operation())
//! task.add_done_callback(got_result)
//! loop.run_until_complete(task)
//! ```
//!
//! After one second it prints:
//!
//! ```text
//! Future is done!
//! ```
//!
//! The callback has been called when `run_until_complete` returns. The loop has ended its run then; it is not closed, and can run again.
//! Python's two kinds of coroutines, this one and the `async def` of the next program, are one kind here.

use std::error::Error;
use std::time::Duration;

use eddies::{LoopFuture, get_event_loop, sleep};

async fn slow_operation() -> &'static str {
    sleep(Duration::from_secs(1)).await;
    "Future is done!"
}

fn got_result(future: &LoopFuture<&str>) {
    println!("{}", future.result().unwrap());
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let task = event_loop.create_task(slow_operation())?;
    task.add_done_callback(|future| got_result(future));
    // The outer `?` is for the run, which can be stopped; the inner one for the task, which can be cancelled.
    event_loop.run_until_complete(task)??;
    Ok(())
}
