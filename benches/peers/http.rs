//! HTTP/1.1 by hyper, for every peer the same: the answer to `GET /text` is `text`.
//!
//! eddies' sockets have hyper's traits themselves. The others' get them here; what is read takes a way over a buffer on the stack (hyper's own adapter
//! for tokio saves that copy with unsafe code), which costs a request of a hundred bytes nothing that could be measured beside its system calls. tokio's
//! takes several pieces in one write, as `hyper_util::rt::TokioIo` does; futures-io cannot say whether it can, and hyper copies the pieces together for it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use super::peer::ECHO_BUFFER;

/// Serves one connection until the client closes it; counts the requests in `answered`.
pub(crate) async fn serve<I: Read + Write + Unpin>(stream: I, answered: Arc<AtomicU64>) -> io::Result<()> {
    let answer = |request: Request<Incoming>| {
        // Ordering: a count, read when all connections are closed.
        answered.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(Response::new(request.uri().path()[1..].to_owned())) }
    };
    http1::Builder::new().serve_connection(stream, service_fn(answer)).await.map_err(io::Error::other)
}

/// A stream with futures-io's traits.
pub(crate) struct OfFuturesIo<S>(pub(crate) S);

impl<S: futures_io::AsyncRead + Unpin> Read for OfFuturesIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; ECHO_BUFFER];
        let room = into.remaining().min(buffer.len());
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer[..room]))?;
        into.put_slice(&buffer[..read]);
        Poll::Ready(Ok(()))
    }
}

impl<S: futures_io::AsyncWrite + Unpin> Write for OfFuturesIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A stream with tokio's traits.
pub(crate) struct OfTokio<S>(pub(crate) S);

impl<S: tokio::io::AsyncRead + Unpin> Read for OfTokio<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; ECHO_BUFFER];
        let room = into.remaining().min(buffer.len());
        let mut buffer = tokio::io::ReadBuf::new(&mut buffer[..room]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        into.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> Write for OfTokio<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }
}
