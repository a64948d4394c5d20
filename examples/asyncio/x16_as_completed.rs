//! X16: results in the order in which they come: `cargo run --example asyncio_x16`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     await asyncio.sleep(x)
//!     return 'Done after {}s'.format(x)
//!
//! async def main():
//!     tasks = [
//!         asyncio.ensure_future(do_some_work(1)),
//!         asyncio.ensure_future(do_some_work(2)),
//!         asyncio.ensure_future(do_some_work(4))
//!     ]
//!     for task in asyncio.as_completed(tasks):
//!         result = await task
//!         print('Task ret: {}'.format(result))
//!
//! start = now()
//! loop = asyncio.get_event_loop()
//! done = loop.run_until_complete(main())
//! print('TIME: ', now() - start)
//! ```
//!
//! It prints each result when it is there, after one, two and four seconds:
//!
//! ```text
//! Waiting:  1
//! Waiting:  2
//! Waiting:  4
//! Task ret: Done after 1s
//! Task ret: Done after 2s
//! Task ret: Done after 4s
//! TIME:  4.001377s
//! ```

use std::error::Error;
use std::time::Duration;

use eddies::{FutureError, as_completed, ensure_future, get_event_loop, sleep};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

async fn main_coroutine() -> Result<(), FutureError> {
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(4))];
    let mut results = as_completed(tasks);
    while let Some(result) = results.next().await {
        println!("Task ret: {}", result?);
    }
    Ok(())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    event_loop.run_until_complete(main_coroutine())??;
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
