//! [`UdpSocket`]: datagrams over the internet protocols.
//!
//! Any thread, any number of tasks at once: every method takes `&self`, so a socket is shared in an `Arc`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use super::addr::{ToSocketAddrs, first_usable, lookup_host};
use super::datagram_methods::datagram_methods;
use super::methods::standard_conversions;
use super::source::{Direction, IoSource};

/// A UDP socket.
///
/// Not connected, it talks to anybody: [`send_to`](UdpSocket::send_to), [`recv_from`](UdpSocket::recv_from). Connected, it hears one peer
/// only: [`send`](UdpSocket::send), [`recv`](UdpSocket::recv).
///
/// ```
/// use eddies::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let a = UdpSocket::bind("127.0.0.1:0").await?;
///     let b = UdpSocket::bind("127.0.0.1:0").await?;
///     a.send_to(b"hello", b.local_addr()?).await?;
///     let mut buffer = [0; 64];
///     let (len, from) = b.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..len], from), (&b"hello"[..], a.local_addr()?));
///     Ok(())
/// })
/// # }
/// ```
pub struct UdpSocket {
    /// The bound socket.
    source: IoSource<std::net::UdpSocket>,
}

datagram_methods!(
    UdpSocket,
    SocketAddr,
    "# let a = eddies::net::UdpSocket::bind(\"127.0.0.1:0\").await?;
# let b = eddies::net::UdpSocket::bind(\"127.0.0.1:0\").await?;
# a.connect(b.local_addr()?).await?;"
);
standard_conversions!(UdpSocket, std::net::UdpSocket, from std::convert::identity);

/// Options: a getter and a setter each, as the standard library has them.
macro_rules! options {
    ($($(#[$doc:meta])* $get:ident, $set:ident($value:ty);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// The system's.
        pub fn $set(&self, value: $value) -> io::Result<()> {
            self.source.get_ref().$set(value)
        }

        #[doc = concat!("What [`", stringify!($set), "`](UdpSocket::", stringify!($set), ") sets, as the system has it.")]
        ///
        /// # Errors
        ///
        /// The system's.
        pub fn $get(&self) -> io::Result<$value> {
            self.source.get_ref().$get()
        }
    )*};
}

impl UdpSocket {
    /// A socket on the first of `address`'s candidates that can be had. Port 0 lets the system choose one: see
    /// [`local_addr`](UdpSocket::local_addr). For options that must be set before, make the socket with `socket2` and
    /// [`from_std`](UdpSocket::from_std).
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](crate::net::lookup_host); the error of the last candidate when none can be had, for example `AddrInUse`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_usable(address, async |candidate| UdpSocket::from_std(std::net::UdpSocket::bind(candidate)?)).await
    }

    /// Connects to the first of `address`'s candidates that has a route: [`send`](UdpSocket::send) goes there, and datagrams from elsewhere
    /// are no longer received. Nothing is sent by this.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](crate::net::lookup_host); the error of the last candidate.
    ///
    /// # Cancel safety
    ///
    /// A dropped future that was not ready has changed nothing.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        first_usable(address, async |candidate| self.source.get_ref().connect(candidate)).await
    }

    /// Sends `buf` as one datagram to the first of `target`'s addresses, waiting for room if need be. Any number of tasks may send at once.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](crate::net::lookup_host); an error when the datagram is too big or there is no route;
    /// [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped future that was not ready has sent nothing.
    pub async fn send_to(&self, buf: &[u8], target: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(target) = lookup_host(target).await?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no address to send to"));
        };
        self.source.io(Direction::Write, |io| io.send_to(buf, target)).await
    }

    /// [`send_to`](UdpSocket::send_to) for hand-written futures. The last task that polled for sending, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UdpSocket::send_to).
    pub fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], target: SocketAddr) -> Poll<io::Result<usize>> {
        self.source.poll_io(cx, Direction::Write, |io| io.send_to(buf, target))
    }

    /// [`send_to`](UdpSocket::send_to) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room; else as [`send_to`](UdpSocket::send_to).
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.source.try_io(Direction::Write, |io| io.send_to(buf, target))
    }

    /// Waits for a datagram, and copies it without taking it away.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.io(Direction::Read, |io| io.peek(buf)).await
    }

    /// Waits for a datagram, and copies it without taking it away; tells where it comes from.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use eddies::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let a = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let b = UdpSocket::bind("127.0.0.1:0").await?;
    ///     a.send_to(b"hello", b.local_addr()?).await?;
    ///     let mut buffer = [0; 64];
    ///     let peeked = b.peek_from(&mut buffer).await?;
    ///     assert_eq!(peeked, b.recv_from(&mut buffer).await?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.io(Direction::Read, |io| io.peek_from(buf)).await
    }

    /// [`peek_from`](UdpSocket::peek_from) for hand-written futures. The last task that polled for receiving, and it alone, is woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    pub fn poll_peek_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.source.poll_io(cx, Direction::Read, |io| io.peek_from(buf))
    }

    /// [`peek_from`](UdpSocket::peek_from) without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](UdpSocket::try_recv).
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.try_io(Direction::Read, |io| io.peek_from(buf))
    }

    options! {
        /// Allows sending to a broadcast address (`SO_BROADCAST`).
        broadcast, set_broadcast(bool);
        /// The time to live of the packets it sends (IPv4, in hops).
        ttl, set_ttl(u32);
        /// Whether its own IPv4 multicast packets come back to this host.
        multicast_loop_v4, set_multicast_loop_v4(bool);
        /// Whether its own IPv6 multicast packets come back to this host.
        multicast_loop_v6, set_multicast_loop_v6(bool);
        /// The time to live of its IPv4 multicast packets, in hops; 1, the default, keeps them in the local network.
        multicast_ttl_v4, set_multicast_ttl_v4(u32);
    }

    /// Receives what is sent to `group`, on the interface that has the address `interface` (unspecified: the system chooses).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.source.get_ref().join_multicast_v4(&group, &interface)
    }

    /// Receives what is sent to `group`, on the interface with the index `interface` (0: any).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get_ref().join_multicast_v6(&group, interface)
    }

    /// Undoes [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.source.get_ref().leave_multicast_v4(&group, &interface)
    }

    /// Undoes [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get_ref().leave_multicast_v6(&group, interface)
    }
}
