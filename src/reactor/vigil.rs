//! A vigil: one thread's wait for its own reactor and for those of others at once.
//!
//! Whoever was sent to help a stalled loop sleeps in one, so that a socket of that loop which becomes ready ends its sleep as one of its own
//! would. It rests on the kernel's poll being pollable itself: the vigil is a poll of its own, in which the others' descriptors are
//! registered. It exists only while there is a stalled loop to attend; a healthy reactor is registered nowhere, and no event of
//! it wakes anybody but its owner.
//!
//! - **V-a** The owner waits in the vigil with its turn lock held, as it does in an ordinary turn: no thief can take a wake-up that was meant for the
//!   owner between the kernel's report to the vigil and the owner's look (R5).
//! - **V-b** Each wait begins by registering everything anew, which is a look at what is there already. An edge that was reported before, or
//!   events that a thief left when its buffer was full, are not forgotten.
//! - **V-c** A vigil keeps the reactors in it alive, so none of its descriptors is closed under it.
//!
//! What it reports is a hint: another thief may be faster. Rejected: *the others' descriptors in the helper's own poll*. Two loops that help one
//! another by turns would then watch each other in a circle, which the kernel refuses; and each healthy turn would have to tell
//! foreign tokens from its own. *The helper in the stalled reactor's turn*, as with one reactor for all: its own sockets would wait.

use std::io;
use std::os::fd::RawFd;
use std::task::Waker;
use std::time::Duration;

use super::turn::Reactor;
use crate::loom::Arc;
use crate::loom::mio::{self, Interest, SourceFd, Token};

/// The token of the reactor whose owner waits. No loop has that number.
const OWN: Token = Token(usize::MAX);

/// A wait for several reactors. Its thread's own.
pub(crate) struct Vigil {
    poll: mio::Poll,
    events: mio::Events,
    /// Those whose events end the wait, with the owner's first: token, reactor, the descriptor of its poll.
    watched: Vec<(Token, Arc<Reactor>, RawFd)>,
}

impl Vigil {
    /// A vigil of the owner of `own` over `own` alone.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left, or none of its polls can be polled.
    pub(crate) fn new(own: &Arc<Reactor>) -> io::Result<Vigil> {
        let mut vigil =
            Vigil { poll: mio::Poll::new()?, events: mio::Events::with_capacity(8), watched: Vec::with_capacity(2) };
        vigil.register(OWN, own)?;
        Ok(vigil)
    }

    /// From now on events of `other` end a wait too, and are reported by its `number`.
    ///
    /// # Errors
    ///
    /// As [`new`](Vigil::new).
    pub(crate) fn add(&mut self, number: usize, other: &Arc<Reactor>) -> io::Result<()> {
        self.register(Token(number), other)
    }

    fn register(&mut self, token: Token, reactor: &Arc<Reactor>) -> io::Result<()> {
        let descriptor = pollable(&reactor.open()?.registry).ok_or(io::ErrorKind::Unsupported)?;
        self.poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        self.watched.push((token, reactor.clone(), descriptor));
        Ok(())
    }

    /// Nothing of the reactor with this number ends a wait any more.
    pub(crate) fn remove(&mut self, number: usize) {
        let Some(place) = self.watched.iter().position(|(token, ..)| *token == Token(number)) else { return };
        let (_, reactor, descriptor) = self.watched.swap_remove(place);
        // It fails only where there is nothing to remove.
        let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor));
        drop(reactor);
    }

    /// Waits until one of the reactors has something, or `timeout` passes. Adds the numbers of the others that have to `ready`; whether the own
    /// one has.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<usize>) -> io::Result<bool> {
        for (token, _, descriptor) in &self.watched {
            // V-b.
            self.poll.registry().reregister(&mut SourceFd(descriptor), *token, Interest::READABLE)?;
        }
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut has_own = false;
        for event in &self.events {
            match event.token() {
                OWN => has_own = true,
                Token(number) => ready.push(number),
            }
        }
        Ok(has_own)
    }
}

/// epoll and kqueue: a poll is a descriptor that others can wait for.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "illumos",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
fn pollable(registry: &mio::Registry) -> Option<RawFd> {
    Some(std::os::fd::AsRawFd::as_raw_fd(registry))
}

/// Systems without one: what is ready on a stalled loop is found at the monitor's next look.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "illumos",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
fn pollable(_registry: &mio::Registry) -> Option<RawFd> {
    None
}

impl Reactor {
    /// Owner thread only: as [`turn`](Reactor::turn), in a vigil over this reactor. It ends also when one of the others has something: adds
    /// their numbers to `ready`. Whether anything ended it before the time had passed.
    ///
    /// # Errors
    ///
    /// As `turn`.
    pub(crate) fn turn_in(
        &self,
        vigil: &mut Vigil,
        timeout: Option<Duration>,
        wakers: &mut Vec<Waker>,
        ready: &mut Vec<usize>,
    ) -> io::Result<bool> {
        let opened = self.open()?;
        // V-a.
        let mut turn = opened.turn.lock();
        let timeout = if std::mem::take(&mut turn.wake_is_owed) { Some(Duration::ZERO) } else { timeout };
        let has_own = vigil.wait(timeout, ready)?;
        if has_own {
            self.turn_locked(&mut turn, Some(Duration::ZERO), wakers)?;
        }
        Ok(has_own || !ready.is_empty())
    }
}
