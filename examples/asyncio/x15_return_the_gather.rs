//! X15: a main coroutine whose results come out of the loop: `cargo run --example asyncio_x15`.
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
//!         asyncio.ensure_future(do_some_work(2))
//!     ]
//!     return await asyncio.gather(*tasks)
//!
//! loop = asyncio.get_event_loop()
//! results = loop.run_until_complete(main())
//!
//! for result in results:
//!     print('Task ret: ', result)
//! ```
//!
//! After two seconds it prints the last three lines:
//!
//! ```text
//! Waiting:  1
//! Waiting:  2
//! Waiting:  2
//! Task ret:  Done after 1s
//! Task ret:  Done after 2s
//! Task ret:  Done after 2s
//! ```

use std::error::Error;
use std::time::Duration;

use eddies::{FutureError, ensure_future, get_event_loop, sleep, try_gather};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

async fn main_coroutine() -> Result<Vec<String>, FutureError> {
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(2))];
    try_gather(tasks).await
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let results = event_loop.run_until_complete(main_coroutine())??;

    for result in results {
        println!("Task ret:  {result}");
    }
    Ok(())
}
