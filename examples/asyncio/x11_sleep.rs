//! X11: a coroutine that waits: `cargo run --example asyncio_x11`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     await asyncio.sleep(x)
//!     return 'Done after {}s'.format(x)
//!
//! start = now()
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! task = asyncio.ensure_future(coroutine)
//! loop.run_until_complete(task)
//!
//! print('Task ret: ', task.result())
//! print('TIME: ', now() - start)
//! ```
//!
//! It prints the last two lines after two seconds:
//!
//! ```text
//! Waiting:  2
//! Task ret:  Done after 2s
//! TIME:  2.001163798s
//! ```

use std::error::Error;
use std::time::Duration;

use eddies::{ensure_future, get_event_loop, sleep};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    // Stands for a request to a server, or a file that is read. Meanwhile the loop runs whatever else there is.
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    let coroutine = do_some_work(2);
    let task = ensure_future(coroutine);
    event_loop.run_until_complete(&task)??;

    println!("Task ret:  {}", task.result()?);
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
