//! X7: a task, printed before and after: `cargo run --example asyncio_x07`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!
//! start = now()
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! # task = asyncio.ensure_future(coroutine)
//! task = loop.create_task(coroutine)
//! print(task)
//! loop.run_until_complete(task)
//! print(task)
//! print('TIME: ', now() - start)
//! ```
//!
//! It prints:
//!
//! ```text
//! <Task pending spawned at examples/asyncio/x07_print_a_task.rs:43:27>
//! Waiting:  2
//! <Task finished spawned at examples/asyncio/x07_print_a_task.rs:43:27 result=()>
//! TIME:  129.13µs
//! ```
//!
//! Python shows the coroutine's name and where it stands. A future has no name in Rust and does not tell where it stands, so this
//! shows where the task was spawned; a name can be given, with `TaskBuilder`. `ensure_future` makes the same task.

use std::error::Error;

use eddies::get_event_loop;

async fn do_some_work(x: u64) {
    println!("Waiting:  {x}");
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let start = event_loop.time();
    let coroutine = do_some_work(2);
    // let task = eddies::ensure_future(coroutine);
    let task = event_loop.create_task(coroutine)?;
    println!("{task:?}");
    event_loop.run_until_complete(&task)??;
    println!("{task:?}");
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}
