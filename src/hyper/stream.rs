//! hyper's `Read` and `Write` for the stream sockets.
//!
//! The bytes go from the kernel into hyper's buffer with nothing in between: hyper lends memory that may be uninitialised, and
//! `poll_read_uninit` writes into just that. A wrapper type would do the same with one more name for everybody to learn; the orphan rule asks
//! for none, the sockets being ours.

#![expect(unsafe_code, reason = "hyper lends uninitialised memory, and has to be told how much of it was filled")]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::AsyncWrite;

use crate::net::{TcpStream, UnixStream};

macro_rules! hyper_stream {
    ($Stream:ty) => {
        /// Reads into hyper's buffer directly.
        impl Read for $Stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut cursor: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: nothing here writes uninitialised bytes over initialised ones: `poll_read_uninit` only stores bytes it has read.
                let memory = unsafe { cursor.as_mut() };
                let read = ready!(self.poll_read_uninit(cx, memory))?;
                // SAFETY: `poll_read_uninit` answers with the number of bytes at the front of `memory` that it has initialised.
                unsafe { cursor.advance(read) };
                Poll::Ready(Ok(()))
            }
        }

        /// Writes go straight to the socket, several buffers in one call where hyper has several. Shutting down ends the write direction.
        impl Write for $Stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write(self, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_close(self, cx)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write_vectored(self, cx, bufs)
            }
        }
    };
}

hyper_stream!(TcpStream);
hyper_stream!(UnixStream);
