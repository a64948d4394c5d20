//! The two halves of a stream, borrowed or owned: one task reads while another writes.
//!
//! Generic over the stream, so that TCP and Unix streams share one implementation. A half is the whole stream seen from one side: it holds a
//! reference (or a share of an `Arc`) and forwards. The stream itself keeps one waker per direction, so the two halves never take each
//! other's.
//!
//! - N3: at most one owned half of each kind exists for a stream, so a half has its direction for itself.
//! - N4: the write direction is shut down when the owned write half goes, unless it was [forgotten](OwnedWriteHalf::forget) or reunited: else
//!   the peer would wait for an end of the stream that comes only with the read half's drop.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::io::{AsyncRead, AsyncWrite, Interest, Ready};
use crate::loom::Arc;

pub(super) mod sealed {
    /// Only the streams of this crate.
    pub trait Sealed {}
}

/// What the halves need of a stream: implemented by [`TcpStream`](super::TcpStream) and [`UnixStream`](super::UnixStream), whose methods of
/// the same names say more. Sealed.
pub trait StreamSocket: sealed::Sealed + fmt::Debug + Send + Sync + Unpin + 'static {
    /// The address of an end.
    type Address;

    /// Waits for readiness.
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + Send;
    /// Reads without waiting.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// Reads into several buffers without waiting.
    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    /// Writes without waiting.
    fn try_write(&self, buf: &[u8]) -> io::Result<usize>;
    /// Writes from several buffers without waiting.
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Ends one direction or both.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// This end's address.
    fn local_addr(&self) -> io::Result<Self::Address>;
    /// The other end's address.
    fn peer_addr(&self) -> io::Result<Self::Address>;
}

/// The borrowed reading half of a stream, from [`TcpStream::split`](super::TcpStream::split) or
/// [`UnixStream::split`](super::UnixStream::split).
#[derive(Debug)]
pub struct ReadHalf<'a, S> {
    stream: &'a S,
}

/// The borrowed writing half of a stream, from [`TcpStream::split`](super::TcpStream::split) or
/// [`UnixStream::split`](super::UnixStream::split). Dropping it does not end the write direction.
#[derive(Debug)]
pub struct WriteHalf<'a, S> {
    stream: &'a S,
}

/// The reading half that may move to another task, from [`TcpStream::into_split`](super::TcpStream::into_split) or
/// [`UnixStream::into_split`](super::UnixStream::into_split). The stream is closed when both halves are dropped.
#[derive(Debug)]
pub struct OwnedReadHalf<S> {
    /// The stream. Shared with the write half; neither changes it.
    stream: Arc<S>,
}

/// The writing half that may move to another task, from [`TcpStream::into_split`](super::TcpStream::into_split) or
/// [`UnixStream::into_split`](super::UnixStream::into_split).
///
/// Dropping it ends the write direction, so that the peer reads an end of the stream; [`forget`](OwnedWriteHalf::forget) leaves it open. The
/// stream is closed when both halves are dropped.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: StreamSocket> {
    /// The stream. Shared with the read half; neither changes it.
    stream: Arc<S>,
    /// Whether the drop ends the write direction (N4).
    ends_stream: bool,
}

/// The halves given to `reunite` are not those of one stream. They come back unharmed.
pub struct ReuniteError<S: StreamSocket>(
    /// The reading half.
    pub OwnedReadHalf<S>,
    /// The writing half.
    pub OwnedWriteHalf<S>,
);

impl<S: StreamSocket> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReuniteError").field(&self.0).field(&self.1).finish()
    }
}

impl<S: StreamSocket> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl<S: StreamSocket> Error for ReuniteError<S> {}

pub(super) fn borrowed<S>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn owned<S: StreamSocket>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    (OwnedReadHalf { stream: stream.clone() }, OwnedWriteHalf { stream, ends_stream: true })
}

fn reunite<S: StreamSocket>(read: OwnedReadHalf<S>, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
    if !Arc::ptr_eq(&read.stream, &write.stream) {
        return Err(ReuniteError(read, write));
    }
    write.ends_stream = false;
    drop(write);
    Ok(Arc::try_unwrap(read.stream).expect("the two halves hold the only two shares (N3)"))
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    /// Puts the two halves together again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`], with both halves in it, when they are not of the same stream.
    pub fn reunite(self, write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(self, write)
    }
}

impl<S: StreamSocket> OwnedWriteHalf<S> {
    /// Puts the two halves together again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`], with both halves in it, when they are not of the same stream.
    pub fn reunite(self, read: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(read, self)
    }

    /// The stream, to be held weakly (N3).
    pub(crate) fn share(&self) -> &Arc<S> {
        &self.stream
    }

    /// Drops the half without ending the write direction: the peer reads an end of the stream only when the read half is dropped too.
    pub fn forget(mut self) {
        self.ends_stream = false;
    }
}

impl<S: StreamSocket> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.ends_stream {
            // A connection that is gone already cannot be ended, and need not be.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// What both kinds of halves offer.
macro_rules! half_methods {
    () => {
        /// Waits for readiness, as the stream's `ready`.
        ///
        /// # Errors
        ///
        /// Those of the stream's `ready`.
        ///
        /// # Cancel safety
        ///
        /// Dropping the future loses nothing.
        pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
            self.stream.ready(interest).await
        }

        /// This end's address.
        ///
        /// # Errors
        ///
        /// The system's.
        pub fn local_addr(&self) -> io::Result<S::Address> {
            self.stream.local_addr()
        }

        /// The other end's address.
        ///
        /// # Errors
        ///
        /// The system's, for example `NotConnected` after the connection broke.
        pub fn peer_addr(&self) -> io::Result<S::Address> {
            self.stream.peer_addr()
        }
    };
}

macro_rules! read_half {
    ([$($generics:tt)*] $Half:ty) => {
        impl<$($generics)* S: StreamSocket> $Half {
            half_methods!();

            /// Waits until there is something to read, or the peer has ended its side.
            ///
            /// # Errors
            ///
            /// Those of the stream's `ready`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            pub async fn readable(&self) -> io::Result<()> {
                self.stream.ready(Interest::READABLE).await.map(drop)
            }

            /// Reads what is there, without waiting; 0 is the end of the stream.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when nothing is there; else the system's.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.try_read(buf)
            }

            /// Reads what is there into several buffers, one after the other, without waiting; 0 is the end of the stream.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when nothing is there; else the system's.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.try_read_vectored(bufs)
            }
        }

        impl<$($generics)* S> AsyncRead for $Half
        where
            for<'stream> &'stream S: AsyncRead + Unpin,
        {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self.stream).poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self.stream).poll_read_vectored(cx, bufs)
            }
        }

        impl<$($generics)* S> AsRef<S> for $Half {
            fn as_ref(&self) -> &S {
                &self.stream
            }
        }
    };
}

macro_rules! write_half {
    ([$($generics:tt)*] $Half:ty) => {
        impl<$($generics)* S: StreamSocket> $Half {
            half_methods!();

            /// Waits until something can be written, or nothing ever can again.
            ///
            /// # Errors
            ///
            /// Those of the stream's `ready`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            pub async fn writable(&self) -> io::Result<()> {
                self.stream.ready(Interest::WRITABLE).await.map(drop)
            }

            /// Writes as much as there is room for, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when there is no room; else the system's.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.stream.try_write(buf)
            }

            /// Writes from several buffers, one after the other, as much as there is room for, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when there is no room; else the system's.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.try_write_vectored(bufs)
            }
        }

        impl<$($generics)* S: StreamSocket> AsyncWrite for $Half
        where
            for<'stream> &'stream S: AsyncWrite + Unpin,
        {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self.stream).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut &*self.stream).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut &*self.stream).poll_flush(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut &*self.stream).poll_close(cx)
            }
        }

        impl<$($generics)* S: StreamSocket> AsRef<S> for $Half {
            fn as_ref(&self) -> &S {
                &self.stream
            }
        }
    };
}

read_half!(['a,] ReadHalf<'a, S>);
read_half!([] OwnedReadHalf<S>);
write_half!(['a,] WriteHalf<'a, S>);
write_half!([] OwnedWriteHalf<S>);
