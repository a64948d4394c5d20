//! X9: a callback with arguments of its own: `cargo run --example asyncio_x09`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     return 'Done after {}s'.format(x)
//!
//! def callback(t, future):
//!     print('Callback:', t, future.result())
//!
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! task = asyncio.ensure_future(coroutine)
//! task.add_done_callback(functools.partial(callback, 2))
//! loop.run_until_complete(task)
//! ```
//!
//! It prints:
//!
//! ```text
//! Waiting:  2
//! Callback: 2 Done after 2s
//! ```
//!
//! A closure takes the place of `functools.partial`.

use std::error::Error;

use eddies::{LoopFuture, ensure_future, get_event_loop};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    format!("Done after {x}s")
}

fn callback(t: u64, future: &LoopFuture<String>) {
    println!("Callback: {t} {}", future.result().unwrap());
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let coroutine = do_some_work(2);
    let task = ensure_future(coroutine);
    task.add_done_callback(|future| callback(2, future));
    event_loop.run_until_complete(task)??;
    Ok(())
}
