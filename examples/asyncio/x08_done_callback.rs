//! X8: a callback that reads the result of its task: `cargo run --example asyncio_x08`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     return 'Done after {}s'.format(x)
//!
//! def callback(future):
//!     print('Callback: ', future.result())
//!
//! start = now()
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! task = asyncio.ensure_future(coroutine)
//! task.add_done_callback(callback)
//! loop.run_until_complete(task)
//! print('TIME: ', now() - start)
//! ```
//!
//! It prints, at once, for nothing in it waits:
//!
//! ```text
//! Waiting:  2
//! Callback:  Done after 2s
//! TIME:  88.044µs
//! ```
//!
//! What the callback is given is the task itself: another handle to it, which compares equal by `ptr_eq`.

use std::error::Error;

use eddies::{LoopFuture, ensure_future, get_event_loop};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    format!("Done after {x}s")
}

fn callback(future: &LoopFuture<String>) {
    println!("Callback:  {}", future.result().unwrap());
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    let coroutine = do_some_work(2);
    let task = ensure_future(coroutine);
    task.add_done_callback(callback);
    event_loop.run_until_complete(task)??;
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
