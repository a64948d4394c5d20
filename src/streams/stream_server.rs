//! [`Server`]: listens, and runs a task for each connection.
//!
//! One task for each listening socket accepts; each connection is a task of its own, which runs the handler. The server's owner, the accepting
//! tasks and the connections share `Clients` (`streams/clients.rs`).
//!
//! ```text
//!   BOUND ──start_serving──► SERVING ──close──► CLOSED ──the last connection is over──► gone
//!     └────────────────close─────────────────────┘
//! ```
//!
//! - V1: the listening sockets are taken down within `close`: whoever connects later is refused. (A connection that waits in the backlog is
//!   reset with it, as in asyncio.)
//! - V2: an accepting task ends at `close`, and no connection is begun after it.
//! - V3: a failing accept is told once, tried again after a pause that grows, and keeps no worker busy.
//!
//! What it deliberately does not do: end handlers. A connection is over when its writer is; what a handler does beyond that is its own.

mod door;

use std::any::Any;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::door::{AnyDoor, Door, Listen};
use super::clients::{Ask, Clients};
use super::stream_errors::{NotServing, SharedError};
use super::{DEFAULT_LIMIT, StreamReader, StreamWriter};
use crate::error::{Cancelled, NoRuntime, TaskError};
use crate::io::AsyncWrite;
use crate::loom::{Arc, Mutex};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, ToSocketAddrs, UnixListener, lookup_host, unix};
use crate::report::{self, Exception, ExceptionKind};
use crate::scheduler::current;
use crate::sync::Event;
use crate::time;

/// asyncio's backlog.
const BACKLOG: i32 = 100;

/// The pauses after a failed accept: the first, and the longest. Each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Serves on every address that `address` stands for, with a task of `handler` for each connection: asyncio's `start_server`. It is serving when
/// this is ready. [`ServerBuilder`] has the settings.
///
/// The handler gets a [`StreamReader`] and a [`StreamWriter`]; the connection is closed when it drops the writer. What it may answer with is a
/// [`HandlerOutcome`]: nothing, or a `Result`, whose error goes to the exception handler. So does a panic, which ends its own connection
/// and no other.
///
/// # Errors
///
/// Those of the lookup and of binding, for example `AddrInUse`.
///
/// ```
/// use eddies::streams::{open_connection, start_server};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let server = start_server("127.0.0.1:0", async |mut reader, mut writer| {
///         let line = reader.readline().await?;
///         writer.write_all(&line).await?;
///         std::io::Result::Ok(())
///     })
///     .await?;
///     let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
///     writer.write_all(b"hello\n").await?;
///     assert_eq!(reader.readline().await?, b"hello\n");
///     Ok(())
/// })
/// # }
/// ```
pub async fn start_server<H, Fut>(address: impl ToSocketAddrs, handler: H) -> io::Result<Server>
where
    H: Fn(StreamReader, StreamWriter) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutcome> + Send + 'static,
{
    ServerBuilder::new().serve(address, handler).await
}

/// [`start_server`] on a Unix socket at `path`: asyncio's `start_unix_server`.
///
/// A socket that lies there already is removed first, and this server's own is when it closes.
///
/// # Errors
///
/// Those of binding, for example `AddrInUse` when something else lies there.
///
/// ```
/// use eddies::streams::{open_unix_connection, start_unix_server};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("eddies-streams-{}.sock", std::process::id()));
/// eddies::run(async {
///     let server = start_unix_server(&path, async |_, writer| { let _ = writer.write(b"welcome\n"); }).await?;
///     let (mut reader, _writer) = open_unix_connection(&path).await?;
///     assert_eq!(reader.readline().await?, b"welcome\n");
///     server.close();
///     assert!(!path.exists());
///     Ok(())
/// })
/// # }
/// ```
pub async fn start_unix_server<H, Fut>(path: impl AsRef<Path>, handler: H) -> io::Result<Server<unix::SocketAddr>>
where
    H: Fn(StreamReader<unix::OwnedReadHalf>, StreamWriter<unix::OwnedWriteHalf>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutcome> + Send + 'static,
{
    ServerBuilder::new().serve_unix(path, handler).await
}

/// What the handler of a connection may answer with: `()`, or a `Result<(), E>` whose error can be displayed.
///
/// An error goes to the exception handler, with the address of the peer. Only [`Cancelled`] and
/// [`TaskError::Cancelled`], which say that somebody wanted the end, are silent.
pub trait HandlerOutcome {
    /// What went wrong, if anything has, for the exception handler.
    fn failure(self) -> Option<String>;
}

impl HandlerOutcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display + 'static> HandlerOutcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        let error = self.err()?;
        let any = &error as &dyn Any;
        let is_cancelled = any.is::<Cancelled>() || any.downcast_ref().is_some_and(TaskError::is_cancelled);
        (!is_cancelled).then(|| error.to_string())
    }
}

/// How to serve: what [`start_server`] leaves at its defaults.
///
/// ```
/// use eddies::streams::ServerBuilder;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let builder = ServerBuilder::new().backlog(16).limit(1024).max_connections(1000).start_serving(false);
///     let server = builder.serve("127.0.0.1:0", async |_, _| {}).await?;
///     assert!(!server.is_serving());
///     server.start_serving()?;
///     assert!(server.is_serving());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `serve`"]
pub struct ServerBuilder {
    backlog: i32,
    reuse_port: bool,
    limit: usize,
    connections_max: usize,
    starts: bool,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        ServerBuilder::new()
    }
}

impl ServerBuilder {
    /// The defaults.
    pub fn new() -> Self {
        ServerBuilder {
            backlog: BACKLOG,
            reuse_port: false,
            limit: DEFAULT_LIMIT,
            connections_max: usize::MAX,
            starts: true,
        }
    }

    /// How many connections may wait to be accepted; the system may take fewer. Default: 100.
    pub fn backlog(mut self, connections: u16) -> Self {
        self.backlog = connections.into();
        self
    }

    /// Whether other sockets that ask for it too may listen on the same port, and share its connections. Default: no. Of no meaning for Unix
    /// sockets.
    pub fn reuse_port(mut self, is_shared: bool) -> Self {
        self.reuse_port = is_shared;
        self
    }

    /// The limit of the readers, in bytes. Default: 64 KiB.
    ///
    /// # Panics
    ///
    /// When it is 0.
    #[track_caller]
    pub fn limit(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "the limit of a reader must not be 0");
        self.limit = bytes;
        self
    }

    /// Most connections at a time, at least 1; further clients wait in the backlog. Default: no limit.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections_max = connections.max(1);
        self
    }

    /// Whether the server begins to listen by itself. If not, the ports are bound, refuse connections, and wait for
    /// [`start_serving`](Server::start_serving) or [`serve_forever`](Server::serve_forever). Default: yes.
    pub fn start_serving(mut self, starts: bool) -> Self {
        self.starts = starts;
        self
    }

    /// See [`start_server`]. With port 0, each address gets a port of its own.
    ///
    /// # Errors
    ///
    /// As [`start_server`]. When one address cannot be bound, none is.
    pub async fn serve<H, Fut>(self, address: impl ToSocketAddrs, handler: H) -> io::Result<Server>
    where
        H: Fn(StreamReader, StreamWriter) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let (mut addresses, mut gates) = (Vec::new(), Vec::new());
        for address in lookup_host(address).await? {
            let socket = bound(address, self.reuse_port)?;
            addresses.extend(socket.local_addr()?.as_socket());
            gates.push(self.gate::<TcpListener, H, Fut>(socket, &handler));
        }
        Server::new(self, addresses, gates, None)
    }

    /// See [`start_unix_server`].
    ///
    /// # Errors
    ///
    /// As [`start_unix_server`].
    pub async fn serve_unix<H, Fut>(self, path: impl AsRef<Path>, handler: H) -> io::Result<Server<unix::SocketAddr>>
    where
        H: Fn(StreamReader<unix::OwnedReadHalf>, StreamWriter<unix::OwnedWriteHalf>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        let path = path.as_ref();
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::of(path);
        let addresses = socket.local_addr()?.as_unix().into_iter().collect();
        let gate = self.gate::<UnixListener, H, Fut>(socket, &Arc::new(handler));
        Server::new(self, addresses, vec![gate], file)
    }

    fn gate<L, H, Fut>(&self, socket: Socket, handler: &Arc<H>) -> Gate
    where
        L: Listen,
        H: Fn(StreamReader<OwnedReadHalf<L::Stream>>, StreamWriter<OwnedWriteHalf<L::Stream>>) -> Fut
            + Send
            + Sync
            + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
        OwnedWriteHalf<L::Stream>: AsyncWrite,
    {
        let (backlog, limit, handler) = (self.backlog, self.limit, handler.clone());
        Gate::Bound(Box::new(move || {
            socket.listen(backlog)?;
            Ok(Arc::new(Door { listener: L::from_socket(socket)?, handler, limit }))
        }))
    }
}

/// A bound socket with asyncio's options for one that will listen.
fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // The IPv4 addresses of a name are in the list themselves.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// One listening socket of a server.
enum Gate {
    /// It does not listen yet.
    Bound(Box<dyn FnOnce() -> io::Result<Arc<dyn AnyDoor>> + Send>),
    Open(Arc<dyn AnyDoor>),
}

impl Gate {
    fn open(self) -> io::Result<Arc<dyn AnyDoor>> {
        match self {
            Gate::Bound(listen) => listen(),
            Gate::Open(door) => Ok(door),
        }
    }
}

/// What a server and its accepting tasks share.
struct Premises {
    /// Empty once closed. Any thread.
    state: Mutex<PremisesState>,
    clients: Arc<Clients>,
    /// Set when closed.
    closed: Event,
}

struct PremisesState {
    gates: Vec<Gate>,
    is_serving: bool,
    is_closed: bool,
    /// Whether `serve_forever` is being awaited.
    is_awaited: bool,
    /// The file of a Unix socket.
    file: Option<SocketFile>,
}

/// The file of a Unix socket, which is removed with the server if it still is the same.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// `None` for a name in the abstract namespace.
    fn of(path: &Path) -> Option<SocketFile> {
        let found = std::fs::symlink_metadata(path).ok()?;
        Some(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    fn remove(self) {
        let is_own = |found: std::fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_own) {
            // Whoever removed it meanwhile did the same.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A server: asyncio's `Server`, from [`start_server`] or [`start_unix_server`] (where the addresses are of another type).
///
/// **Dropping it closes it**, as [`close`](Server::close) does: no further connection is accepted, and those that there are go on. A graceful end is
/// `close`, [`wait_closed`](Server::wait_closed) under a [`timeout`](crate::timeout()), then
/// [`close_clients`](Server::close_clients) or [`abort_clients`](Server::abort_clients).
#[must_use = "a server that is dropped is closed"]
pub struct Server<A = SocketAddr> {
    addresses: Vec<A>,
    premises: Arc<Premises>,
}

impl<A> Server<A> {
    fn new(
        builder: ServerBuilder,
        addresses: Vec<A>,
        gates: Vec<Gate>,
        file: Option<SocketFile>,
    ) -> io::Result<Server<A>> {
        let state = PremisesState { gates, is_serving: false, is_closed: false, is_awaited: false, file };
        let clients = Clients::new(builder.connections_max);
        let premises = Arc::new(Premises { state: Mutex::new(state), clients, closed: Event::new() });
        let server = Server { addresses, premises };
        if builder.starts {
            server.start_serving()?;
        }
        Ok(server)
    }

    /// Begins to listen and to accept. Nothing when it does already.
    ///
    /// # Errors
    ///
    /// When the server is closed; outside a runtime; and when listening fails, which also closes the server.
    pub fn start_serving(&self) -> Result<(), NotServing> {
        let failed = |error: io::Error| {
            self.close();
            NotServing::Io(SharedError::new(error))
        };
        let mut state = self.premises.state.lock();
        if state.is_closed {
            return Err(NotServing::Closed);
        }
        if state.is_serving {
            return Ok(());
        }
        if let Err(error) = current::runtime("serving") {
            return Err(NotServing::Io(SharedError::new(error.into())));
        }
        let opened: io::Result<Vec<_>> = std::mem::take(&mut state.gates).into_iter().map(Gate::open).collect();
        if let Ok(doors) = &opened {
            state.gates = doors.iter().map(|door| Gate::Open(door.clone())).collect();
            state.is_serving = true;
        }
        drop(state);
        let doors: Vec<_> = opened.map_err(failed)?.iter().map(Arc::downgrade).collect();
        for door in doors {
            let premises = self.premises.clone();
            drop(crate::TaskBuilder::new().name("stream server").spawn(async move {
                premises
                    .accept_until_closed(|cx, clients| match door.upgrade() {
                        Some(door) => door.poll_admit(cx, clients),
                        // Closed (V1), and the event tells the same.
                        None => Poll::Pending,
                    })
                    .await;
            }));
        }
        Ok(())
    }

    /// Serves until it is closed: asyncio's `serve_forever`. Dropping the future closes the server.
    ///
    /// # Errors
    ///
    /// As [`start_serving`](Server::start_serving), and when it is being awaited already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the server, as [`close`](Server::close) does.
    pub async fn serve_forever(&self) -> Result<(), NotServing> {
        self.start_serving()?;
        if std::mem::replace(&mut self.premises.state.lock().is_awaited, true) {
            return Err(NotServing::AlreadyServing);
        }
        /// Closes the server at the end, whichever it is.
        struct Served<'a>(&'a Premises);
        impl Drop for Served<'_> {
            fn drop(&mut self) {
                self.0.close();
                self.0.state.lock().is_awaited = false;
            }
        }
        let _served = Served(&self.premises);
        self.premises.closed.wait().await;
        Ok(())
    }

    /// Stops listening: whoever connects after this call is refused. Connections that are open go on; those that nobody has accepted yet are
    /// reset. Closing twice is no error.
    pub fn close(&self) {
        self.premises.close();
    }

    /// Waits until the server is closed *and* no connection is open. Those who wait from before [`close`](Server::close) are woken too. A
    /// connection is open until its writer has sent everything and closed, or was aborted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_closed(&self) {
        self.premises.clients.wait_gone().await;
    }

    /// Closes each connection, as [`StreamWriter::close`] does: what was written is sent, then it ends. Its handler reads the end.
    pub fn close_clients(&self) {
        self.premises.clients.ask(Ask::Close);
    }

    /// Ends each connection at once, as [`StreamWriter::abort`] does.
    pub fn abort_clients(&self) {
        self.premises.clients.ask(Ask::Abort);
    }

    /// The addresses it listens on, or did; asyncio's `sockets`.
    pub fn local_addrs(&self) -> &[A] {
        &self.addresses
    }

    /// Whether it accepts connections.
    pub fn is_serving(&self) -> bool {
        self.premises.state.lock().is_serving
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.premises.clients.live()
    }
}

impl<A> Drop for Server<A> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<A: fmt::Debug> fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("is_serving", &self.is_serving())
            .field("connections", &self.connections())
            .finish()
    }
}

impl Premises {
    fn close(&self) {
        let mut state = self.state.lock();
        (state.is_closed, state.is_serving) = (true, false);
        let (gates, file) = (std::mem::take(&mut state.gates), state.file.take());
        drop(state);
        for gate in gates {
            if let Gate::Open(door) = gate {
                door.shut();
            }
        }
        if let Some(file) = file {
            file.remove();
        }
        self.closed.set();
        self.clients.set_closed();
    }

    /// Calls `admit` for each connection, until the server is closed (V2).
    async fn accept_until_closed(
        &self,
        mut admit: impl FnMut(&mut Context<'_>, &Arc<Clients>) -> Poll<io::Result<()>>,
    ) {
        let mut closed = pin!(self.closed.wait());
        let mut pause = PAUSE.0;
        let mut sleep = pin!(None);
        loop {
            let admitted = poll_fn(|cx| {
                if closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Some(sleep) = sleep.as_mut().as_pin_mut() {
                    ready!(Future::poll(sleep, cx));
                }
                sleep.set(None);
                admit(cx, &self.clients).map(Some)
            });
            match admitted.await {
                None => return,
                Some(Ok(())) => pause = PAUSE.0,
                // A socket that is closed just now answers like this.
                Some(Err(_)) if self.state.lock().is_closed => return,
                Some(Err(error)) => {
                    let is_final = error.get_ref().is_some_and(|inner| inner.is::<NoRuntime>());
                    if pause == PAUSE.0 || is_final {
                        let text = format!("accepting a connection: {error}; trying again until it works");
                        report::report(&Exception::new(ExceptionKind::Loop, text));
                    }
                    if is_final {
                        return pending().await;
                    }
                    sleep.set(Some(time::sleep(pause)));
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
