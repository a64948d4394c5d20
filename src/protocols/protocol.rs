//! The three protocols: what user code implements. Only the task of its connection calls it, one call at a time.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::{DatagramTransport, Transport};

/// What to do with the bytes of a connection, piece by piece as they come.
///
/// The calls: `connection_made`, then any number of `data_received`, at most one `eof_received`, and `connection_lost` exactly once. Between
/// them `pause_writing` and `resume_writing`, in turns. They come one at a time and in order, from the task of the connection, which may
/// run on any thread of the runtime. A call must not block; what takes long belongs into a task of its own, with a clone of the transport.
///
/// A panic in a callback is told to the runtime's exception handler and ends the connection: the other side sees it closed, and
/// `connection_lost` gets an error.
///
/// ```
/// use std::io;
/// use eddies::protocols::{Protocol, Transport};
///
/// /// Sends back what it gets.
/// #[derive(Default)]
/// struct Echo {
///     transport: Option<Transport>,
/// }
///
/// impl Protocol for Echo {
///     fn connection_made(&mut self, transport: &Transport) {
///         self.transport = Some(transport.clone());
///     }
///
///     fn data_received(&mut self, data: &[u8]) {
///         let transport = self.transport.as_ref().expect("there is a connection");
///         transport.write(data).expect("this protocol never ends its direction alone");
///     }
/// }
///
/// # struct Ask(Option<eddies::sync::OneshotSender<Vec<u8>>>);
/// # impl Protocol for Ask {
/// #     fn connection_made(&mut self, transport: &Transport) { transport.write(b"hello").unwrap(); }
/// #     fn data_received(&mut self, data: &[u8]) { if let Some(s) = self.0.take() { let _ = s.send(data.to_vec()); } }
/// # }
/// # fn main() -> io::Result<()> { eddies::run(async {
/// let server = eddies::protocols::create_server(Echo::default, "127.0.0.1:0").await?;
/// # let (sender, answer) = eddies::sync::oneshot();
/// # let transport = eddies::protocols::create_connection(move || Ask(Some(sender)), server.local_addrs()[0]).await?;
/// # assert_eq!(answer.await.unwrap(), b"hello");
/// # transport.close();
/// server.close();
/// server.wait_closed().await;
/// # Ok(()) }) }
/// ```
pub trait Protocol: Send + 'static {
    /// The connection stands; nothing was read yet. Keep a clone of `transport` to write to it.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The next bytes, at least one. Where a piece ends means nothing.
    fn data_received(&mut self, data: &[u8]) {
        let _ = data;
    }

    /// The peer will send no more. `false`, the default: the transport closes, once it has sent what it holds. `true`: it stays open for
    /// writing until it is closed.
    fn eof_received(&mut self) -> bool {
        false
    }

    /// The connection has ended: `None` after `close` or `abort`, after the end of the stream, else why. The last call.
    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = error;
    }

    /// More is buffered than the high mark allows: write no more for now. Nothing enforces it.
    fn pause_writing(&mut self) {}

    /// No more is buffered than the low mark: writing may go on.
    fn resume_writing(&mut self) {}
}

/// A protocol that provides the memory to read into, and so spares a copy. Apart from that as [`Protocol`].
///
/// ```
/// use eddies::protocols::{BufferedProtocol, StreamProtocol, Transport, connect_accepted_socket};
///
/// struct Count {
///     buffer: [u8; 4096],
///     bytes: usize,
///     done: Option<eddies::sync::OneshotSender<usize>>,
/// }
///
/// impl BufferedProtocol for Count {
///     fn get_buffer(&mut self, _size_hint: usize) -> &mut [u8] {
///         &mut self.buffer
///     }
///
///     fn buffer_updated(&mut self, bytes: usize) {
///         self.bytes += bytes;
///     }
///
///     fn connection_lost(&mut self, _: Option<&std::io::Error>) {
///         let _ = self.done.take().unwrap().send(self.bytes);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (here, there) = eddies::net::UnixStream::pair()?;
/// let (done, bytes) = eddies::sync::oneshot();
/// let count = Count { buffer: [0; 4096], bytes: 0, done: Some(done) };
/// connect_accepted_socket(|| StreamProtocol::buffered(count), here).await?;
/// there.try_write(b"five!")?;
/// drop(there);
/// assert_eq!(bytes.await, Ok(5));
/// # Ok(()) }) }
/// ```
pub trait BufferedProtocol: Send + 'static {
    /// The connection stands; nothing was read yet.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Where to read to; any size but 0, which ends the connection with an error. `size_hint` says how much may be there.
    fn get_buffer(&mut self, size_hint: usize) -> &mut [u8];

    /// The first `bytes` of the last buffer are filled; at least one.
    fn buffer_updated(&mut self, bytes: usize);

    /// As [`Protocol::eof_received`].
    fn eof_received(&mut self) -> bool {
        false
    }

    /// As [`Protocol::connection_lost`].
    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = error;
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self) {}

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self) {}
}

/// What to do with datagrams.
///
/// The calls come as those of a [`Protocol`] do.
///
/// ```
/// use std::net::SocketAddr;
/// use eddies::protocols::{DatagramOptions, DatagramProtocol, DatagramTransport, create_datagram_endpoint};
///
/// struct Hear(Option<eddies::sync::OneshotSender<Vec<u8>>>);
///
/// impl DatagramProtocol for Hear {
///     fn datagram_received(&mut self, data: &[u8], _from: SocketAddr) {
///         if let Some(sender) = self.0.take() {
///             let _ = sender.send(data.to_vec());
///         }
///     }
/// }
///
/// struct Mute;
/// impl DatagramProtocol for Mute {}
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let (sender, heard) = eddies::sync::oneshot();
/// let any = DatagramOptions::new().local_addr(([127, 0, 0, 1], 0));
/// let ear = create_datagram_endpoint(|| Hear(Some(sender)), any).await?;
/// let remote = DatagramOptions::new().remote_addr(ear.local_addr());
/// let mouth = create_datagram_endpoint(|| Mute, remote).await?;
/// mouth.send(b"hello")?;
/// assert_eq!(heard.await.unwrap(), b"hello");
/// # Ok(()) }) }
/// ```
pub trait DatagramProtocol: Send + 'static {
    /// The socket is ready; nothing was read yet.
    fn connection_made(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// One datagram, which may be empty, and who sent it.
    fn datagram_received(&mut self, data: &[u8], from: SocketAddr) {
        let _ = (data, from);
    }

    /// A send or a receive failed, mostly because a peer answered an earlier datagram with "nobody here". The socket works on.
    fn error_received(&mut self, error: &io::Error) {
        let _ = error;
    }

    /// The socket was closed. The last call.
    fn connection_lost(&mut self, error: Option<&io::Error>) {
        let _ = error;
    }

    /// As [`Protocol::pause_writing`].
    fn pause_writing(&mut self) {}

    /// As [`Protocol::resume_writing`].
    fn resume_writing(&mut self) {}
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    fn connection_made(&mut self, transport: &Transport) {
        (**self).connection_made(transport);
    }

    fn data_received(&mut self, data: &[u8]) {
        (**self).data_received(data);
    }

    fn eof_received(&mut self) -> bool {
        (**self).eof_received()
    }

    fn connection_lost(&mut self, error: Option<&io::Error>) {
        (**self).connection_lost(error);
    }

    fn pause_writing(&mut self) {
        (**self).pause_writing();
    }

    fn resume_writing(&mut self) {
        (**self).resume_writing();
    }
}

/// A protocol of either kind for a stream: what factories and [`Transport::set_protocol`] take.
///
/// A [`Protocol`] turns into one by itself; a [`BufferedProtocol`] by [`buffered`](StreamProtocol::buffered).
///
/// ```
/// use eddies::protocols::{Protocol, StreamProtocol};
///
/// struct Quiet;
/// impl Protocol for Quiet {}
///
/// let protocol: StreamProtocol = Quiet.into();
/// assert_eq!(format!("{protocol:?}"), "StreamProtocol(Protocol)");
/// ```
pub struct StreamProtocol(Kind);

enum Kind {
    Plain(Box<dyn Protocol>),
    Buffered(Box<dyn BufferedProtocol>),
}

impl<P: Protocol> From<P> for StreamProtocol {
    fn from(protocol: P) -> StreamProtocol {
        StreamProtocol(Kind::Plain(Box::new(protocol)))
    }
}

impl StreamProtocol {
    /// One that provides its own memory; see [`BufferedProtocol`] for an example.
    pub fn buffered(protocol: impl BufferedProtocol) -> StreamProtocol {
        StreamProtocol(Kind::Buffered(Box::new(protocol)))
    }

    pub(super) fn is_buffered(&self) -> bool {
        matches!(self.0, Kind::Buffered(_))
    }

    pub(super) fn connection_made(&mut self, transport: &Transport) {
        match &mut self.0 {
            Kind::Plain(protocol) => protocol.connection_made(transport),
            Kind::Buffered(protocol) => protocol.connection_made(transport),
        }
    }

    /// Hands over `data`, in as many pieces as it takes. An error: the protocol offered no memory.
    pub(super) fn deliver(&mut self, mut data: &[u8]) -> io::Result<()> {
        let protocol = match &mut self.0 {
            Kind::Plain(protocol) => {
                protocol.data_received(data);
                return Ok(());
            }
            Kind::Buffered(protocol) => protocol,
        };
        while !data.is_empty() {
            let buffer = protocol.get_buffer(data.len());
            let len = buffer.len().min(data.len());
            if len == 0 {
                return Err(no_memory());
            }
            let (now, later) = data.split_at(len);
            buffer[..len].copy_from_slice(now);
            protocol.buffer_updated(len);
            data = later;
        }
        Ok(())
    }

    /// Lets `read` fill the memory of a buffered protocol, and tells it of what came. `Ok(0)`: the end of the stream.
    pub(super) fn fill(&mut self, hint: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let Kind::Buffered(protocol) = &mut self.0 else { unreachable!("asked of buffered protocols alone") };
        let buffer = protocol.get_buffer(hint);
        if buffer.is_empty() {
            return Err(no_memory());
        }
        let bytes = read(buffer)?;
        if bytes > 0 {
            protocol.buffer_updated(bytes);
        }
        Ok(bytes)
    }

    pub(super) fn eof_received(&mut self) -> bool {
        match &mut self.0 {
            Kind::Plain(protocol) => protocol.eof_received(),
            Kind::Buffered(protocol) => protocol.eof_received(),
        }
    }

    pub(super) fn connection_lost(&mut self, error: Option<&io::Error>) {
        match &mut self.0 {
            Kind::Plain(protocol) => protocol.connection_lost(error),
            Kind::Buffered(protocol) => protocol.connection_lost(error),
        }
    }

    pub(super) fn pause_writing(&mut self) {
        match &mut self.0 {
            Kind::Plain(protocol) => protocol.pause_writing(),
            Kind::Buffered(protocol) => protocol.pause_writing(),
        }
    }

    pub(super) fn resume_writing(&mut self) {
        match &mut self.0 {
            Kind::Plain(protocol) => protocol.resume_writing(),
            Kind::Buffered(protocol) => protocol.resume_writing(),
        }
    }
}

fn no_memory() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "get_buffer() returned an empty buffer")
}

impl fmt::Debug for StreamProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_buffered() { "StreamProtocol(BufferedProtocol)" } else { "StreamProtocol(Protocol)" })
    }
}
