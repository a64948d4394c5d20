//! [`Command`]: what is to be started, and how.

use std::ffi::OsStr;
use std::future::{IntoFuture, Ready, ready};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::Pid;

use super::child::Child;
use super::offspring::Offspring;
use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use crate::loom::Arc;

/// A process to be started: the standard library's `Command`, whose child is waited for without blocking.
///
/// [`spawn`](Command::spawn) it, await it (which is the same), or have it run to its end with [`output`](Command::output) or
/// [`status`](Command::status). It can be used several times. What has no method here is set on [`as_std_mut`](Command::as_std_mut).
///
/// ```
/// use eddies::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let mut child = Command::new("true").await?;
///     assert!(child.wait().await?.success());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a command starts nothing until it is spawned or awaited"]
pub struct Command {
    std: std::process::Command,
    kill_on_drop: bool,
    /// Which of the three streams the caller has set; the defaults of `output` and of a protocol leave those alone.
    is_set: [bool; 3],
}

impl Command {
    /// A command for `program`, which is looked for in `PATH` if it is no path. It inherits environment, directory and standard streams.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(variables);
        self
    }

    /// Keeps a variable from the child.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Keeps all variables from the child, those set so far included.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The directory that the child starts in.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(directory);
        self
    }

    /// What the child reads from. [`Stdio::piped`] makes [`Child::stdin`].
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.std.stdin(stream);
        self.is_set[0] = true;
        self
    }

    /// Where the child's output goes. [`Stdio::piped`] makes [`Child::stdout`].
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(stream);
        self.is_set[1] = true;
        self
    }

    /// Where the child's errors go. [`Stdio::piped`] makes [`Child::stderr`].
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(stream);
        self.is_set[2] = true;
        self
    }

    /// The process group of the child; 0 makes one of its own, which Ctrl-C in the parent's terminal does not reach.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self
    }

    /// Whether a [`Child`] that is dropped before its process has ended kills it (SIGKILL). Otherwise, and by default, it runs on. In both
    /// cases it is reaped in the background.
    ///
    /// ```
    /// use eddies::process::{Command, Stdio};
    /// use futures_util::io::AsyncReadExt;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut command = Command::new("sh");
    ///     command.args(["-c", "echo up; exec sleep 60"]).stdout(Stdio::piped()).kill_on_drop(true);
    ///     let mut child = command.spawn()?;
    ///     let mut stdout = child.stdout.take().unwrap();
    ///     drop(child);
    ///     // The end of its output comes at once, and not after a minute.
    ///     stdout.read_to_end(&mut Vec::new()).await?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn kill_on_drop(&mut self, kills: bool) -> &mut Command {
        self.kill_on_drop = kills;
        self
    }

    /// The standard library's command, for what has no method here.
    pub fn as_std(&self) -> &std::process::Command {
        &self.std
    }

    /// The standard library's command, for what has no method here. Streams that are set through it must be set here as well, if
    /// [`output`](Command::output) is to leave them alone.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Streams that the caller has not set are made by `stream`, from the `first` one on.
    pub(super) fn default_streams(&mut self, first: usize, stream: fn() -> Stdio) {
        for number in first..3 {
            match (self.is_set[number], number) {
                (true, _) => {}
                (false, 0) => _ = self.std.stdin(stream()),
                (false, 1) => _ = self.std.stdout(stream()),
                (false, _) => _ = self.std.stderr(stream()),
            }
        }
    }

    /// Starts the process. Needs no runtime; blocks for the time of `fork` and `exec`.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such program, or no such directory to start it in; `PermissionDenied`; else the system's, for example when
    /// it has no process or descriptor left.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let mut child = self.std.spawn()?;
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            unreachable!("the system numbers processes from 1 to the largest pid_t")
        };
        // The standard library's child neither kills nor reaps when it is dropped.
        let offspring = Arc::new(Offspring::new(pid, self.kill_on_drop));
        let pipes = (|| {
            let stdin = child.stdin.take().map(ChildStdin::new).transpose()?;
            let stdout = child.stdout.take().map(ChildStdout::new).transpose()?;
            let stderr = child.stderr.take().map(ChildStderr::new).transpose()?;
            io::Result::Ok((stdin, stdout, stderr))
        })();
        match pipes {
            Ok((stdin, stdout, stderr)) => Ok(Child { stdin, stdout, stderr, offspring }),
            Err(error) => {
                // The caller gets no child to decide about.
                let _ = offspring.kill();
                Err(error)
            }
        }
    }

    /// Runs the process to its end, and collects what it writes. Streams that are not set: input empty, output and errors collected.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    ///
    /// It starts at the first poll. Dropping the future after that lets go of the process as of a dropped [`Child`]: it runs on, unless
    /// [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    pub async fn output(&mut self) -> io::Result<Output> {
        if !self.is_set[0] {
            self.std.stdin(Stdio::null());
        }
        self.default_streams(1, Stdio::piped);
        let child = self.spawn();
        self.forget_default_streams();
        child?.wait_with_output().await
    }

    /// After a method with defaults of its own: those of `spawn` again.
    pub(super) fn forget_default_streams(&mut self) {
        self.default_streams(0, Stdio::inherit);
    }

    /// Runs the process to its end. Streams that are not set are the parent's.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// As [`output`](Command::output).
    ///
    /// ```
    /// use eddies::process::{Command, returncode};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let status = Command::new("sh").args(["-c", "kill -TERM $$"]).status().await?;
    ///     assert_eq!(returncode(status), -15);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        // A pipe that nobody reads or writes must not keep it from ending.
        (child.stdin, child.stdout, child.stderr) = (None, None, None);
        child.wait().await
    }
}

impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command { std, kill_on_drop: false, is_set: [false; 3] }
    }
}

/// Awaiting a command spawns it.
impl IntoFuture for Command {
    type Output = io::Result<Child>;
    type IntoFuture = Ready<io::Result<Child>>;

    fn into_future(mut self) -> Self::IntoFuture {
        ready(self.spawn())
    }
}

/// Awaiting a command spawns it.
impl IntoFuture for &mut Command {
    type Output = io::Result<Child>;
    type IntoFuture = Ready<io::Result<Child>>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.spawn())
    }
}
