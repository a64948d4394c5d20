//! [`Server`]: listens, and starts a connection with a protocol for each client.
//!
//! One task for each listening socket, one for each connection. The server is done when it is closed and its last connection has ended:
//! each connection's task holds a [`Guest`].

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;

use super::connection::{Connection, caught};
use super::link::Upgrade;
use super::protocol::StreamProtocol;
use super::wire::Wire;
use crate::loom::{Arc, Mutex};
use crate::net::{TcpListener, ToSocketAddrs, UnixListener, lookup_host};
use crate::report::{self, Exception, ExceptionKind};
use crate::sync::Event;
use crate::{Task, TaskBuilder, time};

/// The pause after an accept that failed, mostly because no descriptor is left.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes the protocol, and the session if there is one, of the next connection.
pub(super) type Factory = Arc<dyn Fn() -> io::Result<(StreamProtocol, Option<Upgrade>)> + Send + Sync>;

/// What the server and its connections share.
struct House {
    count: Mutex<Count>,
    /// Set when the house is closed and empty.
    is_done: Event,
}

struct Count {
    /// Connections that have not ended.
    guests: usize,
    /// No more will come.
    is_closed: bool,
}

impl House {
    fn change(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.count.lock();
        change(&mut count);
        let is_done = count.is_closed && count.guests == 0;
        drop(count);
        if is_done {
            self.is_done.set();
        }
    }
}

/// Held by the task of a connection of a server.
pub(super) struct Guest(Arc<House>);

impl Guest {
    fn new(house: &Arc<House>) -> Guest {
        house.change(|count| count.guests += 1);
        Guest(house.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.change(|count| count.guests -= 1);
    }
}

/// What listens.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Wire> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A connection that broke already is found out by its first read.
                let _ = stream.set_nodelay(true);
                Ok(Wire::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Wire::Unix(listener.accept().await?.0)),
        }
    }
}

/// Something that listens and gives each connection a protocol of its own; see [`create_server`].
///
/// Dropping it changes nothing: it serves until it is closed, or its runtime ends.
pub struct Server {
    house: Arc<House>,
    /// Those of the internet sockets.
    addresses: Vec<SocketAddr>,
    /// Emptied by `close`.
    listening: Mutex<Vec<(Arc<Listener>, Task<()>)>>,
}

impl Server {
    fn start(listeners: Vec<Listener>, factory: &Factory) -> io::Result<Server> {
        let count = Mutex::new(Count { guests: 0, is_closed: false });
        let house = Arc::new(House { count, is_done: Event::new() });
        let mut addresses = Vec::new();
        for listener in &listeners {
            if let Listener::Tcp(listener) = listener {
                addresses.push(listener.local_addr()?);
            }
        }
        let start = |listener: Listener| {
            let listener = Arc::new(listener);
            let task = TaskBuilder::new().name("server");
            let task = task.spawn(accept(listener.clone(), house.clone(), factory.clone()));
            (listener, task)
        };
        let listening = Mutex::new(listeners.into_iter().map(start).collect());
        Ok(Server { house, addresses, listening })
    }

    /// The addresses it listens on, or listened on; none for a Unix socket.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops listening, at once: who connects from now on is refused. Connections that stand go on. Twice is as good as once.
    pub fn close(&self) {
        let listening = std::mem::take(&mut *self.listening.lock());
        for (listener, task) in listening {
            // Refuses at once; the descriptor is closed when the task has been dropped.
            let _ = match &*listener {
                Listener::Tcp(listener) => SockRef::from(&listener.as_fd()).shutdown(Shutdown::Both),
                Listener::Unix(listener) => SockRef::from(&listener.as_fd()).shutdown(Shutdown::Both),
            };
            task.abort();
        }
        self.house.change(|count| count.is_closed = true);
    }

    /// Whether it listens.
    pub fn is_serving(&self) -> bool {
        !self.house.count.lock().is_closed
    }

    /// Waits until it is closed *and* all its connections have ended. Any number of tasks may wait, before and after the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_closed(&self) {
        self.house.is_done.wait().await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addrs", &self.addresses)
            .field("is_serving", &self.is_serving())
            .finish_non_exhaustive()
    }
}

/// Accepts until the task is aborted.
async fn accept(listener: Arc<Listener>, house: Arc<House>, factory: Factory) {
    loop {
        match listener.accept().await {
            Ok(wire) => {
                let guest = Guest::new(&house);
                match caught("the factory of a server", || factory()) {
                    Ok(Ok((protocol, upgrade))) => {
                        Connection::new(protocol, wire, upgrade, None, Some(guest)).spawn();
                    }
                    Ok(Err(error)) => {
                        let text = format!("preparing a connection: {error}");
                        report::report(&Exception::new(ExceptionKind::Protocol, text));
                    }
                    // Told already; the client sees its connection closed.
                    Err(_) => {}
                }
            }
            // Closed: the task is aborted at its next wait.
            Err(_) if house.count.lock().is_closed => return,
            Err(error) => {
                let text = format!("accepting a connection: {error}; trying again in {PAUSE:?}");
                report::report(&Exception::new(ExceptionKind::Loop, text));
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// Listens on `address`, all of them where it is a name, and hands each connection to a protocol that `factory` makes.
///
/// # Errors
///
/// The system's when one of the addresses cannot be listened on.
///
/// # Cancel safety
///
/// Dropping the future closes what was opened.
///
/// ```
/// use eddies::protocols::{Protocol, Transport, create_connection, create_server};
///
/// struct Greet;
/// impl Protocol for Greet {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"hello").unwrap();
///         transport.close();
///     }
/// }
///
/// struct Hear(Option<eddies::sync::OneshotSender<Vec<u8>>>);
/// impl Protocol for Hear {
///     fn data_received(&mut self, data: &[u8]) {
///         if let Some(sender) = self.0.take() {
///             let _ = sender.send(data.to_vec());
///         }
///     }
/// }
///
/// # fn main() -> std::io::Result<()> { eddies::run(async {
/// let server = create_server(|| Greet, "127.0.0.1:0").await?;
/// let (sender, heard) = eddies::sync::oneshot();
/// create_connection(|| Hear(Some(sender)), server.local_addrs()[0]).await?;
/// assert_eq!(heard.await.unwrap(), b"hello");
///
/// server.close();
/// server.wait_closed().await;
/// assert!(!server.is_serving());
/// # Ok(()) }) }
/// ```
pub async fn create_server<P>(
    factory: impl Fn() -> P + Send + Sync + 'static,
    address: impl ToSocketAddrs,
) -> io::Result<Server>
where
    P: Into<StreamProtocol>,
{
    serve_addresses(unsecured(factory), address).await
}

/// As [`create_server`], on the Unix socket at `path`, where no file may be yet.
///
/// # Errors
///
/// `AddrInUse` when the file exists; else the system's.
pub async fn create_unix_server<P>(
    factory: impl Fn() -> P + Send + Sync + 'static,
    path: impl AsRef<Path>,
) -> io::Result<Server>
where
    P: Into<StreamProtocol>,
{
    Server::start(vec![Listener::Unix(UnixListener::bind(path)?)], &unsecured(factory))
}

fn unsecured<P: Into<StreamProtocol>>(factory: impl Fn() -> P + Send + Sync + 'static) -> Factory {
    Arc::new(move || Ok((factory().into(), None)))
}

/// Listens on each address that `address` stands for.
pub(super) async fn serve_addresses(factory: Factory, address: impl ToSocketAddrs) -> io::Result<Server> {
    let mut listeners = Vec::new();
    let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    addresses.dedup();
    for address in addresses {
        listeners.push(Listener::Tcp(TcpListener::bind(address).await?));
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
    }
    Server::start(listeners, &factory)
}
