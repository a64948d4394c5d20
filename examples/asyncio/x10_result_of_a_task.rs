//! X10: the result of a task, read when the loop has run: `cargo run --example asyncio_x10`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting {}'.format(x))
//!     return 'Done after {}s'.format(x)
//!
//! start = now()
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! task = asyncio.ensure_future(coroutine)
//! loop.run_until_complete(task)
//!
//! print('Task ret: {}'.format(task.result()))
//! print('Task ret: {}'.format(task.result()))
//! print('TIME: {}'.format(now() - start))
//! ```
//!
//! It prints:
//!
//! ```text
//! Waiting 2
//! Task ret: Done after 2s
//! Task ret: Done after 2s
//! TIME: 76.162µs
//! ```
//!
//! The second reading is added: a result can be read as often as one likes. `run_until_complete(&task)` borrows the task, so it is still
//! there afterwards.

use std::error::Error;

use eddies::{ensure_future, get_event_loop};

async fn do_some_work(x: u64) -> String {
    println!("Waiting {x}");
    format!("Done after {x}s")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    let coroutine = do_some_work(2);
    let task = ensure_future(coroutine);
    event_loop.run_until_complete(&task)??;

    println!("Task ret: {}", task.result()?);
    println!("Task ret: {}", task.result()?);
    println!("TIME: {:?}", event_loop.time() - start);
    Ok(())
}
