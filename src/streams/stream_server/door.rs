//! A [`Door`]: a listening socket together with the handler of its connections, and what TCP and Unix sockets have in common there.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use socket2::{SockRef, Socket};

use super::HandlerOutcome;
use crate::io::AsyncWrite;
use crate::loom::Arc;
use crate::net::{
    OwnedReadHalf, OwnedWriteHalf, StreamSocket, TcpListener, TcpStream, UnixListener, UnixStream, tcp, unix,
};
use crate::report::{self, Exception, ExceptionKind};
use crate::streams::clients::{Clients, Entry};
use crate::streams::{StreamReader, StreamWriter, of_socket};

/// A socket that listens: what TCP and Unix have in common.
pub(super) trait Listen: Sized + AsFd + Send + Sync + 'static {
    type Stream: StreamSocket;

    fn from_socket(socket: Socket) -> io::Result<Self>;
    /// The next connection, and what its peer is called.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, String)>>;
    fn halves(stream: Self::Stream) -> (OwnedReadHalf<Self::Stream>, OwnedWriteHalf<Self::Stream>);
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    fn from_socket(socket: Socket) -> io::Result<Self> {
        TcpListener::from_std(socket.into())
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, String)>> {
        let (stream, peer) = ready!(self.poll_accept(cx))?;
        // It fails on a connection that is gone already, of which the first read will tell.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((stream, format!("connection of {peer}"))))
    }

    fn halves(stream: TcpStream) -> (tcp::OwnedReadHalf, tcp::OwnedWriteHalf) {
        stream.into_split()
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    fn from_socket(socket: Socket) -> io::Result<Self> {
        UnixListener::from_std(socket.into())
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, String)>> {
        self.poll_accept(cx).map_ok(|(stream, _peer)| (stream, "connection of a Unix socket".to_owned()))
    }

    fn halves(stream: UnixStream) -> (unix::OwnedReadHalf, unix::OwnedWriteHalf) {
        stream.into_split()
    }
}

/// A listening socket and its handler.
pub(super) struct Door<L, H> {
    pub(super) listener: L,
    pub(super) handler: Arc<H>,
    pub(super) limit: usize,
}

/// A [`Door`], whatever its types.
pub(super) trait AnyDoor: Send + Sync {
    /// Accepts one connection and spawns its task.
    fn poll_admit(&self, cx: &mut Context<'_>, clients: &Arc<Clients>) -> Poll<io::Result<()>>;
    /// Refuses from now on.
    fn shut(&self);
}

impl<L, H, Fut> AnyDoor for Door<L, H>
where
    L: Listen,
    H: Fn(StreamReader<OwnedReadHalf<L::Stream>>, StreamWriter<OwnedWriteHalf<L::Stream>>) -> Fut
        + Send
        + Sync
        + 'static,
    Fut: Future<Output: HandlerOutcome> + Send + 'static,
    OwnedWriteHalf<L::Stream>: AsyncWrite,
{
    fn poll_admit(&self, cx: &mut Context<'_>, clients: &Arc<Clients>) -> Poll<io::Result<()>> {
        let entry = ready!(clients.poll_enter(cx));
        let (stream, name) = ready!(self.listener.poll_next(cx))?;
        self.begin(stream, name, entry);
        Poll::Ready(Ok(()))
    }

    fn shut(&self) {
        // Linux refuses from this call on, also while an accept of another thread holds the socket. Elsewhere it may be an error, and the close
        // that follows does it.
        let _ = SockRef::from(&self.listener.as_fd()).shutdown(std::net::Shutdown::Both);
    }
}

impl<L, H> Door<L, H>
where
    L: Listen,
    OwnedWriteHalf<L::Stream>: AsyncWrite,
{
    fn begin<Fut>(&self, stream: L::Stream, name: String, entry: Entry)
    where
        H: Fn(StreamReader<OwnedReadHalf<L::Stream>>, StreamWriter<OwnedWriteHalf<L::Stream>>) -> Fut
            + Send
            + Sync
            + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        let (reader, writer) = of_socket(L::halves(stream), self.limit, Some(entry));
        let handler = self.handler.clone();
        let task = crate::TaskBuilder::new().name(name.clone());
        // A panic is told by the task, and drops the writer, which closes the connection.
        drop(task.spawn(async move {
            if let Some(failure) = handler(reader, writer).await.failure() {
                let text = format!("the handler of the {name} failed: {failure}");
                report::report(&Exception::new(ExceptionKind::Connection, text));
            }
        }));
    }
}
