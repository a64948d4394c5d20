//! [`Connection`]: the one task of a connection. It owns the protocol and makes every call to it, in order, never two at a time.
//!
//! Its poll is a loop of turns. A turn does the first thing that is to be done, and the next turn looks again, so that whatever a callback
//! asked for (a pause, another protocol, TLS, the end) holds before anything else happens:
//!
//! 1. what the handles asked for: the end, a session, another protocol, pausing and resuming;
//! 2. a deadline that has passed;
//! 3. sending what is buffered, and the steps of closing;
//! 4. reading, one piece a turn;
//! 5. waiting, for the wire, the deadline, and the handles.
//!
//! - C1 `connection_lost` is called exactly once if `connection_made` was, else never. If the task is dropped in between (its runtime shuts
//!   down, or somebody cancels it), its destructor makes the call.
//! - C2 Each read takes a unit of the task's budget, so that a peer that sends without end does not keep the task from yielding.
//!
//! Rejected: a task for each direction, which would need a lock around the protocol; and calling `pause_writing` from inside `write`, as
//! asyncio does, which a protocol that writes while it is borrowed forbids.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Transport;
use super::link::{Duty, Flow, Link, Session, Upgrade};
use super::protocol::StreamProtocol;
use super::transport_server::Guest;
use super::wire::Wire;
use crate::TaskBuilder;
use crate::error::panic_text;
use crate::loom::Arc;
use crate::report::{self, Exception, ExceptionKind};
use crate::sync::OneshotSender;
use crate::time::{self, Sleep};

/// How much one read takes.
const READ_MAX: usize = 64 * 1024;
/// How much decrypted data a connection keeps memory for between two reads.
const OPENED_KEPT: usize = 16 * 1024;

std::thread_local! {
    /// Memory to read into, so that connections that wait need none. Whoever reads takes it out, and puts it back.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `read` with `READ_MAX` bytes of memory.
pub(super) fn with_scratch<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.resize(READ_MAX, 0);
    let answer = read(&mut scratch);
    let _ = SCRATCH.try_with(|cell| cell.set(scratch));
    answer
}

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// TLS is being agreed on.
    Handshake,
    /// Bytes go to and fro.
    Open,
    /// TLS's farewell is sent, the peer's awaited.
    Farewell,
}

/// What a turn came to.
enum Turn {
    /// Something was done: look again.
    Again,
    /// Nothing can be done now.
    Wait,
    /// The connection has ended.
    Done,
}

/// The task of a connection.
pub(super) struct Connection {
    /// Shared with the handles.
    transport: Transport,
    /// What it runs over; gone with the connection.
    wire: Option<Arc<Wire>>,
    /// The user's; gone with the connection.
    protocol: Option<StreamProtocol>,
    phase: Phase,
    /// `connection_made` was called.
    is_made: bool,
    /// The peer sends no more, and the protocol knows.
    is_peer_done: bool,
    /// Decrypted, and not yet given to the protocol.
    opened: Vec<u8>,
    /// Of the handshake or the farewell.
    deadline: Option<Pin<Box<Sleep>>>,
    /// For the farewell.
    shutdown_timeout: Duration,
    /// Who waits until the connection is made or its handshake done.
    answer: Option<OneshotSender<io::Result<()>>>,
    /// Counts it in at a server.
    _guest: Option<Guest>,
}

impl Connection {
    /// The task for `wire`, which is told to `answer` when it stands or fails to.
    pub(super) fn new(
        protocol: StreamProtocol,
        wire: Wire,
        upgrade: Option<Upgrade>,
        answer: Option<OneshotSender<io::Result<()>>>,
        guest: Option<Guest>,
    ) -> Connection {
        let wire = Arc::new(wire);
        let link = Link::new(wire.clone(), upgrade.is_some());
        let mut connection = Connection {
            transport: Transport::new(link),
            wire: Some(wire),
            protocol: Some(protocol),
            phase: Phase::Open,
            is_made: false,
            is_peer_done: false,
            opened: Vec::new(),
            deadline: None,
            shutdown_timeout: Duration::ZERO,
            answer,
            _guest: guest,
        };
        if let Some(upgrade) = upgrade {
            connection.begin(upgrade);
        }
        connection
    }

    /// Sets the task off; it needs nobody to wait for it.
    pub(super) fn spawn(self) {
        drop(TaskBuilder::new().name("transport").spawn(self));
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    fn link(&self) -> &Link {
        self.transport.link()
    }

    /// One turn, as at the top of the file.
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        match self.link().duty(self.is_made) {
            Duty::End(error) => {
                self.lose(error);
                return Turn::Done;
            }
            Duty::Begin(upgrade, answer) => {
                self.answer = Some(answer);
                self.begin(upgrade);
                return Turn::Again;
            }
            Duty::Switch(protocol) => {
                drop(self.protocol.replace(protocol));
                return Turn::Again;
            }
            Duty::PauseWriting => return self.call("pause_writing", |protocol, _| protocol.pause_writing()),
            Duty::ResumeWriting => return self.call("resume_writing", |protocol, _| protocol.resume_writing()),
            Duty::Nothing => {}
        }
        if !self.is_made && self.phase == Phase::Open {
            self.is_made = true;
            let turn = self.call("connection_made", |protocol, transport| protocol.connection_made(transport));
            if let Some(answer) = self.answer.take_if(|_| !self.transport.is_fatal()) {
                // Whoever waited may have gone.
                let _ = answer.send(Ok(()));
            }
            return turn;
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            let what = if self.phase == Phase::Handshake { "handshake" } else { "shutdown" };
            let text = format!("the TLS {what} took longer than its timeout");
            return self.fail(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let Some(flow) = self.link().flush() else { return Turn::Again };
        if flow.is_flushing
            && let Some(turn) = self.close(&flow)
        {
            return turn;
        }
        match self.read(cx, &flow) {
            Turn::Wait => self.wait(cx, &flow),
            turn => turn,
        }
    }

    /// Waits for room on the wire, or for the end of who reads a pipe.
    fn wait(&mut self, cx: &mut Context<'_>, flow: &Flow) -> Turn {
        let Some(wire) = &self.wire else { return Turn::Wait };
        if let Poll::Ready(gone) = wire.poll_reader_gone(cx) {
            let error = match gone {
                Err(error) => Some(error),
                Ok(()) if flow.is_drained => None,
                Ok(()) => Some(io::ErrorKind::BrokenPipe.into()),
            };
            self.link().abort(error);
            return Turn::Again;
        }
        if !flow.is_blocked {
            return Turn::Wait;
        }
        match wire.poll_write_ready(cx) {
            Poll::Pending => Turn::Wait,
            Poll::Ready(Ok(())) => Turn::Again,
            Poll::Ready(Err(error)) => self.fail(error),
        }
    }

    /// The next step of closing; `None`: wait on.
    fn close(&mut self, flow: &Flow) -> Option<Turn> {
        let is_over = match self.phase {
            // Nothing of the protocol's can have been sent.
            Phase::Handshake => {
                let text = "the transport was closed during the TLS handshake";
                self.answer_with(&mut Some(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
                true
            }
            Phase::Open if !flow.is_drained => return None,
            Phase::Open if self.link().finish_session() => {
                self.phase = Phase::Farewell;
                self.deadline = Some(Box::pin(time::sleep(self.shutdown_timeout)));
                return Some(Turn::Again);
            }
            Phase::Open => true,
            Phase::Farewell => flow.is_drained && self.is_peer_done,
        };
        is_over.then(|| {
            self.link().abort(None);
            Turn::Again
        })
    }

    /// Reads one piece, if reading is asked for.
    fn read(&mut self, cx: &mut Context<'_>, flow: &Flow) -> Turn {
        let Some(wire) = self.wire.clone().filter(|wire| wire.is_readable()) else { return Turn::Wait };
        if self.phase == Phase::Open {
            if self.is_peer_done || !flow.is_reading {
                return Turn::Wait;
            }
            if !self.opened.is_empty() {
                return self.deliver_opened();
            }
        } else if self.is_peer_done {
            return Turn::Wait;
        }
        if let Some(session) = self.link().take_session() {
            return self.read_sealed(cx, &wire, session);
        }
        if self.protocol.as_ref().is_some_and(StreamProtocol::is_buffered) {
            return self.read_into_buffer(cx, &wire);
        }
        with_scratch(|scratch| match wire.poll_read(cx, scratch) {
            Poll::Pending => Turn::Wait,
            Poll::Ready(Err(error)) => self.fail(error),
            Poll::Ready(Ok(0)) => self.eof(),
            Poll::Ready(Ok(len)) => self.deliver(&scratch[..len]),
        })
    }

    /// Reads into the memory of a buffered protocol, which is asked for it only when there is something.
    fn read_into_buffer(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Turn {
        match wire.poll_read_ready(cx) {
            Poll::Pending => return Turn::Wait,
            Poll::Ready(Err(error)) => return self.fail(error),
            Poll::Ready(Ok(())) => {}
        }
        let filled = self.try_call("get_buffer or buffer_updated", |protocol, _| {
            protocol.fill(READ_MAX, |buffer| wire.try_read(buffer))
        });
        match filled {
            None => Turn::Again,
            Some(Ok(0)) => self.eof(),
            Some(Ok(_)) => Turn::Again,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Turn::Again,
            Some(Err(error)) => self.fail(error),
        }
    }

    /// Reads and decrypts; `session` goes back before anything of the user's is called.
    fn read_sealed(&mut self, cx: &mut Context<'_>, wire: &Wire, mut session: Box<dyn Session>) -> Turn {
        let opened = &mut self.opened;
        let read = with_scratch(|scratch| match wire.poll_read(cx, scratch) {
            Poll::Pending => None,
            // An end that the session knows of is no news.
            Poll::Ready(Ok(0)) if session.is_peer_done() => Some(Ok(())),
            Poll::Ready(Ok(0)) => Some(session.end()),
            Poll::Ready(Ok(len)) => Some(session.open(&scratch[..len], opened)),
            Poll::Ready(Err(error)) => Some(Err(error)),
        });
        let (is_handshaking, is_peer_done) = (session.is_handshaking(), session.is_peer_done());
        #[cfg(feature = "tls")]
        if self.phase == Phase::Handshake && !is_handshaking && matches!(read, Some(Ok(()))) {
            self.link().lock().tls = Some(session.info());
        }
        self.link().put_session(session);
        match read {
            None if is_peer_done && self.phase == Phase::Open => return self.eof(),
            None => return Turn::Wait,
            // Closing already, it does not matter how the peer goes.
            Some(Err(_)) if self.phase == Phase::Farewell => self.is_peer_done = true,
            Some(Err(error)) => {
                // The alert that tells the peer why.
                let _ = self.link().flush();
                return self.fail(error);
            }
            Some(Ok(())) => {}
        }
        match self.phase {
            Phase::Handshake if !is_handshaking => self.secured(),
            Phase::Farewell => {
                self.opened.clear();
                self.is_peer_done |= is_peer_done;
            }
            Phase::Open if is_peer_done && self.opened.is_empty() => return self.eof(),
            _ => {}
        }
        Turn::Again
    }

    /// The handshake is done.
    fn secured(&mut self) {
        self.phase = Phase::Open;
        self.deadline = None;
        if let Some(answer) = self.answer.take_if(|_| self.is_made) {
            let _ = answer.send(Ok(()));
        }
    }

    /// Begins a session: from now on the wire carries its bytes.
    fn begin(&mut self, upgrade: Upgrade) {
        self.phase = Phase::Handshake;
        self.shutdown_timeout = upgrade.shutdown_timeout;
        self.deadline = Some(Box::pin(time::sleep(upgrade.handshake_timeout)));
        self.link().put_session(upgrade.session);
    }

    fn deliver(&mut self, data: &[u8]) -> Turn {
        match self.try_call("data_received", |protocol, _| protocol.deliver(data)) {
            Some(Err(error)) => self.fail(error),
            _ => Turn::Again,
        }
    }

    fn deliver_opened(&mut self) -> Turn {
        let mut opened = std::mem::take(&mut self.opened);
        let turn = self.deliver(&opened);
        if opened.capacity() <= OPENED_KEPT {
            opened.clear();
            self.opened = opened;
        }
        turn
    }

    /// The peer sends no more.
    fn eof(&mut self) -> Turn {
        self.is_peer_done = true;
        if self.phase == Phase::Handshake {
            let text = "the peer closed the connection during the TLS handshake";
            return self.fail(io::Error::new(io::ErrorKind::ConnectionReset, text));
        }
        let keeps = self.try_call("eof_received", |protocol, _| protocol.eof_received());
        let is_open = keeps == Some(true) && self.wire.as_ref().is_some_and(|wire| wire.is_writable());
        if !is_open {
            self.link().close();
        }
        Turn::Again
    }

    /// Ends the connection because of `error`.
    fn fail(&self, error: io::Error) -> Turn {
        self.link().abort(Some(error));
        Turn::Again
    }

    fn call(&mut self, name: &'static str, call: impl FnOnce(&mut StreamProtocol, &Transport)) -> Turn {
        self.try_call(name, call);
        Turn::Again
    }

    /// Calls the protocol. `None`: it panicked, which ends the connection.
    fn try_call<R>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut StreamProtocol, &Transport) -> R,
    ) -> Option<R> {
        let protocol = self.protocol.as_mut()?;
        caught(name, || call(protocol, &self.transport)).map_err(|error| self.link().abort(Some(error))).ok()
    }

    /// Tells whoever waits for the connection or its handshake that it failed. The error itself goes there if nobody else is to have it.
    fn answer_with(&mut self, error: &mut Option<io::Error>) {
        let Some(answer) = self.answer.take() else { return };
        let own = if self.is_made { error.as_ref().map(again) } else { error.take() };
        let closed = || io::Error::new(io::ErrorKind::ConnectionAborted, "the transport was closed");
        // Whoever waited may have gone.
        let _ = answer.send(Err(own.unwrap_or_else(closed)));
    }

    /// Ends the connection: the last call of the protocol, and the end of what it held (C1).
    fn lose(&mut self, mut error: Option<io::Error>) {
        let Some(mut protocol) = self.protocol.take() else { return };
        self.answer_with(&mut error);
        self.link().abort(None);
        if self.is_made {
            // Told already, and there is nothing left to end.
            let _ = caught("connection_lost", || protocol.connection_lost(error.as_ref()));
        }
        drop(self.link().retire());
        self.wire = None;
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            match this.turn(cx) {
                Turn::Again => {}
                Turn::Wait if this.link().park(cx.waker()) => return Poll::Pending,
                Turn::Wait => {}
                Turn::Done => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nothing to do if it ended by itself.
        let text = "the task of the connection was cancelled, or its runtime shut down";
        self.lose(Some(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
    }
}

/// Calls user code; a panic is told to the exception handler, and comes back as the error that ends the connection.
pub(super) fn caught<R>(name: &'static str, call: impl FnOnce() -> R) -> io::Result<R> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = format!("{name} panicked: {}", panic_text(&*payload));
        report::drop_payload(payload);
        report::report(&Exception::new(ExceptionKind::Protocol, text.clone()));
        io::Error::other(text)
    })
}

/// The same error, for somebody else.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
