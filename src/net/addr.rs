//! From whatever names a socket address to the address itself: [`ToSocketAddrs`] and [`lookup_host`].
//!
//! Called by `bind` and `connect` of the internet sockets, on whichever thread polls them. It owns nothing.
//!
//! - N1: what is numeric already is never looked up: it costs no thread, no runtime and at most one allocation (for a list).
//! - N2: a name is looked up by the system (`getaddrinfo`, which blocks) and therefore on the blocking pool. A dropped lookup leaves its job
//!   to run out there: `getaddrinfo` cannot be interrupted.
//!
//! It does not cache, does not sort and does not race the families (Happy Eyeballs): the order is the system's.
//!
//! Rejected: the standard library's own `ToSocketAddrs`, whose one method both parses and blocks, so that the caller cannot know beforehand
//! whether a thread is needed.

use std::io;
use std::iter::FusedIterator;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

use self::sealed::{Query, Resolve};

/// What `bind` and `connect` take for an address: a [`SocketAddr`], a pair of an IP address or host name and a port, a string
/// `"host:port"`, or a list of [`SocketAddr`].
///
/// The trait is sealed: how an address is turned into candidates is not part of the public interface.
///
/// ```
/// use eddies::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
///     let address = listener.local_addr()?;
///     let by_text = TcpStream::connect(address.to_string()).await?;
///     let by_value = TcpStream::connect(address).await?;
///     assert_eq!(by_text.peer_addr()?, by_value.peer_addr()?);
///     Ok(())
/// })
/// # }
/// ```
pub trait ToSocketAddrs: Resolve {}

impl<A: Resolve + ?Sized> ToSocketAddrs for A {}

mod sealed {
    use std::io;
    use std::net::SocketAddr;

    /// What an address value asks for.
    #[derive(Debug)]
    pub enum Query {
        /// One address, known.
        One(SocketAddr),
        /// Several, known.
        List(Vec<SocketAddr>),
        /// The addresses of this host, at this port: to be looked up.
        Name(String, u16),
    }

    /// Turns an address value into a query, without blocking.
    pub trait Resolve {
        /// The query.
        fn query(&self) -> io::Result<Query>;
    }
}

macro_rules! numeric {
    ($($Address:ty),* $(,)?) => {$(
        impl Resolve for $Address {
            fn query(&self) -> io::Result<Query> {
                Ok(Query::One(SocketAddr::from(*self)))
            }
        }
    )*};
}

numeric!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl Resolve for [SocketAddr] {
    fn query(&self) -> io::Result<Query> {
        Ok(match self {
            [one] => Query::One(*one),
            several => Query::List(several.to_vec()),
        })
    }
}

impl Resolve for (&str, u16) {
    fn query(&self) -> io::Result<Query> {
        let (host, port) = *self;
        Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Query::One(SocketAddr::new(ip, port)),
            Err(_) => Query::Name(host.to_owned(), port),
        })
    }
}

impl Resolve for (String, u16) {
    fn query(&self) -> io::Result<Query> {
        (self.0.as_str(), self.1).query()
    }
}

impl Resolve for str {
    fn query(&self) -> io::Result<Query> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Ok(Query::One(address));
        }
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("`{self}` {what}"));
        let (host, port) =
            self.rsplit_once(':').ok_or_else(|| invalid("is no socket address: `host:port` is expected"))?;
        let port = port.parse::<u16>().map_err(|_| invalid("ends in no valid port number"))?;
        (host, port).query()
    }
}

impl Resolve for String {
    fn query(&self) -> io::Result<Query> {
        self.as_str().query()
    }
}

impl<A: Resolve + ?Sized> Resolve for &A {
    fn query(&self) -> io::Result<Query> {
        (**self).query()
    }
}

/// The addresses that [`lookup_host`] found, in the system's order.
#[derive(Debug, Clone)]
pub struct SocketAddrs(Candidates);

#[derive(Debug, Clone)]
enum Candidates {
    One(Option<SocketAddr>),
    List(vec::IntoIter<SocketAddr>),
}

impl Iterator for SocketAddrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match &mut self.0 {
            Candidates::One(address) => address.take(),
            Candidates::List(addresses) => addresses.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Candidates::One(address) => usize::from(address.is_some()),
            Candidates::List(addresses) => addresses.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for SocketAddrs {}

impl FusedIterator for SocketAddrs {}

/// The socket addresses of `host`. A numeric address is answered at once; a name is looked up on the runtime's blocking pool, through the
/// system (`/etc/hosts`, DNS, ...).
///
/// The iterator may be empty, and may name an address several times.
///
/// # Errors
///
/// Those of the system's lookup; [`InvalidInput`](io::ErrorKind::InvalidInput) when a string is not `host:port`; [`NoRuntime`](crate::NoRuntime)
/// inside the error when a *name* is looked up outside a runtime; a [`TaskError`](crate::TaskError) inside it when the runtime shuts down
/// before the lookup ran.
///
/// # Cancel safety
///
/// Dropping the future gives up the answer; a lookup that has begun runs out on the blocking pool.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let mut addresses = eddies::net::lookup_host("localhost:80").await?;
///     assert!(addresses.all(|address| address.ip().is_loopback() && address.port() == 80));
///     Ok(())
/// })
/// # }
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<SocketAddrs> {
    resolve(host.query()?).await
}

/// The candidates that `query` asks for.
async fn resolve(query: Query) -> io::Result<SocketAddrs> {
    let candidates = match query {
        Query::One(address) => Candidates::One(Some(address)),
        Query::List(addresses) => Candidates::List(addresses.into_iter()),
        Query::Name(host, port) => {
            crate::scheduler::current::home("looking up a host name")?;
            let lookup = move || std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port));
            Candidates::List(crate::spawn_blocking(lookup).await??)
        }
    };
    Ok(SocketAddrs(candidates))
}

/// What `attempt` makes of the first candidate that it succeeds with; else the error of the last.
pub(super) async fn first_usable<T>(
    host: impl ToSocketAddrs,
    mut attempt: impl AsyncFnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in lookup_host(host).await? {
        match attempt(address).await {
            Ok(done) => return Ok(done),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no address to try")))
}

#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/checks/addresses.rs"]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(address: impl ToSocketAddrs) -> SocketAddr {
        match address.query() {
            Ok(Query::One(address)) => address,
            other => panic!("not numeric: {other:?}"),
        }
    }

    #[test]
    fn numeric_addresses_are_not_looked_up() {
        let v4 = SocketAddr::from(([127, 0, 0, 1], 80));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        assert_eq!(one("127.0.0.1:80"), v4);
        assert_eq!(one("[::1]:80"), v6);
        assert_eq!(one(("::1", 80)), v6);
        assert_eq!(one((Ipv4Addr::LOCALHOST, 80)), v4);
        assert_eq!(one(&[v6][..]), v6);
        assert_eq!(one(("127.0.0.1".to_owned(), 80)), v4);
    }

    #[test]
    fn names_are_taken_apart_at_the_last_colon() {
        match "example.org:443".query() {
            Ok(Query::Name(host, 443)) => assert_eq!(host, "example.org"),
            other => panic!("not a name: {other:?}"),
        }
        for bad in ["example.org", "example.org:https", "example.org:65536", ""] {
            let error = bad.query().expect_err("no socket address");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(bad));
        }
    }
}
