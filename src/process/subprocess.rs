//! A process whose pipes are served by a protocol: asyncio's `subprocess_exec`.
//!
//! One task, the *driver*, owns the protocol, the pipes' ends and the wait for the process, and calls the protocol's methods one after the
//! other. So the protocol needs no lock, and what happens on one pipe is told in its order: data, then the loss. Between pipes, and between
//! them and the end of the process, the order is what the system makes it; the driver begins its look at the next source each time, so that
//! a busy one does not keep the others waiting.
//!
//! The transport is the other face, for any thread: a buffer for the process's input, a wish to close, signals. It wakes the driver.
//!
//! - X4: `connection_lost` comes once, last, after the loss of each pipe and the end of the process.
//! - X5: a driver that goes before the process has ended (its task is aborted, a method panics, the runtime shuts down) kills it.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll, Waker, ready};

use super::command::Command;
use super::offspring::Offspring;
use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::{create_subprocess_shell, returncode};
use crate::Task;
use crate::io::{AsyncRead, AsyncWrite};
use crate::loom::{Arc, Mutex};
use crate::signal::unix::SignalKind;
use crate::spawn::spawn;

/// How much is read from a pipe at a time.
const CHUNK: usize = 64 * 1024;

/// The buffered input above which the protocol is asked to pause, and that at which it may go on.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

/// What is told of a process. Each method has a default that does nothing. They run in a task of their own, one at a time.
///
/// Streams have their numbers: 0 is the input of the process, 1 its output, 2 its errors. What is told of one stream is in order; otherwise the
/// process's end may be told before its last output.
pub trait SubprocessProtocol: Send + 'static {
    /// The process runs. Called first, by [`subprocess_exec`] itself.
    fn connection_made(&mut self, transport: &SubprocessTransport) {
        let _ = transport;
    }

    /// The process has written `data` to stream `fd`.
    fn pipe_data_received(&mut self, fd: i32, data: &[u8]) {
        let _ = (fd, data);
    }

    /// Stream `fd` is closed. The error says why, if it was not by the usual end.
    fn pipe_connection_lost(&mut self, fd: i32, error: Option<&io::Error>) {
        let _ = (fd, error);
    }

    /// The process has ended, and is reaped.
    fn process_exited(&mut self) {}

    /// The process has ended and all its streams are closed. Called last, once. The error: its status could not be learnt.
    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = error;
    }

    /// More than 64 KiB of input wait for the process: write no more for now.
    fn pause_writing(&mut self) {}

    /// At most 16 KiB of input wait for the process.
    fn resume_writing(&mut self) {}
}

/// Starts `command`, with pipes for the streams that it does not set, and gives what happens to the protocol that `factory` makes.
///
/// The transport writes to the process and signals it. The task has the protocol as its output, when all is over; a dropped task runs on.
/// Aborting it, and a panic of the protocol, kills the process.
///
/// # Errors
///
/// As [`Command::spawn`]; the factory is not called then. [`NoRuntime`](crate::NoRuntime) inside the error outside a runtime.
///
/// ```
/// use eddies::process::{SubprocessProtocol, create_subprocess_exec, subprocess_exec};
///
/// #[derive(Default)]
/// struct Collect(Vec<u8>);
///
/// impl SubprocessProtocol for Collect {
///     fn pipe_data_received(&mut self, fd: i32, data: &[u8]) {
///         assert_eq!(fd, 1);
///         self.0.extend_from_slice(data);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let mut cat = create_subprocess_exec("cat", ["-"]);
///     let (transport, protocol) = subprocess_exec(Collect::default, &mut cat)?;
///     transport.write(b"there and back")?;
///     transport.write_eof();
///     assert_eq!(protocol.await?.0, b"there and back");
///     assert_eq!(transport.returncode(), Some(0));
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn subprocess_exec<P: SubprocessProtocol>(
    factory: impl FnOnce() -> P,
    command: &mut Command,
) -> io::Result<(SubprocessTransport, Task<P>)> {
    crate::scheduler::current::runtime("subprocess_exec")?;
    command.default_streams(0, Stdio::piped);
    let child = command.spawn();
    command.forget_default_streams();
    let child = child?;
    let transport = SubprocessTransport { offspring: child.offspring, input: Arc::new(Mutex::new(Input::default())) };
    let mut driver = Driver {
        transport: transport.clone(),
        stdin: child.stdin,
        stdout: child.stdout,
        stderr: child.stderr,
        unwritten: VecDeque::new(),
        chunk: vec![0; CHUNK],
        is_paused: false,
        next: 0,
    };
    driver.transport.input.lock().is_open = driver.stdin.is_some();
    let mut protocol = factory();
    protocol.connection_made(&transport);
    let task = spawn(async move {
        driver.run(&mut protocol).await;
        protocol
    });
    Ok((transport, task))
}

/// [`subprocess_exec`] for a command of the shell; see [`create_subprocess_shell`] and the example of [`SubprocessTransport`].
///
/// # Errors
///
/// As [`subprocess_exec`].
#[track_caller]
pub fn subprocess_shell<P: SubprocessProtocol>(
    factory: impl FnOnce() -> P,
    command: impl AsRef<std::ffi::OsStr>,
) -> io::Result<(SubprocessTransport, Task<P>)> {
    subprocess_exec(factory, &mut create_subprocess_shell(command))
}

/// A process that a protocol serves, as anybody may use it. Clones are the same; dropping them does nothing.
///
/// ```
/// use eddies::process::{SubprocessProtocol, subprocess_shell};
///
/// struct Ignore;
/// impl SubprocessProtocol for Ignore {}
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (transport, protocol) = subprocess_shell(|| Ignore, "exec sleep 60")?;
///     assert_eq!(transport.returncode(), None);
///     transport.close();
///     protocol.await?;
///     assert_eq!(transport.returncode(), Some(-9));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct SubprocessTransport {
    offspring: Arc<Offspring>,
    input: Arc<Mutex<Input>>,
}

/// What the transport wants of the driver. Written by both, any thread.
#[derive(Default)]
struct Input {
    /// Not yet taken by the driver.
    buffer: VecDeque<u8>,
    /// Whether more may be written.
    is_open: bool,
    /// Whether everything is to end at once.
    is_closing: bool,
    /// The driver, while it waits.
    driver: Option<Waker>,
}

impl SubprocessTransport {
    /// The number of the process; after its end it may be another's.
    pub fn pid(&self) -> u32 {
        self.offspring.id()
    }

    /// The exit code, `-n` if signal `n` ended the process, or `None` while it runs.
    pub fn returncode(&self) -> Option<i32> {
        self.offspring.try_wait().ok().flatten().map(returncode)
    }

    /// Sends a signal; see [`Child::send_signal`](super::Child::send_signal).
    ///
    /// # Errors
    ///
    /// As [`Child::send_signal`](super::Child::send_signal).
    pub fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        self.offspring.send_signal(kind)
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    ///
    /// As [`send_signal`](SubprocessTransport::send_signal).
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(SignalKind::terminate())
    }

    /// Ends the process (SIGKILL). One that has ended already is left in peace.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn kill(&self) -> io::Result<()> {
        self.offspring.kill()
    }

    /// Puts `data` into the buffer of the process's input. Never waits; the protocol's `pause_writing` tells when the buffer is large.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the input is closed, or is no pipe.
    pub fn write(&self, data: &[u8]) -> io::Result<()> {
        self.tell_driver(|input| {
            if !input.is_open {
                return Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "the input of this process is closed, or not a pipe",
                ));
            }
            input.buffer.extend(data);
            Ok(())
        })
    }

    /// Closes the input of the process once the buffer is written.
    pub fn write_eof(&self) {
        self.tell_driver(|input| input.is_open = false);
    }

    /// Bytes of input in the buffer.
    pub fn write_buffer_size(&self) -> usize {
        self.input.lock().buffer.len()
    }

    /// Ends everything: the pipes are closed, what is in the buffer is dropped, and a process that still runs is killed. The protocol is told as
    /// usual.
    pub fn close(&self) {
        // One that may not be killed (it changed its user) is waited for.
        let _ = self.kill();
        self.tell_driver(|input| {
            input.buffer.clear();
            input.is_open = false;
            input.is_closing = true;
        });
    }

    /// Whether [`close`](SubprocessTransport::close) was called.
    pub fn is_closing(&self) -> bool {
        self.input.lock().is_closing
    }

    fn tell_driver<R>(&self, change: impl FnOnce(&mut Input) -> R) -> R {
        let (answer, driver) = {
            let mut input = self.input.lock();
            (change(&mut input), input.driver.take())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        answer
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport").field("pid", &self.pid()).field("returncode", &self.returncode()).finish()
    }
}

/// One thing to be told.
enum Event {
    /// So many bytes of the chunk, from that stream.
    Received(i32, usize),
    Lost(i32, Option<io::Error>),
    Exited(io::Result<ExitStatus>),
    Pause,
    Resume,
}

type Exit = Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send>>;

/// The driver's part. `None`: lost, or never there.
struct Driver {
    transport: SubprocessTransport,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// Taken from the buffer, not yet written.
    unwritten: VecDeque<u8>,
    /// Where is read to.
    chunk: Vec<u8>,
    /// Whether the protocol was asked to pause.
    is_paused: bool,
    /// Which source the next look begins with.
    next: usize,
}

impl Driver {
    async fn run(&mut self, protocol: &mut impl SubprocessProtocol) {
        let offspring = self.transport.offspring.clone();
        let mut exit: Option<Exit> = Some(Box::pin(async move { offspring.wait().await }));
        let mut failure = None;
        while exit.is_some() || self.stdin.is_some() || self.stdout.is_some() || self.stderr.is_some() {
            match poll_fn(|cx| self.poll_event(cx, &mut exit)).await {
                Event::Received(fd, count) => protocol.pipe_data_received(fd, &self.chunk[..count]),
                Event::Lost(fd, error) => protocol.pipe_connection_lost(fd, error.as_ref()),
                Event::Exited(Ok(_)) => protocol.process_exited(),
                Event::Exited(Err(error)) => failure = Some(error),
                Event::Pause => protocol.pause_writing(),
                Event::Resume => protocol.resume_writing(),
            }
        }
        protocol.connection_lost(failure.as_ref());
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, exit: &mut Option<Exit>) -> Poll<Event> {
        let (waiting, is_closing) = {
            let mut input = self.transport.input.lock();
            // Dropped outside the lock: it may be the last reference to a task.
            let last = input.driver.replace(cx.waker().clone());
            let answer = (input.buffer.len() + self.unwritten.len(), input.is_closing);
            drop(input);
            drop(last);
            answer
        };
        if is_closing && let Some(fd) = self.drop_pipe() {
            return Poll::Ready(Event::Lost(fd, None));
        }
        if self.stdin.is_some() && !self.is_paused && waiting > HIGH {
            self.is_paused = true;
            return Poll::Ready(Event::Pause);
        }
        if self.is_paused && waiting <= LOW {
            self.is_paused = false;
            return Poll::Ready(Event::Resume);
        }
        let first = self.next;
        for source in (0..4).map(|offset| (first + offset) % 4) {
            let event = match source {
                0 => self.poll_input(cx, exit.is_none()),
                1 => poll_output(&mut self.stdout, 1, &mut self.chunk, cx),
                2 => poll_output(&mut self.stderr, 2, &mut self.chunk, cx),
                _ => poll_exit(exit, cx),
            };
            if event.is_ready() {
                self.next = (source + 1) % 4;
                return event;
            }
        }
        Poll::Pending
    }

    /// Closes a pipe that is open, and says which.
    fn drop_pipe(&mut self) -> Option<i32> {
        self.unwritten.clear();
        if self.stdin.take().is_some() {
            Some(0)
        } else if self.stdout.take().is_some() {
            Some(1)
        } else {
            self.stderr.take().map(|_| 2)
        }
    }

    /// Writes what there is; ready when the pipe is lost, or when the protocol may go on.
    fn poll_input(&mut self, cx: &mut Context<'_>, has_exited: bool) -> Poll<Event> {
        while let Some(stdin) = &mut self.stdin {
            if self.unwritten.is_empty() {
                let mut input = self.transport.input.lock();
                std::mem::swap(&mut self.unwritten, &mut input.buffer);
                if self.unwritten.is_empty() && input.is_open && !has_exited {
                    drop(input);
                    ready!(stdin.poll_deserted(cx));
                }
            }
            if self.unwritten.is_empty() {
                return Poll::Ready(self.lose_input(None));
            }
            match Pin::new(stdin).poll_write(cx, self.unwritten.as_slices().0) {
                Poll::Ready(Ok(count)) => _ = self.unwritten.drain(..count),
                Poll::Ready(Err(error)) => return Poll::Ready(self.lose_input(Some(error))),
                Poll::Pending if has_exited => {
                    return Poll::Ready(self.lose_input(Some(io::ErrorKind::BrokenPipe.into())));
                }
                Poll::Pending => return Poll::Pending,
            }
            if self.is_paused && self.unwritten.len() <= LOW {
                self.is_paused = false;
                return Poll::Ready(Event::Resume);
            }
        }
        Poll::Pending
    }

    fn lose_input(&mut self, why: Option<io::Error>) -> Event {
        self.stdin = None;
        self.unwritten.clear();
        let mut input = self.transport.input.lock();
        input.is_open = false;
        input.buffer.clear();
        Event::Lost(0, why)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // X5. Nothing happens to a process that has ended.
        let _ = self.transport.kill();
    }
}

fn poll_output(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    fd: i32,
    chunk: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Event> {
    let Some(open) = pipe else { return Poll::Pending };
    let lost = match ready!(Pin::new(open).poll_read(cx, chunk)) {
        Ok(0) => None,
        Ok(count) => return Poll::Ready(Event::Received(fd, count)),
        Err(error) => Some(error),
    };
    *pipe = None;
    Poll::Ready(Event::Lost(fd, lost))
}

fn poll_exit(exit: &mut Option<Exit>, cx: &mut Context<'_>) -> Poll<Event> {
    let Some(running) = exit else { return Poll::Pending };
    let status = ready!(running.as_mut().poll(cx));
    *exit = None;
    Poll::Ready(Event::Exited(status))
}
