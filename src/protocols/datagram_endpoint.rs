//! UDP: [`create_datagram_endpoint`] and [`DatagramTransport`].
//!
//! As a stream's transport: handles on any thread share a small state with one task, which owns the protocol and makes every call to it.
//! Datagrams keep their borders and their order; an error of the socket is the protocol's to hear, and never ends it.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::{Domain, Socket, Type};

use super::connection::{caught, with_scratch};
use super::protocol::DatagramProtocol;
use super::write_limits::{InvalidLimits, Marks, WriteBufferLimits};
use crate::TaskBuilder;
use crate::loom::{Arc, Mutex, MutexGuard};
use crate::net::UdpSocket;
use crate::report::{self, Exception, ExceptionKind};
use crate::sync::{OneshotSender, oneshot};

/// The high mark, in bytes.
const HIGH: usize = 64 * 1024;
/// What each buffered datagram counts beside its bytes, so that empty ones count too.
const OVERHEAD: usize = 8;
/// So many errors wait for the protocol; more are dropped.
const ERRORS_MAX: usize = 64;
/// At so many sends after the end the exception handler is told, once.
const SWALLOWED_WARNING: u64 = 5;

/// What a datagram socket is to be: where it is bound, and to whom it is connected.
///
/// With neither address it is bound to a port of the system's choice, for IPv4.
///
/// ```
/// use eddies::protocols::DatagramOptions;
///
/// let options = DatagramOptions::new().local_addr(([127, 0, 0, 1], 0)).allow_broadcast(true);
/// assert!(format!("{options:?}").contains("127.0.0.1:0"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct DatagramOptions {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    allow_broadcast: bool,
    reuse_port: bool,
}

impl DatagramOptions {
    /// Nothing special.
    pub fn new() -> DatagramOptions {
        DatagramOptions::default()
    }

    /// Where to listen; port 0 lets the system choose.
    pub fn local_addr(mut self, address: impl Into<SocketAddr>) -> DatagramOptions {
        self.local = Some(address.into());
        self
    }

    /// The only peer to send to and to hear.
    pub fn remote_addr(mut self, address: impl Into<SocketAddr>) -> DatagramOptions {
        self.remote = Some(address.into());
        self
    }

    /// Whether broadcast addresses may be sent to. Default: no.
    pub fn allow_broadcast(mut self, is_allowed: bool) -> DatagramOptions {
        self.allow_broadcast = is_allowed;
        self
    }

    /// Whether other sockets may be bound to the same address, if they ask for it too; they share what arrives. Default: no.
    pub fn reuse_port(mut self, is_reused: bool) -> DatagramOptions {
        self.reuse_port = is_reused;
        self
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let socket = Socket::new(Domain::for_address(self.local.or(self.remote).unwrap_or(any)), Type::DGRAM, None)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_broadcast(self.allow_broadcast)?;
        // A socket that connects is bound by that.
        if let Some(local) = self.local.or(self.remote.is_none().then_some(any)) {
            socket.bind(&local.into())?;
        }
        if let Some(remote) = self.remote {
            socket.connect(&remote.into())?;
        }
        UdpSocket::from_std(socket.into())
    }
}

/// A datagram on its way: its bytes, and whom for, unless it is the socket's one peer.
type Datagram = (Box<[u8]>, Option<SocketAddr>);

/// What the handles and the task share.
struct DatagramLink {
    local: SocketAddr,
    peer: Option<SocketAddr>,
    state: Mutex<DatagramState>,
}

struct DatagramState {
    /// Taken by the task at the end.
    socket: Option<Arc<UdpSocket>>,
    /// Those that found no room, in order.
    outgoing: VecDeque<Datagram>,
    /// What they count.
    buffered: usize,
    /// Failed sends that the protocol is to hear of.
    errors: VecDeque<io::Error>,
    marks: Marks,
    /// As those of a stream's link.
    is_over: bool,
    is_paused: bool,
    is_closing: bool,
    swallowed: u64,
    /// Something changed since the task last looked.
    is_changed: bool,
    /// The task, while it waits.
    task: Option<Waker>,
}

/// The handle of a datagram socket: a place to send to that never waits.
///
/// Clones are handles of the same socket; dropping them changes nothing: the socket lives until it is closed. Any thread.
///
/// See [`DatagramProtocol`] for an example.
#[derive(Clone)]
pub struct DatagramTransport {
    link: Arc<DatagramLink>,
}

impl DatagramTransport {
    /// Sends a datagram, which may be empty, to the peer that the socket is connected to; at once, or when there is room. Dropped after the end.
    ///
    /// A failure is told to the protocol, as [`error_received`](DatagramProtocol::error_received).
    ///
    /// # Errors
    ///
    /// `NotConnected` when the socket was made without a remote address.
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        if self.link.peer.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "send() needs a remote address: use send_to()"));
        }
        self.link.send(data, None);
        Ok(())
    }

    /// Sends a datagram, which may be empty, to `target`; otherwise as [`send`](DatagramTransport::send).
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the socket is connected to another peer.
    pub fn send_to(&self, data: &[u8], target: SocketAddr) -> io::Result<()> {
        match self.link.peer {
            Some(peer) if peer != target => {
                let text = format!("the socket is connected to {peer} and cannot send to {target}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Some(_) => self.link.send(data, None),
            None => self.link.send(data, Some(target)),
        }
        Ok(())
    }

    /// Closes the socket once what is buffered is sent; then comes `connection_lost(None)`.
    pub fn close(&self) {
        self.link.change(|state| state.is_closing = true);
    }

    /// Closes the socket at once; what is buffered is dropped. Then comes `connection_lost(None)`.
    pub fn abort(&self) {
        let left = self.link.change(|state| {
            state.is_closing = true;
            state.buffered = 0;
            std::mem::take(&mut state.outgoing)
        });
        drop(left);
    }

    /// Whether it is closing or closed.
    pub fn is_closing(&self) -> bool {
        self.link.state.lock().is_closing
    }

    /// As [`Transport::set_write_buffer_limits`](super::Transport::set_write_buffer_limits).
    ///
    /// # Errors
    ///
    /// When the low mark would lie above the high one; the marks stay as they are.
    pub fn set_write_buffer_limits(&self, limits: WriteBufferLimits) -> Result<(), InvalidLimits> {
        self.link.change(|state| {
            state.marks = Marks::new(limits, HIGH)?;
            state.is_over |= state.marks.high < state.buffered;
            Ok(())
        })
    }

    /// How much is written and not sent: the bytes, and eight for each datagram.
    pub fn write_buffer_size(&self) -> usize {
        self.link.state.lock().buffered
    }

    /// Where the socket is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.link.local
    }

    /// The one peer, if the socket is connected.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.link.peer
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}

impl DatagramLink {
    fn change<R>(&self, change: impl FnOnce(&mut DatagramState) -> R) -> R {
        let mut state = self.state.lock();
        let answer = change(&mut state);
        state.is_changed = true;
        wake(state);
        answer
    }

    fn send(&self, data: &[u8], target: Option<SocketAddr>) {
        let mut state = self.state.lock();
        if state.is_closing {
            state.swallowed += 1;
            let is_enough = state.swallowed == SWALLOWED_WARNING;
            drop(state);
            if is_enough {
                let text =
                    format!("{SWALLOWED_WARNING} datagrams to a transport that is closing or closed were dropped");
                report::report(&Exception::new(ExceptionKind::Protocol, text));
            }
            return;
        }
        if state.outgoing.is_empty() && state.try_send(data, target) {
            wake(state);
            return;
        }
        state.is_changed |= state.outgoing.is_empty();
        state.buffered += data.len() + OVERHEAD;
        state.outgoing.push_back((data.into(), target));
        if state.buffered > state.marks.high {
            state.is_changed |= !state.is_over;
            state.is_over = true;
        }
        wake(state);
    }
}

/// Wakes the task if there is news for it, with the mutex free.
fn wake(mut state: MutexGuard<'_, DatagramState>) {
    if state.is_changed
        && let Some(task) = state.task.take()
    {
        drop(state);
        task.wake();
    }
}

impl DatagramState {
    /// Whether the datagram is gone, sent or failed; else there was no room.
    fn try_send(&mut self, data: &[u8], target: Option<SocketAddr>) -> bool {
        let Some(socket) = &self.socket else { return true };
        loop {
            let answer = match target {
                None => socket.try_send(data),
                Some(target) => socket.try_send_to(data, target),
            };
            match answer {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    if self.errors.len() < ERRORS_MAX {
                        self.errors.push_back(error);
                    }
                    self.is_changed = true;
                    return true;
                }
            }
        }
    }

    /// Sends from the front while there is room.
    fn flush(&mut self) {
        while let Some((data, target)) = self.outgoing.pop_front() {
            if !self.try_send(&data, target) {
                self.outgoing.push_front((data, target));
                return;
            }
            self.buffered -= data.len() + OVERHEAD;
        }
    }
}

/// What the task has to do.
enum Duty {
    Error(io::Error),
    PauseWriting,
    ResumeWriting,
    End(Option<io::Error>),
    Read { is_blocked: bool },
}

/// The task of a datagram socket.
struct DatagramConnection {
    transport: DatagramTransport,
    socket: Option<Arc<UdpSocket>>,
    protocol: Option<Box<dyn DatagramProtocol>>,
    is_made: bool,
    /// Why it ends, when a callback panicked or the runtime is gone.
    failure: Option<io::Error>,
    /// Who waits until it is made.
    answer: Option<OneshotSender<()>>,
}

impl DatagramConnection {
    fn duty(&mut self) -> Duty {
        let mut state = self.transport.link.state.lock();
        state.is_changed = false;
        if self.failure.is_some() {
            return Duty::End(self.failure.take());
        }
        state.flush();
        if let Some(error) = state.errors.pop_front() {
            return Duty::Error(error);
        }
        if state.is_over && !state.is_paused {
            state.is_paused = true;
            return Duty::PauseWriting;
        }
        if state.is_paused && state.buffered <= state.marks.low {
            (state.is_over, state.is_paused) = (false, false);
            return Duty::ResumeWriting;
        }
        let is_blocked = !state.outgoing.is_empty();
        if state.is_closing && !is_blocked {
            return Duty::End(None);
        }
        Duty::Read { is_blocked }
    }

    fn call(&mut self, name: &'static str, call: impl FnOnce(&mut dyn DatagramProtocol, &DatagramTransport)) {
        let Some(protocol) = &mut self.protocol else { return };
        if let Err(error) = caught(name, || call(&mut **protocol, &self.transport)) {
            self.failure = Some(error);
        }
    }

    /// Reads one datagram, and waits for room. Ready: look again.
    fn read(&mut self, cx: &mut Context<'_>, is_blocked: bool) -> Poll<()> {
        let Some(socket) = self.socket.clone() else { return Poll::Ready(()) };
        if !self.transport.is_closing() {
            let read = with_scratch(|scratch| {
                let read = std::task::ready!(socket.poll_recv_from(cx, scratch));
                match read {
                    Ok((len, from)) => {
                        self.call("datagram_received", |protocol, _| protocol.datagram_received(&scratch[..len], from));
                    }
                    // What the system says of the socket; anything else is the runtime's.
                    Err(error) if error.raw_os_error().is_some() => {
                        self.call("error_received", |protocol, _| protocol.error_received(&error));
                    }
                    Err(error) => self.failure = Some(error),
                }
                Poll::Ready(())
            });
            if read.is_ready() {
                return read;
            }
        }
        if !is_blocked {
            return Poll::Pending;
        }
        socket.poll_send_ready(cx).map(|ready| self.failure = ready.err())
    }

    /// Puts the waker down, unless something changed.
    fn park(&self, waker: &Waker) -> bool {
        let mut state = self.transport.link.state.lock();
        if state.is_changed {
            return false;
        }
        let stale = state.task.replace(waker.clone());
        drop(state);
        drop(stale);
        true
    }

    fn lose(&mut self, error: Option<&io::Error>) {
        let Some(mut protocol) = self.protocol.take() else { return };
        self.transport.abort();
        if self.is_made {
            // Told already, and there is nothing left to end.
            let _ = caught("connection_lost", || protocol.connection_lost(error));
        }
        let left = {
            let mut state = self.transport.link.state.lock();
            (state.socket.take(), state.task.take())
        };
        drop(left);
        self.socket = None;
    }
}

impl Future for DatagramConnection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !this.is_made {
            this.is_made = true;
            this.call("connection_made", |protocol, transport| protocol.connection_made(transport));
            if let Some(answer) = this.answer.take_if(|_| this.failure.is_none()) {
                // Whoever waited may have gone.
                let _ = answer.send(());
            }
        }
        loop {
            match this.duty() {
                Duty::Error(error) => this.call("error_received", |protocol, _| protocol.error_received(&error)),
                Duty::PauseWriting => this.call("pause_writing", |protocol, _| protocol.pause_writing()),
                Duty::ResumeWriting => this.call("resume_writing", |protocol, _| protocol.resume_writing()),
                Duty::End(error) => {
                    this.lose(error.as_ref());
                    return Poll::Ready(());
                }
                Duty::Read { is_blocked } => {
                    if this.read(cx, is_blocked).is_pending() && this.park(cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Drop for DatagramConnection {
    fn drop(&mut self) {
        // Nothing to do if it ended by itself.
        let text = "the task of the socket was cancelled, or its runtime shut down";
        self.lose(Some(&io::Error::new(io::ErrorKind::ConnectionAborted, text)));
    }
}

/// Opens a UDP socket, and hands it to the protocol that `factory` makes. Ready when `connection_made` has returned.
///
/// See [`DatagramProtocol`] for an example.
///
/// # Errors
///
/// The system's; the protocol's panic in `connection_made`.
///
/// # Cancel safety
///
/// Dropping the future closes the socket.
pub async fn create_datagram_endpoint<P: DatagramProtocol>(
    factory: impl FnOnce() -> P,
    options: DatagramOptions,
) -> io::Result<DatagramTransport> {
    let socket = Arc::new(options.open()?);
    let state = DatagramState {
        socket: Some(socket.clone()),
        outgoing: VecDeque::new(),
        buffered: 0,
        errors: VecDeque::new(),
        marks: Marks::below(HIGH),
        is_over: false,
        is_paused: false,
        is_closing: false,
        swallowed: 0,
        is_changed: false,
        task: None,
    };
    let (local, peer) = (socket.local_addr()?, options.remote);
    let transport = DatagramTransport { link: Arc::new(DatagramLink { local, peer, state: Mutex::new(state) }) };
    let (sender, made) = oneshot();
    let protocol: Box<dyn DatagramProtocol> = Box::new(factory());
    let mut unclaimed = Unclaimed(Some(transport.clone()));
    drop(TaskBuilder::new().name("transport").spawn(DatagramConnection {
        transport,
        socket: Some(socket),
        protocol: Some(protocol),
        is_made: false,
        failure: None,
        answer: Some(sender),
    }));
    let answer = made.await;
    let transport = unclaimed.0.take();
    answer.map_err(|_| io::Error::new(io::ErrorKind::ConnectionAborted, "the protocol panicked in connection_made"))?;
    Ok(transport.expect("put there above"))
}

/// Closes the socket if the future that waits for it is dropped.
struct Unclaimed(Option<DatagramTransport>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(transport) = &self.0 {
            transport.abort();
        }
    }
}
