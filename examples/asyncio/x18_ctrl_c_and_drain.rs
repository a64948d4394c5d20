//! X18: Ctrl-C, and a main coroutine with tasks of its own: `cargo run --example asyncio_x18`.
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
//!     return await asyncio.gather(*tasks)
//!
//! start = now()
//! loop = asyncio.get_event_loop()
//! task = asyncio.ensure_future(main())
//! try:
//!     loop.run_until_complete(task)
//! except KeyboardInterrupt as e:
//!     print(asyncio.Task.all_tasks())
//!     print(asyncio.gather(*asyncio.Task.all_tasks()).cancel())
//!     loop.stop()
//!     loop.run_forever()
//! finally:
//!     loop.close()
//! print('TIME: ', now() - start)
//! ```
//!
//! The program sends itself a Ctrl-C after 0.2 seconds; with the argument `wait` it waits for yours. It prints, the tasks on one line:
//!
//! ```text
//! Waiting:  1
//! Waiting:  2
//! Waiting:  4
//! [<Task pending spawned at examples/asyncio/x18_ctrl_c_and_drain.rs:80:27 wait_for=[<Task …>, <Task …>, <Task …>]>, <Task pending …>, <Task pending …>, <Task pending …>]
//! true
//! TIME:  201.789668ms
//! ```
//!
//! # What is wrong with the recipe
//!
//! In Python `stop` and then `run_forever` runs one iteration, and this program needs more. In the first one the three tasks end, cancelled.
//! `main` waits for the `gather` of them, which is done when they are; only then would it go on, in an iteration that never comes. So `close`
//! finds `main` pending, and Python says "Task was destroyed but it is pending!".
//!
//! Here a task that is cancelled lets go of what it waits for, so one iteration would do for this program; but not for one with a task that
//! catches its cancellation and awaits something more. What is meant is "end them all", and that is [`EventLoop::drain`]: it cancels every
//! task and runs the loop until none is left, and aborts what is still there when the time is over. `Runner` does it by itself.

use std::error::Error;
use std::time::Duration;

use eddies::{EventLoop, FutureError, RunError, ensure_future, get_event_loop, sleep, try_gather};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

async fn main_coroutine() -> Result<Vec<String>, FutureError> {
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(4))];
    try_gather(tasks).await
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    event_loop.catch_interrupts()?;
    if std::env::args().nth(1).as_deref() != Some("wait") {
        event_loop.call_later(Duration::from_millis(200), press_ctrl_c)?;
    }
    program(&event_loop)
}

pub(crate) fn program(event_loop: &EventLoop) -> Result<(), Box<dyn Error>> {
    let start = event_loop.time();
    let task = event_loop.try_create_task(main_coroutine())?;
    match event_loop.run_until_complete(&task) {
        Err(RunError::Interrupted) => {
            println!("{:?}", event_loop.all_tasks());
            println!("{}", event_loop.all_tasks().iter().all(|task| task.cancel(None)));
            event_loop.drain(Duration::from_secs(10))?;
        }
        outcome => drop(outcome??),
    }
    event_loop.close()?;
    println!("TIME:  {:?}", event_loop.time() - start);
    Ok(())
}

/// What the terminal does at Ctrl-C.
fn press_ctrl_c() {
    signal_hook::low_level::raise(libc::SIGINT).expect("a process may send itself a signal");
}
