//! The kernel side of a reactor: mio's poll, its waker, and the registering of descriptors.
//!
//! One [`Reactor`] per event loop, shared by `Arc`. Its owner calls [`turn`](Reactor::turn) and blocks in it; thieves call
//! [`try_turn`](Reactor::try_turn); any thread registers, deregisters and wakes. The turn lock says who is in there. It is held while the
//! owner sleeps in the kernel, so nothing but a turn may need it: registering goes through mio's `Registry`, which has no lock.

use std::io;
use std::os::fd::RawFd;
use std::task::Waker;
use std::time::Duration;

use super::readiness::{Readiness, Source, shut_down_error};
use super::registration::Registration;
use super::table::{NoSlot, SourceToken, Table};
use crate::loom::mio::{self, Interest, SourceFd, Token};
use crate::loom::{Arc, Mutex, OnceLock};

/// The token of the reactor's own waker. No source has it: see `table.rs::insert`.
const WAKE: Token = Token(usize::MAX);

/// The bounds of how many events one turn takes from the kernel. Fewer than the lower one make a busy loop call the kernel too often; more
/// than the upper one make one turn too long for the tasks behind it.
const EVENTS_MIN: usize = 256;
const EVENTS_MAX: usize = 1024;

/// What only one thread at a time may touch: who is in a turn.
pub(super) struct Turn {
    poll: mio::Poll,
    /// The buffer of the kernel's answers; empty outside a turn.
    events: mio::Events,
    /// R5: a thief was given a wake-up that was meant for the owner. The owner's next turn does not wait.
    pub(super) wake_is_owed: bool,
}

/// The kernel's side of a reactor, opened when the first descriptor is registered: a loop without sockets holds no descriptor of its own.
pub(super) struct Opened {
    /// The turn lock. Taken by the owner for as long as it waits, by thieves with `try_lock` only.
    pub(super) turn: Mutex<Turn>,
    /// Adds and removes descriptors, without the turn lock. Written never.
    pub(super) registry: mio::Registry,
    /// Ends a turn. Written never.
    waker: mio::Waker,
}

impl Opened {
    fn new(event_capacity: usize) -> io::Result<Opened> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKE)?;
        let events = mio::Events::with_capacity(event_capacity);
        Ok(Opened { turn: Mutex::new(Turn { poll, events, wake_is_owed: false }), registry, waker })
    }
}

/// One event loop's window to the kernel. Any thread.
pub(crate) struct Reactor {
    event_capacity: usize,
    /// Set once, under the lock `opening`; read by anybody.
    pub(super) opened: OnceLock<Opened>,
    opening: Mutex<()>,
    /// Who is registered. Nobody is before `opened` is set.
    table: Table,
}

impl Reactor {
    /// A reactor that takes at most `event_capacity` events per turn (brought into 256..=1024). It holds no descriptor yet.
    pub(crate) fn new(event_capacity: usize) -> Reactor {
        let event_capacity = event_capacity.clamp(EVENTS_MIN, EVENTS_MAX);
        Reactor { event_capacity, opened: OnceLock::new(), opening: Mutex::new(()), table: Table::new() }
    }

    /// The kernel's side, opened now if it was not.
    pub(super) fn open(&self) -> io::Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let _opening = self.opening.lock();
        if self.opened.get().is_none() {
            let opened = Opened::new(self.event_capacity)?;
            self.opened.get_or_init(|| opened);
        }
        Ok(self.opened.get().expect("it was set above, or by whoever held the lock before"))
    }

    /// Owner thread only: waits until something is ready, `timeout` passes (`None`: no limit) or [`wake`](Reactor::wake) is called; adds
    /// the wakers of those who waited for what happened to `wakers`, and says how many events there were. The caller wakes them, once
    /// it holds no lock. The kernel counts in milliseconds: `timeout` is rounded up. With a zero timeout it answers 0 while a thief is in a turn.
    ///
    /// # Errors
    ///
    /// What the kernel's wait reports, but for an interruption by a signal, which ends the turn with no events.
    pub(crate) fn turn(&self, timeout: Option<Duration>, wakers: &mut Vec<Waker>) -> io::Result<usize> {
        let Some(opened) = self.opened.get() else { return Ok(0) };
        let mut turn = if timeout == Some(Duration::ZERO) {
            match opened.turn.try_lock() {
                Some(turn) => turn,
                // A thief is in there and takes what is ready; a busy owner need not wait for it.
                None => return Ok(0),
            }
        } else {
            opened.turn.lock()
        };
        let timeout = if std::mem::take(&mut turn.wake_is_owed) { Some(Duration::ZERO) } else { timeout };
        let (events, _) = self.turn_locked(&mut turn, timeout, wakers)?;
        Ok(events)
    }

    /// Any thread: takes what is ready now, in the owner's place. `None` if somebody is in a turn, and so takes care of it.
    pub(crate) fn try_turn(&self, wakers: &mut Vec<Waker>) -> Option<usize> {
        let mut turn = self.opened.get()?.turn.try_lock()?;
        // An error leaves the events where they are; the owner's next turn will meet it too, and report it.
        let (events, is_woken) = self.turn_locked(&mut turn, Some(Duration::ZERO), wakers).unwrap_or((0, false));
        // R5: the kernel reports a wake-up once, and this one was for the owner.
        turn.wake_is_owed |= is_woken;
        Some(events)
    }

    /// One wait and the delivery of what it brought: the number of events, and whether `wake` was among them.
    pub(super) fn turn_locked(
        &self,
        turn: &mut Turn,
        timeout: Option<Duration>,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<(usize, bool)> {
        match turn.poll.poll(&mut turn.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok((0, false)),
            Err(error) => return Err(error),
        }
        if turn.events.is_empty() {
            return Ok((0, false));
        }
        let mut is_woken = false;
        let events = turn.events.iter().filter_map(|event| {
            if event.token() == WAKE {
                is_woken = true;
                return None;
            }
            Some((SourceToken::from_usize(event.token().0), readiness_of(event)))
        });
        let delivered = self.table.deliver(events, wakers);
        turn.events.clear();
        Ok((delivered, is_woken))
    }

    /// Any thread: ends the turn that the owner is in, or else its next one. One system call; calls before that turn ends count as one.
    pub(crate) fn wake(&self) {
        let Some(opened) = self.opened.get() else { return };
        if let Err(error) = opened.waker.wake() {
            // A full counter (EAGAIN) is not an error: mio resets it and writes again. What is left is a closed or exhausted kernel object,
            // of which the sleeping owner cannot be told; a panic here would only add a second victim.
            eprintln!("eddies: an event loop could not be woken: {error}");
        }
    }

    /// Any thread: registers `fd` with `reactor` for both directions, edge-triggered. What is ready already is reported by the next turn.
    ///
    /// `fd` must stay open for as long as the registration lives.
    ///
    /// # Errors
    ///
    /// The kernel cannot wait for this kind of file (`PermissionDenied` for a regular one), has no room for it, or knows it already; or the
    /// reactor is shut down. For the first socket of a loop: the system has no descriptors left for the epoll instance and its waker. Nothing is
    /// left behind.
    pub(crate) fn register(reactor: &Arc<Reactor>, fd: RawFd) -> io::Result<Registration> {
        let opened = reactor.open()?;
        let source = Arc::new(Source::new());
        let token = reactor.table.insert(source.clone()).map_err(|error| match error {
            NoSlot::ShutDown => shut_down_error(),
            NoSlot::Full => io::Error::other("one event loop cannot hold that many sockets"),
        })?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = opened.registry.register(&mut SourceFd(&fd), Token(token.to_usize()), interest) {
            reactor.table.remove(token);
            return Err(error);
        }
        Ok(Registration::new(reactor.clone(), source, token, fd))
    }

    /// Any thread: the registration's end. After it no event is produced for `fd`, and one that was produced already finds nobody.
    pub(super) fn deregister(&self, fd: RawFd, token: SourceToken) {
        // R4: the kernel first. It fails only if `fd` was closed behind the registration's back, and then there is nothing to remove.
        if let Some(opened) = self.opened.get() {
            let _ = opened.registry.deregister(&mut SourceFd(&fd));
        }
        let source = self.table.remove(token);
        drop(source);
    }

    /// Any thread: how many descriptors are registered. With none the owner may sleep without the kernel's poll.
    #[inline]
    pub(crate) fn sources(&self) -> usize {
        self.table.len()
    }

    /// Any thread: from now on every wait is answered with an error, and nothing can be registered. Adds the wakers of all who wait.
    pub(crate) fn shutdown(&self, wakers: &mut Vec<Waker>) {
        self.table.shutdown(wakers);
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("sources", &self.sources()).finish_non_exhaustive()
    }
}

fn readiness_of(event: &mio::event::Event) -> Readiness {
    [
        (event.is_readable(), Readiness::READABLE),
        (event.is_writable(), Readiness::WRITABLE),
        (event.is_read_closed(), Readiness::READ_CLOSED),
        (event.is_write_closed(), Readiness::WRITE_CLOSED),
        // Either direction's next operation may be the one that reports the error, so both are tried.
        (event.is_error(), Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .fold(Readiness::EMPTY, |readiness, (_, bits)| readiness | bits)
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/turn.rs"]
mod models;
