//! A [`LoopFuture`] as people see it: asyncio's `repr`.

use std::cell::RefCell;
use std::fmt;

use super::failure::FutureError;
use super::loop_future::LoopFuture;
use crate::TaskState;

std::thread_local! {
    /// The futures that are being shown on this thread, outermost first: a result may contain its own future.
    static SHOWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a future in [`SHOWN`].
struct Showing;

impl Showing {
    /// `None`: it is there already.
    fn begin(address: usize) -> Option<Showing> {
        SHOWN.with_borrow_mut(|shown| {
            let is_new = !shown.contains(&address);
            is_new.then(|| {
                shown.push(address);
                Showing
            })
        })
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        SHOWN.with_borrow_mut(|shown| {
            shown.pop();
        });
    }
}

/// As Python prints them: `<Future pending>`, `<Task finished name="reader" spawned at src/main.rs:3:5 result=42>`.
impl<T: fmt::Debug> fmt::Debug for LoopFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.task().is_some() { "<Task " } else { "<Future " })?;
        let Some(_showing) = Showing::begin(self.address()) else { return f.write_str("...>") };
        let is_cancelling = self.task().is_some_and(|task| task.cancelling() > 0);
        match self.state() {
            TaskState::Pending | TaskState::Running if is_cancelling => f.write_str("cancelling")?,
            state => write!(f, "{state}")?,
        }
        if let Some(task) = self.task() {
            if let Some(name) = task.name() {
                write!(f, " name={name:?}")?;
            }
            write!(f, " spawned at {}", self.made_at())?;
            task.show_waits(f)?;
        }
        match self.peek() {
            None => self.show_parties(f)?,
            Some(Ok(value)) => write!(f, " result={value:?}")?,
            Some(Err(FutureError::Cancelled(_))) => {}
            Some(Err(error)) => write!(f, " error={:?}", error.to_string())?,
        }
        f.write_str(">")
    }
}

impl<T> LoopFuture<T> {
    /// The places where callbacks were added, the first and the last if there are many; and how many awaits there are.
    fn show_parties(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (callbacks, waiters) = self.parties();
        match &callbacks[..] {
            [] => {}
            [one] => write!(f, " cb=[{one}]")?,
            [one, two] => write!(f, " cb=[{one}, {two}]")?,
            [first, between @ .., last] => write!(f, " cb=[{first}, <{} more>, {last}]", between.len())?,
        }
        if waiters > 0 {
            write!(f, " waiters={waiters}")?;
        }
        Ok(())
    }
}
