//! [`Wire`]: what a transport moves its bytes over: a socket or one end of a pipe, in non-blocking mode.
//!
//! Any thread may call `try_*`; only the task of the connection calls `poll_*`, since those keep one waker per direction.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags};

use crate::io::AsyncRead;
use crate::net::source::{Direction, IoSource};
use crate::net::{TcpStream, UnixStream, unix};

/// What bytes are moved over.
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The end of a pipe that is read.
    Reader(IoSource<File>),
    /// The end of a pipe that is written. The flag: whether its reader's end can be watched.
    Writer(IoSource<File>, bool),
}

/// The addresses of both ends, which outlive the socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local_unix: Option<unix::SocketAddr>,
    pub(super) peer_unix: Option<unix::SocketAddr>,
}

impl Wire {
    pub(super) fn ends(&self) -> Ends {
        match self {
            Wire::Tcp(stream) => {
                Ends { local: stream.local_addr().ok(), peer: stream.peer_addr().ok(), ..Ends::default() }
            }
            Wire::Unix(stream) => {
                Ends { local_unix: stream.local_addr().ok(), peer_unix: stream.peer_addr().ok(), ..Ends::default() }
            }
            Wire::Reader(_) | Wire::Writer(..) => Ends::default(),
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        !matches!(self, Wire::Writer(..))
    }

    pub(super) fn is_writable(&self) -> bool {
        !matches!(self, Wire::Reader(_))
    }

    /// Whether it has two directions, of which one can be ended alone.
    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Wire::Tcp(_) | Wire::Unix(_))
    }

    /// Reads into `buf`, or waits.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Wire::Tcp(stream) => Pin::new(&mut &*stream).poll_read(cx, buf),
            Wire::Unix(stream) => Pin::new(&mut &*stream).poll_read(cx, buf),
            // A short read of a terminal ends at a line, so it says nothing of what is left.
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.poll_io(cx, Direction::Read, |mut file| file.read(buf)),
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(stream) => stream.poll_read_ready(cx),
            Wire::Unix(stream) => stream.poll_read_ready(cx),
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.poll_ready(cx, Direction::Read),
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(stream) => stream.poll_write_ready(cx),
            Wire::Unix(stream) => stream.poll_write_ready(cx),
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.poll_ready(cx, Direction::Write),
        }
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.try_read(buf),
            Wire::Unix(stream) => stream.try_read(buf),
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.try_io(Direction::Read, |mut file| file.read(buf)),
        }
    }

    /// Writes what there is room for; 0 when there is none.
    pub(super) fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let answer = match self {
                Wire::Tcp(stream) => stream.try_write_vectored(bufs),
                Wire::Unix(stream) => stream.try_write_vectored(bufs),
                Wire::Reader(pipe) | Wire::Writer(pipe, _) => {
                    pipe.try_io(Direction::Write, |mut file| file.write_vectored(bufs))
                }
            };
            match answer {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                answer => return answer,
            }
        }
    }

    /// One try of `op`, a write to the descriptor that is not among the methods above.
    pub(super) fn try_write_with<R>(&self, op: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        match self {
            Wire::Tcp(stream) => stream.try_io(crate::io::Interest::WRITABLE, || op(stream.as_fd())),
            Wire::Unix(stream) => stream.try_io(crate::io::Interest::WRITABLE, || op(stream.as_fd())),
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.try_io(Direction::Write, |file| op(file.as_fd())),
        }
    }

    /// Waits until a write is worth a try, beside the task of the connection.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.writable().await,
            Wire::Unix(stream) => stream.writable().await,
            Wire::Reader(pipe) | Wire::Writer(pipe, _) => pipe.ready(crate::io::Interest::WRITABLE).await.map(drop),
        }
    }

    /// Ends directions of a socket at once; a pipe has none to end alone.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.shutdown(how),
            Wire::Unix(stream) => stream.shutdown(how),
            Wire::Reader(_) | Wire::Writer(..) => Ok(()),
        }
    }

    /// Ready when the reader of this writing end of a pipe is gone. The kernel tells that as an error condition, which counts as readable
    /// too; what else makes a descriptor readable is passed over.
    pub(super) fn poll_reader_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Wire::Writer(pipe, true) = self else { return Poll::Pending };
        loop {
            std::task::ready!(pipe.poll_ready(cx, Direction::Read))?;
            let is_gone = pipe.try_io(Direction::Read, |file| {
                let mut fds = [PollFd::new(file, PollFlags::empty())];
                rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
                let gone = fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
                if gone { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match is_gone {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                answer => return Poll::Ready(answer),
            }
        }
    }
}
