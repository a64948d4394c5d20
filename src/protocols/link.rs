//! [`Link`]: what the handles of a transport and the task of its connection share.
//!
//! Any thread writes through a handle; only the task calls the protocol, reads, and waits. Everything that changes lies behind one mutex:
//!
//! - K1 Bytes leave in the order in which they were written: every write to the wire is made under the mutex, from the front of `outgoing`.
//!   Only a `sendfile` writes beside it, while `outgoing` is empty and writes are refused.
//! - K2 A change that the task must act on sets `is_changed` and takes the task's waker, under the mutex. The task puts its waker down
//!   only where `is_changed` is not set, so that no change is slept over.
//! - K3 The session is in the task's hands while it decrypts, since that may call the user's certificate verifier, and no code of the user
//!   runs under the mutex. What is written meanwhile waits in `unsealed`.
//!
//! Under the mutex: at most one call of the kernel that does not wait, and encryption. Wakers are called, and what belongs to the user is
//! dropped, after it is free.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::protocol::StreamProtocol;
use super::wire::{Ends, Wire};
use super::write_limits::{InvalidLimits, Marks, WriteBufferLimits, WriteError};
use crate::loom::{Arc, Mutex, MutexGuard};
use crate::report::{self, Exception, ExceptionKind};
use crate::sync::OneshotSender;

/// The high mark of plain connections, in bytes.
const HIGH: usize = 64 * 1024;
/// The high mark under TLS, in bytes.
const HIGH_SEALED: usize = 512 * 1024;
/// A buffer that ran empty keeps no more memory than this.
const KEPT_CAPACITY: usize = 64 * 1024;
/// At so many writes after the end the exception handler is told, once.
const SWALLOWED_WARNING: u64 = 5;

/// What turns the protocol's bytes into the wire's, and back: TLS. Owned by the link, or by the task while it decrypts.
pub(super) trait Session: Send {
    /// Whether no bytes of the protocol can pass yet.
    fn is_handshaking(&self) -> bool;
    /// Encrypts all of `plain`, onto the end of `wire`.
    fn seal(&mut self, plain: &[u8], wire: &mut VecDeque<u8>) -> io::Result<()>;
    /// What the session has to say by itself (handshake, alerts), onto the end of `wire`.
    fn speak(&mut self, wire: &mut VecDeque<u8>) -> io::Result<()>;
    /// Decrypts all of `wire`, onto the end of `plain`.
    fn open(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> io::Result<()>;
    /// The wire ended. An error if that could be somebody else's doing.
    fn end(&mut self) -> io::Result<()>;
    /// Whether the peer said that it sends no more.
    fn is_peer_done(&self) -> bool;
    /// Says that nothing more comes, onto the end of `wire`.
    fn finish(&mut self, wire: &mut VecDeque<u8>) -> io::Result<()>;
    /// What was agreed on.
    #[cfg(feature = "tls")]
    fn info(&self) -> super::tls::TlsInfo;
}

/// A session that is to begin.
pub(super) struct Upgrade {
    pub(super) session: Box<dyn Session>,
    /// For the whole handshake.
    pub(super) handshake_timeout: Duration,
    /// For the peer to answer our farewell.
    pub(super) shutdown_timeout: Duration,
}

/// Where the session is.
pub(super) enum Security {
    /// There is none.
    Plain,
    /// Here.
    Session(Box<dyn Session>),
    /// In the task's hands, or not begun.
    Away,
}

/// How the connection is to end.
#[derive(Debug)]
pub(super) enum Closing {
    /// As soon as everything is sent.
    Flush,
    /// At once, for this reason; or it has ended.
    Now(Option<io::Error>),
}

/// What became of the direction that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    Open,
    Wanted,
    Told,
}

/// A connection as all who have to do with it see it. Any thread.
pub(super) struct Link {
    /// The addresses. Set at the start.
    pub(super) ends: Ends,
    /// All that changes. Locked by the handles and by the task, for short.
    state: Mutex<LinkState>,
}

pub(super) struct LinkState {
    /// What it runs over; `None` when it has ended. Taken by the task.
    pub(super) wire: Option<Arc<Wire>>,
    /// Put away and brought back by the task; used by writers.
    pub(super) security: Security,
    /// Written, and still to be encrypted. Writers append while the session is away; the task takes.
    unsealed: Vec<u8>,
    /// To be sent. Writers append; whoever holds the mutex sends from the front.
    outgoing: VecDeque<u8>,
    /// When to pause and resume. Set by handles.
    marks: Marks,
    /// What `marks` are when nobody asks for others.
    default_high: usize,
    /// More than the high mark was buffered, and no resume was told since. Set by writers, cleared by the task.
    is_over: bool,
    /// Whether `pause_writing` was the last that the protocol was told. The task's.
    is_paused: bool,
    /// Whether the user wants to read. Set by handles.
    is_reading: bool,
    /// `write_eof`: wanted by a handle, told by the task.
    write_end: WriteEnd,
    /// How it ends. Set by handles and by failed writes; read by the task.
    pub(super) closing: Option<Closing>,
    /// A `sendfile` is under way: no reads, no writes.
    is_sending_file: bool,
    /// Writes after the end.
    swallowed: u64,
    /// What is to take the protocol's place. Set by handles, taken by the task.
    next_protocol: Option<StreamProtocol>,
    /// A session to begin, and who waits for it. Set by handles, taken by the task.
    upgrade: Option<(Upgrade, OneshotSender<io::Result<()>>)>,
    /// What TLS agreed on. Set by the task.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::TlsInfo>,
    /// Something changed since the task last looked (K2).
    is_changed: bool,
    /// The task, while it waits.
    task: Option<Waker>,
    /// The `sendfile` that waits for an empty buffer, or for the end.
    drained: Option<Waker>,
}

/// What the task has to do before it looks at the wire.
pub(super) enum Duty {
    End(Option<io::Error>),
    Begin(Upgrade, OneshotSender<io::Result<()>>),
    Switch(StreamProtocol),
    PauseWriting,
    ResumeWriting,
    Nothing,
}

/// What is left to send, and what may be read.
pub(super) struct Flow {
    /// Nothing is buffered, and no `sendfile` is under way.
    pub(super) is_drained: bool,
    /// Something waits for room on the wire.
    pub(super) is_blocked: bool,
    /// `close` was called.
    pub(super) is_flushing: bool,
    /// The protocol is to get what comes.
    pub(super) is_reading: bool,
}

impl Link {
    pub(super) fn new(wire: Arc<Wire>, is_secure: bool) -> Link {
        let default_high = if is_secure { HIGH_SEALED } else { HIGH };
        let state = LinkState {
            security: if is_secure { Security::Away } else { Security::Plain },
            unsealed: Vec::new(),
            outgoing: VecDeque::new(),
            marks: Marks::below(default_high),
            default_high,
            is_over: false,
            is_paused: false,
            is_reading: wire.is_readable(),
            write_end: WriteEnd::Open,
            closing: None,
            is_sending_file: false,
            swallowed: 0,
            next_protocol: None,
            upgrade: None,
            #[cfg(feature = "tls")]
            tls: None,
            is_changed: false,
            task: None,
            drained: None,
            wire: None,
        };
        let ends = wire.ends();
        Link { ends, state: Mutex::new(LinkState { wire: Some(wire), ..state }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock()
    }

    /// Makes a change that the task is to act on (K2).
    fn change<R>(&self, change: impl FnOnce(&mut LinkState) -> R) -> R {
        let mut state = self.lock();
        let answer = change(&mut state);
        state.is_changed = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        answer
    }

    /// Sends or buffers all of `bufs`. Swallowed after the end.
    pub(super) fn write(&self, bufs: &[&[u8]]) -> Result<(), WriteError> {
        let mut state = self.lock();
        if state.wire.as_ref().is_some_and(|wire| !wire.is_writable()) {
            return Err(WriteError::NotWritable);
        }
        if state.write_end != WriteEnd::Open {
            return Err(WriteError::AfterEof);
        }
        if state.is_sending_file {
            return Err(WriteError::SendfileInProgress);
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(());
        }
        if state.closing.is_some() {
            state.swallowed += 1;
            let is_enough = state.swallowed == SWALLOWED_WARNING;
            drop(state);
            if is_enough {
                let text = format!("{SWALLOWED_WARNING} writes to a transport that is closing or closed were dropped");
                report::report(&Exception::new(ExceptionKind::Protocol, text));
            }
            return Ok(());
        }
        bufs.iter().for_each(|buf| state.push(buf));
        self.wake_if_needed(state);
        Ok(())
    }

    /// Appends what a `sendfile` read.
    pub(super) fn write_of_sendfile(&self, data: &[u8]) {
        let mut state = self.lock();
        if state.closing.is_none() {
            state.push(data);
        }
        self.wake_if_needed(state);
    }

    fn wake_if_needed(&self, mut state: MutexGuard<'_, LinkState>) {
        if !state.is_changed {
            return;
        }
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    pub(super) fn write_eof(&self) -> Result<(), WriteError> {
        {
            let state = self.lock();
            match &state.wire {
                _ if state.closing.is_some() || state.write_end != WriteEnd::Open => return Ok(()),
                Some(wire) if !wire.is_writable() => return Err(WriteError::NotWritable),
                _ if !matches!(state.security, Security::Plain) => return Err(WriteError::NoHalfClose),
                _ if state.is_sending_file => return Err(WriteError::SendfileInProgress),
                _ => {}
            }
        }
        self.change(|state| {
            state.write_end = WriteEnd::Wanted;
            // A pipe has one direction alone.
            if state.wire.as_ref().is_some_and(|wire| !wire.is_socket()) && state.closing.is_none() {
                state.closing = Some(Closing::Flush);
            }
        });
        Ok(())
    }

    pub(super) fn can_write_eof(&self) -> bool {
        let state = self.lock();
        matches!(state.security, Security::Plain) && state.wire.as_ref().is_some_and(|wire| wire.is_writable())
    }

    pub(super) fn close(&self) {
        self.change(|state| {
            state.closing.get_or_insert(Closing::Flush);
        });
    }

    pub(super) fn abort(&self, error: Option<io::Error>) {
        self.change(|state| state.fail(error));
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    pub(super) fn set_reading(&self, is_reading: bool) {
        if is_reading {
            self.change(|state| state.is_reading = true);
        } else {
            // The task looks before each read.
            self.lock().is_reading = false;
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        let state = self.lock();
        state.is_reading && state.closing.is_none()
    }

    pub(super) fn set_protocol(&self, protocol: StreamProtocol) {
        let unused = self.change(|state| match state.wire {
            Some(_) => state.next_protocol.replace(protocol),
            None => Some(protocol),
        });
        drop(unused);
    }

    pub(super) fn set_marks(&self, limits: WriteBufferLimits) -> Result<(), InvalidLimits> {
        self.change(|state| {
            state.marks = Marks::new(limits, state.default_high)?;
            state.is_over |= state.marks.high < state.buffered();
            Ok(())
        })
    }

    pub(super) fn marks(&self) -> Marks {
        self.lock().marks
    }

    pub(super) fn buffered(&self) -> usize {
        self.lock().buffered()
    }

    pub(super) fn swallowed(&self) -> u64 {
        self.lock().swallowed
    }

    /// Has the task begin a session; from this call on nothing plain is read or written.
    #[cfg(feature = "tls")]
    pub(super) fn upgrade(&self, upgrade: Upgrade, answer: OneshotSender<io::Result<()>>) -> io::Result<()> {
        self.change(|state| {
            let is_socket = state.wire.as_ref().is_some_and(|wire| wire.is_socket());
            let refused = if state.closing.is_some() {
                "the transport is closing or closed"
            } else if !is_socket {
                "a pipe cannot be encrypted"
            } else if !matches!(state.security, Security::Plain) {
                "the transport is encrypted already"
            } else if state.write_end != WriteEnd::Open || state.is_sending_file {
                "the transport has ended its write direction, or sends a file"
            } else {
                state.security = Security::Away;
                state.upgrade = Some((upgrade, answer));
                return Ok(());
            };
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("start_tls: {refused}")))
        })
    }

    /// Refuses writes and stops reading until [`end_sendfile`](Link::end_sendfile). `None`: the connection has ended.
    pub(super) fn begin_sendfile(&self) -> Result<Option<Arc<Wire>>, WriteError> {
        let mut state = self.lock();
        match &state.wire {
            Some(wire) if !wire.is_writable() => return Err(WriteError::NotWritable),
            _ if state.closing.is_some() => return Ok(None),
            _ if state.write_end != WriteEnd::Open => return Err(WriteError::AfterEof),
            _ if state.is_sending_file => return Err(WriteError::SendfileInProgress),
            _ => {}
        }
        state.is_sending_file = true;
        Ok(state.wire.clone())
    }

    pub(super) fn end_sendfile(&self) {
        self.change(|state| state.is_sending_file = false);
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.lock().security, Security::Plain)
    }

    /// For the `sendfile`: ready when no more than `left` bytes are buffered (`None`: however many), with an error when the connection is
    /// to end.
    pub(super) fn poll_drained(&self, cx: &mut Context<'_>, left: Option<usize>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.closing.is_some() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the transport was closed")));
        }
        if left.is_some_and(|left| state.buffered() <= left) {
            return Poll::Ready(Ok(()));
        }
        let stale = state.drained.replace(cx.waker().clone());
        drop(state);
        drop(stale);
        Poll::Pending
    }

    /// The task's: what to do first. Looks at all changes up to now.
    pub(super) fn duty(&self, is_made: bool) -> Duty {
        let mut state = self.lock();
        state.is_changed = false;
        if let Some(Closing::Now(error)) = &mut state.closing {
            return Duty::End(error.take());
        }
        if let Some((upgrade, answer)) = state.upgrade.take() {
            state.default_high = HIGH_SEALED;
            state.marks = Marks::below(HIGH_SEALED);
            return Duty::Begin(upgrade, answer);
        }
        if let Some(protocol) = state.next_protocol.take() {
            return Duty::Switch(protocol);
        }
        if is_made && state.is_over && !state.is_paused {
            state.is_paused = true;
            return Duty::PauseWriting;
        }
        if state.is_resumable() {
            (state.is_over, state.is_paused) = (false, false);
            return Duty::ResumeWriting;
        }
        Duty::Nothing
    }

    /// The task's: sends what there is room for. `None`: something is to be told first.
    pub(super) fn flush(&self) -> Option<Flow> {
        let mut state = self.lock();
        state.seal_waiting();
        state.send();
        let is_empty = state.buffered() == 0;
        if is_empty && state.write_end == WriteEnd::Wanted && state.closing.is_none() {
            state.write_end = WriteEnd::Told;
            if let Some(Err(error)) = state.wire.as_ref().map(|wire| wire.shutdown(std::net::Shutdown::Write)) {
                state.fail(Some(error));
            }
        }
        if state.is_resumable() || matches!(state.closing, Some(Closing::Now(_))) {
            return None;
        }
        let flow = Flow {
            is_drained: is_empty && !state.is_sending_file,
            is_blocked: !state.outgoing.is_empty(),
            is_flushing: state.closing.is_some(),
            is_reading: state.is_reading && state.closing.is_none() && !state.is_sending_file,
        };
        let is_low = state.buffered() <= state.marks.low || state.closing.is_some();
        let drained = state.drained.take_if(|_| is_low);
        drop(state);
        if let Some(drained) = drained {
            drained.wake();
        }
        Some(flow)
    }

    /// The task's: puts `waker` down; false when something changed meanwhile, and it has to look again (K2).
    pub(super) fn park(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.is_changed {
            return false;
        }
        let stale = match &state.task {
            Some(task) if task.will_wake(waker) => None,
            _ => state.task.replace(waker.clone()),
        };
        drop(state);
        drop(stale);
        true
    }

    /// The task's: takes the session out, to decrypt (K3).
    pub(super) fn take_session(&self) -> Option<Box<dyn Session>> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.security, Security::Away) {
            Security::Session(session) => Some(session),
            other => {
                state.security = other;
                None
            }
        }
    }

    /// The task's: brings the session back, and has it say what it has to.
    pub(super) fn put_session(&self, mut session: Box<dyn Session>) {
        let mut state = self.lock();
        if let Err(error) = session.speak(&mut state.outgoing) {
            state.fail(Some(error));
        }
        state.security = Security::Session(session);
    }

    /// The task's: the session's farewell.
    pub(super) fn finish_session(&self) -> bool {
        let mut state = self.lock();
        let LinkState { security: Security::Session(session), outgoing, .. } = &mut *state else { return false };
        // An error says that there is nobody to take leave of.
        session.finish(outgoing).is_ok()
    }

    /// The task's: the connection has ended. What it held is the caller's to drop.
    pub(super) fn retire(&self) -> impl Sized + use<> {
        let mut state = self.lock();
        state.fail(None);
        let session = std::mem::replace(&mut state.security, Security::Plain);
        let wire = state.wire.take();
        if let Some(wire) = wire.as_ref().filter(|_| state.is_sending_file) {
            // The sendfile holds the socket still, and is to learn that it has ended. It may be broken already.
            let _ = wire.shutdown(std::net::Shutdown::Both);
        }
        let left = (wire, session, state.next_protocol.take(), state.upgrade.take(), state.task.take());
        let drained = state.drained.take();
        drop(state);
        if let Some(drained) = drained {
            drained.wake();
        }
        left
    }
}

impl LinkState {
    fn buffered(&self) -> usize {
        self.unsealed.len() + self.outgoing.len()
    }

    fn is_resumable(&self) -> bool {
        self.is_paused && self.buffered() <= self.marks.low
    }

    /// Ends it at once. The first reason counts.
    fn fail(&mut self, error: Option<io::Error>) {
        if !matches!(self.closing, Some(Closing::Now(_))) {
            self.closing = Some(Closing::Now(error));
        }
        self.is_changed = true;
        self.unsealed = Vec::new();
        self.outgoing = VecDeque::new();
    }

    /// Sends `data`, or buffers what cannot be sent at once.
    fn push(&mut self, data: &[u8]) {
        let LinkState { security, unsealed, outgoing, wire, .. } = self;
        let was_empty = outgoing.is_empty();
        match security {
            Security::Session(session) if unsealed.is_empty() && !session.is_handshaking() => {
                if let Err(error) = session.seal(data, outgoing) {
                    return self.fail(Some(error));
                }
                if was_empty {
                    self.send();
                }
            }
            Security::Plain => match wire {
                Some(wire) if was_empty => match wire.try_write(&[IoSlice::new(data)]) {
                    Ok(sent) => outgoing.extend(&data[sent..]),
                    Err(error) => return self.fail(Some(error)),
                },
                _ => outgoing.extend(data),
            },
            _ => unsealed.extend_from_slice(data),
        }
        // The task waits for room only if it knows of bytes to send.
        self.is_changed |= was_empty && !self.outgoing.is_empty();
        if self.buffered() > self.marks.high {
            self.is_changed |= !self.is_over;
            self.is_over = true;
        }
    }

    /// Encrypts what had to wait for the session.
    fn seal_waiting(&mut self) {
        let LinkState { security: Security::Session(session), unsealed, outgoing, .. } = self else { return };
        if unsealed.is_empty() || session.is_handshaking() {
            return;
        }
        let waiting = std::mem::take(unsealed);
        if let Err(error) = session.seal(&waiting, outgoing) {
            self.fail(Some(error));
        }
    }

    /// Sends from the front of `outgoing` while there is room.
    fn send(&mut self) {
        let LinkState { wire: Some(wire), outgoing, .. } = self else { return };
        while !outgoing.is_empty() {
            let (front, back) = outgoing.as_slices();
            match wire.try_write(&[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(0) => return,
                Ok(sent) => drop(outgoing.drain(..sent)),
                Err(error) => return self.fail(Some(error)),
            }
        }
        if outgoing.capacity() > KEPT_CAPACITY {
            *outgoing = VecDeque::new();
        }
    }
}
