//! The parent's ends of a child's standard streams.
//!
//! mio's pipes, for the standard library's can be read by an exclusive reference only. The child's ends stay in blocking mode: the mode
//! belongs to each end of a pipe. Any thread; one task at a time reads or writes.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use mio::unix::pipe::{Receiver, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::io::{AsyncRead, AsyncWrite};
use crate::net::source::{Direction, IoSource};

/// Writes to what the child reads. Dropping it, or `close`, is the end of the child's input.
///
/// A write to a child that reads no more answers `BrokenPipe`.
///
/// ```
/// use eddies::process::{Command, Stdio};
/// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
///     let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
///     stdin.write_all(b"line\n").await?;
///     stdin.close().await?;
///     let mut line = String::new();
///     stdout.read_to_string(&mut line).await?;
///     assert_eq!(line, "line\n");
///     Ok(())
/// })
/// # }
/// ```
pub struct ChildStdin {
    /// `None`: closed.
    source: Option<IoSource<Sender>>,
}

impl ChildStdin {
    pub(super) fn new(pipe: std::process::ChildStdin) -> io::Result<ChildStdin> {
        let pipe = Sender::from(pipe);
        pipe.set_nonblocking(true)?;
        Ok(ChildStdin { source: Some(IoSource::new(pipe)) })
    }

    fn open(&self) -> io::Result<&IoSource<Sender>> {
        self.source.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "this pipe was closed"))
    }

    /// Ready when nobody reads any more, without a write that would tell. Of an error on the writing end the reactor says that both directions
    /// are worth a try; so this waits in the reading one, which nothing else uses, and leaves what is known of the writing one alone.
    pub(super) fn poll_deserted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(source) = &self.source else { return Poll::Ready(()) };
        let is_deserted = source.poll_io(cx, Direction::Read, |pipe| {
            // No event is asked for; errors are always reported.
            let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
            let ready = poll(&mut [PollFd::new(pipe, PollFlags::empty())], now)?;
            if ready > 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        is_deserted.map(drop)
    }

    /// The descriptor, in blocking mode, to be passed on.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` after `close`; else the system's.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        self.open()?;
        match self.source.map(IoSource::into_inner) {
            Some(pipe) => {
                pipe.set_nonblocking(false)?;
                Ok(pipe.into())
            }
            None => unreachable!("it is open"),
        }
    }
}

/// Nothing is buffered, so there is nothing to flush; `close` ends the child's input.
impl AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.open()?.poll_transfer(cx, Direction::Write, buf.len(), |mut pipe| pipe.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Nothing is concluded from how many bytes it took.
        self.open()?.poll_transfer(cx, Direction::Write, 0, |mut pipe| pipe.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChildStdin").field(&self.source.as_ref().map(|source| source.get_ref().as_raw_fd())).finish()
    }
}

impl TryFrom<ChildStdin> for Stdio {
    type Error = io::Error;

    fn try_from(pipe: ChildStdin) -> io::Result<Stdio> {
        pipe.into_owned_fd().map(Stdio::from)
    }
}

macro_rules! reading_end {
    ($(#[$doc:meta])* $Pipe:ident) => {
        $(#[$doc])*
        pub struct $Pipe {
            source: IoSource<Receiver>,
        }

        impl $Pipe {
            pub(super) fn new(pipe: std::process::$Pipe) -> io::Result<$Pipe> {
                let pipe = Receiver::from(pipe);
                pipe.set_nonblocking(true)?;
                Ok($Pipe { source: IoSource::new(pipe) })
            }

            /// The descriptor, in blocking mode, to be passed on: what one child writes can be what another one reads.
            ///
            /// ```
            /// use eddies::process::{Command, Stdio};
            ///
            /// # fn main() -> std::io::Result<()> {
            /// eddies::run(async {
            ///     let mut first = Command::new("echo").arg("one two").stdout(Stdio::piped()).spawn()?;
            ///     let between = Stdio::try_from(first.stdout.take().unwrap())?;
            ///     let second = Command::new("wc").arg("-w").stdin(between).output().await?;
            ///     assert_eq!(String::from_utf8_lossy(&second.stdout).trim(), "2");
            ///     Ok(())
            /// })
            /// # }
            /// ```
            ///
            /// # Errors
            ///
            /// The system's.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                let pipe = self.source.into_inner();
                pipe.set_nonblocking(false)?;
                Ok(pipe.into())
            }
        }

        impl AsyncRead for $Pipe {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                if buf.is_empty() {
                    return Poll::Ready(Ok(0));
                }
                self.source.poll_transfer(cx, Direction::Read, buf.len(), |mut pipe| pipe.read(buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                if bufs.iter().all(|buf| buf.is_empty()) {
                    return Poll::Ready(Ok(0));
                }
                self.source.poll_transfer(cx, Direction::Read, 0, |mut pipe| pipe.read_vectored(bufs))
            }
        }

        impl AsFd for $Pipe {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.get_ref().as_fd()
            }
        }

        impl AsRawFd for $Pipe {
            fn as_raw_fd(&self) -> RawFd {
                self.source.get_ref().as_raw_fd()
            }
        }

        impl fmt::Debug for $Pipe {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Pipe)).field(&self.as_raw_fd()).finish()
            }
        }

        impl TryFrom<$Pipe> for Stdio {
            type Error = io::Error;

            fn try_from(pipe: $Pipe) -> io::Result<Stdio> {
                pipe.into_owned_fd().map(Stdio::from)
            }
        }
    };
}

reading_end! {
    /// Reads what the child writes to its standard output. The end comes when the child, and all who inherited its output, have closed it.
    ChildStdout
}

reading_end! {
    /// Reads what the child writes to its standard error stream. The end comes when the child, and all who inherited it, have closed it.
    ChildStderr
}
