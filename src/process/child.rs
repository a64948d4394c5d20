//! [`Child`]: a process that was started, and the parent's ends of its pipes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Output};

use super::offspring::Offspring;
use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::returncode;
use crate::future::gather;
use crate::io::{AsyncRead, AsyncWrite};
use crate::loom::Arc;
use crate::signal::unix::SignalKind;

/// How much is read from a pipe at a time; a pipe holds 64 KiB.
const CHUNK: usize = 16 * 1024;

/// A stream that is being fed, or read to its end.
type Served<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>;

/// A process that was started by [`Command::spawn`](super::Command::spawn).
///
/// Dropping it lets the process run on, unless [`kill_on_drop`](super::Command::kill_on_drop) says otherwise, and closes the pipes. In any case
/// the process is reaped when it ends; no zombie stays.
#[derive(Debug)]
pub struct Child {
    /// What the child reads, if its input is a pipe.
    pub stdin: Option<ChildStdin>,
    /// What the child writes, if its output is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The errors that the child writes, if they go to a pipe.
    pub stderr: Option<ChildStderr>,
    pub(super) offspring: Arc<Offspring>,
}

impl Child {
    /// The number of the process; `None` once its end has been noticed, for it may be another's then.
    pub fn id(&self) -> Option<u32> {
        matches!(self.offspring.try_wait(), Ok(None)).then(|| self.offspring.id())
    }

    /// Waits for the end of the process, and closes its input first if that is still here, for it might wait for its end: take
    /// [`stdin`](Child::stdin) out to keep it open. A process whose full output nobody reads may never end; see
    /// [`communicate`](Child::communicate).
    ///
    /// It can be called again, and gives the same status.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else has taken the status (the program ignores SIGCHLD, or a library waits for any child);
    /// [`NoRuntime`](crate::NoRuntime) inside the error outside a runtime; or its runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future neither ends the process nor loses its status.
    ///
    /// ```
    /// use eddies::process::Command;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut child = Command::new("sh").args(["-c", "exit 4"]).spawn()?;
    ///     assert_eq!(child.wait().await?.code(), Some(4));
    ///     assert_eq!(child.returncode(), Some(4));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.offspring.wait().await
    }

    /// The status, if the process has ended, without waiting. Leaves the input open and needs no runtime.
    ///
    /// ```
    /// use eddies::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// assert_eq!(child.try_wait()?, None);
    /// child.start_kill()?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// `ECHILD`, as for [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.offspring.try_wait()
    }

    /// The exit code, `-n` if signal `n` ended the process, or `None` while it runs (or when somebody else took its status).
    pub fn returncode(&self) -> Option<i32> {
        self.offspring.try_wait().ok().flatten().map(returncode)
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    ///
    /// [`ProcessEnded`](super::ProcessEnded) inside the error when it has ended: the signal never reaches another process that got the number.
    /// `InvalidInput` for a number that names no signal (the real-time ones have none); else the system's.
    ///
    /// ```
    /// use eddies::process::{Command, ProcessEnded};
    /// use eddies::signal::unix::SignalKind;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     child.send_signal(SignalKind::alarm())?;
    ///     child.wait().await?;
    ///     assert_eq!(child.returncode(), Some(-14));
    ///     let late = child.send_signal(SignalKind::alarm()).unwrap_err();
    ///     assert!(late.get_ref().unwrap().is::<ProcessEnded>());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        self.offspring.send_signal(kind)
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Child::send_signal).
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(SignalKind::terminate())
    }

    /// Ends the process (SIGKILL) without waiting until it has. One that has ended already is left in peace.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn start_kill(&self) -> io::Result<()> {
        self.offspring.kill()
    }

    /// Ends the process (SIGKILL), and waits until it has.
    ///
    /// # Errors
    ///
    /// As [`start_kill`](Child::start_kill) and [`wait`](Child::wait).
    ///
    /// # Cancel safety
    ///
    /// The signal is sent at the first poll; dropping the future after that ends only the waiting.
    ///
    /// ```
    /// use eddies::process::Command;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     child.kill().await?;
    ///     assert_eq!(child.returncode(), Some(-9));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Writes `input` to the process and closes its input, reads its output and errors to their end, all at the same time, and waits for it.
    ///
    /// A process that does not read its input to the end is no error. Streams that are not pipes give nothing.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when there is input and no pipe to write it to; else as [`wait`](Child::wait), and what reading and writing answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends neither the process nor closes the output pipes, but what was read is lost, and how much was written is unknown.
    ///
    /// ```
    /// use eddies::process::{Stdio, create_subprocess_shell};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut child = create_subprocess_shell("tr a-z A-Z").stdin(Stdio::piped()).stdout(Stdio::piped()).await?;
    ///     let output = child.communicate("louder").await?;
    ///     assert_eq!(output.stdout, b"LOUDER");
    ///     assert!(output.stderr.is_empty(), "it is no pipe");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn communicate(&mut self, input: impl AsRef<[u8]>) -> io::Result<Output> {
        let input = input.as_ref();
        if self.stdin.is_none() && !input.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the input of this process is not a pipe"));
        }
        let streams: [Served<'_>; 3] = [
            Box::pin(feed(&mut self.stdin, input)),
            Box::pin(read_to_end(&mut self.stdout)),
            Box::pin(read_to_end(&mut self.stderr)),
        ];
        let mut collected = gather(streams).await.into_iter();
        let mut next = || collected.next().unwrap_or_else(|| Ok(Vec::new()));
        let (fed, stdout, stderr) = (next(), next(), next());
        fed?;
        let status = self.wait().await?;
        Ok(Output { status, stdout: stdout?, stderr: stderr? })
    }

    /// Closes the input, reads output and errors to their end, and waits for the process: [`communicate`](Child::communicate) without input.
    ///
    /// # Errors
    ///
    /// As [`communicate`](Child::communicate).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: the process runs on, unless it is to be killed then.
    ///
    /// ```
    /// use eddies::process::{Command, Stdio};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    ///     assert_eq!(child.wait_with_output().await?.stdout, b"hello\n");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        self.communicate([]).await
    }
}

/// Writes `input` and closes the pipe. That the child does not read it is not our error.
async fn feed(stdin: &mut Option<ChildStdin>, mut input: &[u8]) -> io::Result<Vec<u8>> {
    while let (Some(pipe), false) = (stdin.as_mut(), input.is_empty()) {
        match poll_fn(|cx| Pin::new(&mut *pipe).poll_write(cx, input)).await {
            Ok(count) => input = &input[count..],
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => break,
            Err(error) => return Err(error),
        }
    }
    *stdin = None;
    Ok(Vec::new())
}

async fn read_to_end(pipe: &mut Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(pipe) = pipe else { return Ok(all) };
    let mut chunk = vec![0; CHUNK];
    loop {
        match poll_fn(|cx| Pin::new(&mut *pipe).poll_read(cx, &mut chunk)).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&chunk[..count]),
        }
    }
}
