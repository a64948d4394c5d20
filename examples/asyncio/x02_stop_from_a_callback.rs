//! X2: a loop that runs until a callback stops it: `cargo run --example asyncio_x02`.
//!
//! ```python
//! async def slow_operation():
//!     await asyncio.sleep(1)
//!     return 'Future is done!'
//!
//! def got_result(future):
//!     print(future.result())
//!     loop.stop()
//!
//! loop = asyncio.get_event_loop()
//! task = loop.create_task(slow_operation())
//! task.add_done_callback(got_result)
//! loop.run_forever()
//! ```
//!
//! After one second it prints:
//!
//! ```text
//! Future is done!
//! ```
//!
//! Python's callback finds the loop in a global variable. Here it gets a [`LoopHandle`], which may go to any thread, as a callback may; the
//! `EventLoop` itself stays on its thread.

use std::error::Error;
use std::time::Duration;

use eddies::{LoopFuture, LoopHandle, get_event_loop, sleep};

async fn slow_operation() -> &'static str {
    sleep(Duration::from_secs(1)).await;
    "Future is done!"
}

fn got_result(future: &LoopFuture<&str>, event_loop: &LoopHandle) {
    println!("{}", future.result().unwrap());
    event_loop.stop();
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    let task = event_loop.create_task(slow_operation())?;
    let handle = event_loop.handle();
    task.add_done_callback(move |future| got_result(future, &handle));
    event_loop.run_forever()?;
    Ok(())
}
