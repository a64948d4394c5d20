//! [`TlsStream`]: TLS over any stream, for who reads and writes instead of being called. futures-rustls does the work.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_rustls::{TlsAcceptor, TlsConnector};

use super::{Side, TlsConfig, TlsInfo};
use crate::io::{AsyncRead, AsyncWrite};
use crate::time;

/// TLS over a stream of bytes: a [`TcpStream`](crate::net::TcpStream), a [`UnixStream`](crate::net::UnixStream), or any other with the I/O
/// traits.
///
/// Flush after writing: what is written may lie in a record that is not sent yet. Closing sends the farewell (`close_notify`) and ends the
/// write direction; the peer's farewell is the end of the stream, and an end without it is the error `UnexpectedEof`. With the feature
/// `hyper` it serves hyper, too.
pub struct TlsStream<S> {
    stream: futures_rustls::TlsStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Does the handshake, as the side that `tls` says, over `stream`.
    ///
    /// # Errors
    ///
    /// rustls's, inside one of the kind `InvalidData`, when the sides cannot agree or a certificate is not accepted; `TimedOut`;
    /// `UnexpectedEof` when the peer closes; the stream's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream.
    pub async fn handshake(stream: S, tls: &TlsConfig) -> io::Result<TlsStream<S>> {
        let handshake = async {
            Ok(match &tls.side {
                Side::Client(config, name) => {
                    TlsConnector::from(config.clone()).connect(name.clone(), stream).await?.into()
                }
                Side::Server(config) => TlsAcceptor::from(config.clone()).accept(stream).await?.into(),
            })
        };
        let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took longer than its timeout");
        let stream = time::timeout(tls.handshake_timeout, handshake).await.unwrap_or_else(|e| Err(timed_out(e)))?;
        Ok(TlsStream { stream })
    }

    /// What was agreed on.
    pub fn info(&self) -> TlsInfo {
        TlsInfo::new(self.stream.get_ref().1)
    }

    /// The stream underneath. Reading from it or writing to it would break the encryption; its addresses and options are what it is for.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref().0
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsStream").field(self.stream.get_ref().0).finish()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read_vectored(cx, bufs)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// How much is decrypted at once for hyper: a record.
#[cfg(feature = "hyper")]
const RECORD: usize = 16 * 1024;

/// Copies once, into hyper's memory.
#[cfg(feature = "hyper")]
impl<S: AsyncRead + AsyncWrite + Unpin> ::hyper::rt::Read for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ::hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut record = [0; RECORD];
        let len = cursor.remaining().min(RECORD);
        let read = std::task::ready!(AsyncRead::poll_read(self, cx, &mut record[..len]))?;
        cursor.put_slice(&record[..read]);
        Poll::Ready(Ok(()))
    }
}

/// Shutting down sends the farewell.
#[cfg(feature = "hyper")]
impl<S: AsyncRead + AsyncWrite + Unpin> ::hyper::rt::Write for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(self, cx)
    }
}
