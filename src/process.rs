//! Processes of the operating system: [`Command`] starts one, [`Child`] waits for it, talks to it, signals it.
//!
//! ```
//! use eddies::process::Command;
//!
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     let output = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).output().await?;
//!     assert_eq!(output.stdout, b"out\n");
//!     assert_eq!(output.stderr, b"err\n");
//!     assert_eq!(output.status.code(), Some(3));
//!     Ok(())
//! })
//! # }
//! ```
//!
//! asyncio's names are there as well: [`create_subprocess_exec`], [`create_subprocess_shell`], [`Child::communicate`], [`Child::returncode`], and
//! with a protocol in place of pipes [`subprocess_exec`]. There is no text mode: pipes carry bytes, and `String::from_utf8` makes text of them.
//!
//! # How the end of a process is noticed
//!
//! - X1: only this module reaps what it started, and only under the lock of the process's state. What was reaped is never signalled again, so
//!   no signal reaches a stranger who got the number. On Linux the signal goes through a pidfd, which cannot mean another process at all.
//! - X2: nothing started here stays a zombie. Whoever lets go of a process last, reaps it if it has ended, or leaves it to the *reaper*: a
//!   thread that exists while there are such orphans (`process/orphans.rs`). It needs no runtime, so it outlives them all.
//! - X3: waiting changes nothing. Any number may wait, a dropped wait is forgotten, and the process runs on.
//!
//! On Linux (from 5.3) each process has a pidfd, a source of the reactor like a socket. Where there is none (other unixes, an old kernel, a
//! sandbox) a wait listens for SIGCHLD and asks again after each.
//!
//! Starting a process blocks the thread for the time of `fork` and `exec`, mostly well under a millisecond. Where that is too long, call
//! [`Command::spawn`] in [`spawn_blocking`](crate::spawn_blocking); it needs no loop.
//!
//! Rejected: one task or thread per process that waits and hands the status on. It costs a task or thread for each, and a shutdown of the
//! runtime leaves zombies.

mod child;
mod command;
mod offspring;
mod orphans;
mod pipes;
mod subprocess;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;

pub use std::process::{ExitStatus, Output, Stdio};

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use subprocess::{SubprocessProtocol, SubprocessTransport, subprocess_exec, subprocess_shell};

/// A signal was to be sent to a process that has ended. Inside an [`io::Error`] of kind `NotFound`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEnded {
    id: u32,
}

impl ProcessEnded {
    /// The number that the process had.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for ProcessEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} has ended and takes no signal any more", self.id)
    }
}

impl Error for ProcessEnded {}

impl From<ProcessEnded> for io::Error {
    fn from(error: ProcessEnded) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, error)
    }
}

/// The command that runs `program` with `args`, to be awaited: asyncio's function of that name. What is a keyword argument there is a method
/// of [`Command`]; as there, the standard streams are the parent's unless they are told to be pipes.
///
/// ```
/// use eddies::process::{Stdio, create_subprocess_exec};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let mut child = create_subprocess_exec("cat", ["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).await?;
///     let output = child.communicate("over and back").await?;
///     assert_eq!(output.stdout, b"over and back");
///     assert_eq!(child.returncode(), Some(0));
///     Ok(())
/// })
/// # }
/// ```
pub fn create_subprocess_exec<I>(program: impl AsRef<OsStr>, args: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// The command that has `/bin/sh` run `command`, to be awaited; see [`create_subprocess_exec`]. Never put text of others into it: what it means
/// is up to the shell.
///
/// ```
/// use eddies::process::create_subprocess_shell;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let output = create_subprocess_shell("echo one | tr o 0").output().await?;
///     assert_eq!(output.stdout, b"0ne\n");
///     Ok(())
/// })
/// # }
/// ```
pub fn create_subprocess_shell(command: impl AsRef<OsStr>) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    shell
}

/// The exit code, or `-n` for a process that signal `n` ended: what asyncio calls the return code.
///
/// ```
/// use std::os::unix::process::ExitStatusExt;
/// use std::process::ExitStatus;
///
/// use eddies::process::returncode;
///
/// assert_eq!(returncode(ExitStatus::from_raw(9)), -9);
/// assert_eq!(returncode(ExitStatus::from_raw(3 << 8)), 3);
/// ```
pub fn returncode(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => -signal,
        // Stopped or continued: the system is not asked for those.
        (None, None) => status.into_raw(),
    }
}
