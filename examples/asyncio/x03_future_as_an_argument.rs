//! X3: a future that a coroutine is given, and answers: `cargo run --example asyncio_x03`.
//!
//! ```python
//! @asyncio.coroutine
//! def sleep_coroutine(f):
//!     yield from asyncio.sleep(2)
//!     f.set_result("Done!")
//!
//! future = asyncio.Future()
//! loop = asyncio.get_event_loop()
//! loop.run_until_complete(sleep_coroutine(future))
//! print(future)
//! ```
//!
//! After two seconds it prints:
//!
//! ```text
//! <Future finished result="Done!">
//! ```
//!
//! The `print` is added. `f` is another handle to the same future, which is why it is cloned. Answering twice is an error, an
//! exception in Python; the coroutine passes it on.

use std::error::Error;
use std::time::Duration;

use eddies::{InvalidState, LoopFuture, get_event_loop, sleep};

async fn sleep_coroutine(f: LoopFuture<&'static str>) -> Result<(), InvalidState<&'static str>> {
    sleep(Duration::from_secs(2)).await;
    f.set_result("Done!")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let future = event_loop.create_future();
    event_loop.run_until_complete(sleep_coroutine(future.clone()))??;
    println!("{future:?}");
    Ok(())
}
