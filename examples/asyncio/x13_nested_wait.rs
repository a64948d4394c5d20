//! X13: a coroutine that makes tasks and waits for them: `cargo run --example asyncio_x13`.
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
//!     dones, pendings = await asyncio.wait(tasks)
//!     assert not pendings
//!     for task in dones:
//!         print('Task ret: ', task.result())
//!
//! start = now()
//! loop = asyncio.get_event_loop()
//! loop.run_until_complete(main())
//! print('TIME: ', now() - start)
//! ```
//!
//! After four seconds it prints the last four lines:
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
//! The `assert` is added. Python's `dones` and `pendings` are sets, so it may print the three results in any order. Here they are lists, in
//! the order of the arguments.

use std::error::Error;
use std::time::Duration;

use eddies::{FutureError, When, ensure_future, get_event_loop, sleep, wait};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

async fn main_coroutine() -> Result<(), FutureError> {
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(4))];
    let (dones, pendings) = wait(tasks, When::All, None).await;
    assert!(pendings.is_empty());
    for task in dones {
        println!("Task ret:  {}", task.result()?);
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
