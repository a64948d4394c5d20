//! X17: Ctrl-C, and a program that cancels its tasks one by one: `cargo run --example asyncio_x17`.
//!
//! ```python
//! async def do_some_work(x):
//!     print('Waiting: ', x)
//!     await asyncio.sleep(x)
//!     return 'Done after {}s'.format(x)
//!
//! tasks = [
//!     asyncio.ensure_future(do_some_work(1)),
//!     asyncio.ensure_future(do_some_work(2)),
//!     asyncio.ensure_future(do_some_work(2))
//! ]
//! start = now()
//! loop = asyncio.get_event_loop()
//! try:
//!     loop.run_until_complete(asyncio.wait(tasks))
//! except KeyboardInterrupt as e:
//!     print(asyncio.Task.all_tasks())
//!     for task in asyncio.Task.all_tasks():
//!         print(task.cancel())
//!     loop.stop()
//!     loop.run_forever()
//! finally:
//!     loop.close()
//! print('TIME: ', now() - start)
//! ```
//!
//! So that nobody has to press it, the program sends itself a Ctrl-C after 0.2 seconds. With the argument `wait` (`cargo run --example
//! asyncio_x17 -- wait`) it waits for yours, for two seconds. It prints, the tasks on one line:
//!
//! ```text
//! Waiting:  1
//! Waiting:  2
//! Waiting:  2
//! [<Task pending spawned at examples/asyncio/x17_ctrl_c.rs:70:18>, <Task pending …>, <Task pending …>, <Task pending …>]
//! true
//! true
//! true
//! true
//! TIME:  201.704856ms
//! ```
//!
//! The exception that comes out of `run_until_complete` is an error here, `RunError::Interrupted`. The fourth task is that of `wait`: Python
//! makes one of any coroutine that `run_until_complete` is given, here the program says so. `stop` and then `run_forever` runs one iteration,
//! in which each task finds that it is cancelled: enough for tasks that only wait. The next program shows where it is not.

use std::error::Error;
use std::time::Duration;

use eddies::{EventLoop, RunError, When, ensure_future, get_event_loop, sleep, wait};

async fn do_some_work(x: u64) -> String {
    println!("Waiting:  {x}");
    sleep(Duration::from_secs(x)).await;
    format!("Done after {x}s")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let event_loop = get_event_loop()?;
    // A Rust program dies of Ctrl-C unless it says that it wants to hear of it.
    event_loop.catch_interrupts()?;
    if std::env::args().nth(1).as_deref() != Some("wait") {
        event_loop.call_later(Duration::from_millis(200), press_ctrl_c)?;
    }
    program(&event_loop)
}

pub(crate) fn program(event_loop: &EventLoop) -> Result<(), Box<dyn Error>> {
    let tasks = [ensure_future(do_some_work(1)), ensure_future(do_some_work(2)), ensure_future(do_some_work(2))];
    let start = event_loop.time();
    let waiting = ensure_future(wait(tasks, When::All, None));
    match event_loop.run_until_complete(waiting) {
        Err(RunError::Interrupted) => {
            println!("{:?}", event_loop.all_tasks());
            for task in event_loop.all_tasks() {
                println!("{}", task.cancel(None));
            }
            event_loop.stop();
            event_loop.run_forever()?;
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
