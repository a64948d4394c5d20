//! X6: a coroutine does nothing until it is run: `cargo run --example asyncio_x06`.
//!
//! ```python
//! now = lambda: time.time()
//!
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!
//! start = now()
//! coroutine = do_some_work(2)
//! loop = asyncio.get_event_loop()
//! loop.run_until_complete(coroutine)
//! print('TIME: ', now() - start)
//! ```
//!
//! It prints, at once:
//!
//! ```text
//! Waiting:  2
//! TIME:  58.85µs
//! ```
//!
//! Calling an `async fn` makes a future, as calling an `async def` makes a coroutine; neither runs anything.

use std::error::Error;

use eddies::get_event_loop;

async fn do_some_work(x: u64) {
    println!("Waiting:  {x}");
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let now = || event_loop.time();

    let start = now();
    let coroutine = do_some_work(2);
    event_loop.run_until_complete(coroutine)?;
    println!("TIME:  {:?}", now() - start);
    Ok(())
}
