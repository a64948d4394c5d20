//! What a task waits for, as far as that has a place of its own: shown by `Debug`, used by nothing else.
//!
//! Whoever waits in a task tells the task's extension when it begins and when it ends; any thread that shows the task reads. The list has more than
//! one entry where a task waits for several things at once, as under `gather`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::panic::Location;

use super::join::TaskHandle;

/// What one task waits for. Read and written under the extension's lock.
#[derive(Default)]
pub(super) struct Waits {
    /// The number of the next wait.
    next: u64,
    /// By number: in the order in which they began.
    list: BTreeMap<u64, Awaited>,
}

/// A future that is awaited: its task, if it has one, and where it was made.
struct Awaited {
    task: Option<TaskHandle>,
    made_at: &'static Location<'static>,
}

impl fmt::Display for Awaited {
    /// Without what that waits for in turn: two tasks may wait for each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            None => write!(f, "<Future made at {}>", self.made_at),
            Some(task) => {
                f.write_str("<Task")?;
                if let Some(name) = task.name() {
                    write!(f, " name={name:?}")?;
                }
                write!(f, " spawned at {}>", self.made_at)
            }
        }
    }
}

impl TaskHandle {
    /// The task begins to wait for a future that was made, or whose task was spawned, at `made_at`. The number is for
    /// [`end_wait`](TaskHandle::end_wait).
    pub(crate) fn begin_wait(&self, task: Option<&TaskHandle>, made_at: &'static Location<'static>) -> u64 {
        let awaited = Awaited { task: task.cloned(), made_at };
        let mut waits = self.header().extension.get_or_make().waits.lock();
        let number = waits.next;
        waits.next += 1;
        waits.list.insert(number, awaited);
        number
    }

    /// The task waits for that no more.
    pub(crate) fn end_wait(&self, number: u64) {
        let awaited = self.header().extension.get().and_then(|extension| extension.waits.lock().list.remove(&number));
        // The last handle frees what the other task's extension holds, so the lock is free by now.
        drop(awaited);
    }

    /// ` wait_for=…` if the task waits for something that is known here.
    pub(crate) fn show_waits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(extension) = self.header().extension.get() else { return Ok(()) };
        // A text first: the formatter is the user's.
        let mut text = String::new();
        let several = {
            let waits = extension.waits.lock();
            for awaited in waits.list.values() {
                let comma = if text.is_empty() { "" } else { ", " };
                write!(text, "{comma}{awaited}")?;
            }
            waits.list.len() > 1
        };
        match (text.is_empty(), several) {
            (true, _) => Ok(()),
            (false, false) => write!(f, " wait_for={text}"),
            (false, true) => write!(f, " wait_for=[{text}]"),
        }
    }
}
