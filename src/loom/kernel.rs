//! What models have in mio's place: a kernel whose events are made by the model's threads.
//!
//! The names and methods are those that the reactor's turn uses of mio, so that `src/reactor/turn.rs` runs under loom as it is. Beside them
//! [`Registry`] has what a model needs: to make a descriptor ready ([`raise`](Registry::raise)), to use it up, to close it, to let time
//! pass, and to look at who is registered.
//!
//! It is an edge-triggered `epoll`, and no kinder: an edge is reported once, to whoever asks first; a descriptor that is ready when it is registered
//! is reported; what was used up before anybody asked is not; a wake-up is one edge however often it was sent. Time is one moment, that a
//! model lets pass: from then on every wait with a limit ends.
//!
//! - **V1** A call neither waits for others nor orders their memory: its state is behind a lock that loom does not see, entered through an
//!   atomic that orders nothing. So what holds here does not lean on the system's own locks. Only who really sleeps is ordered after who ends
//!   the sleep.
//! - **V2** A descriptor that is closed while it is registered fails the model: the kernel would report events for whoever gets its number next.
//!
//! What it leaves out: interruptions by signals, events that nobody asked for, and errors of the calls other than those for a descriptor that is
//! registered twice or not at all. The tests in `src/reactor/tests.rs` have the real ones.

use std::collections::BTreeMap;
use std::io;
use std::ops::BitOr;
use std::os::fd::RawFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Condvar, Mutex};

/// A lock that loom does not see (V1).
type Unseen<T> = std::sync::Mutex<T>;

/// What an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) usize);

/// A set of the things that a descriptor can be ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest(u8);

impl Interest {
    pub(crate) const READABLE: Interest = Interest(1);
    pub(crate) const WRITABLE: Interest = Interest(1 << 1);
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// A descriptor, by its number.
#[derive(Debug)]
pub(crate) struct SourceFd<'a>(pub(crate) &'a RawFd);

/// As mio has it, the event in a module of its own.
pub(crate) mod event {
    use super::{Interest, Token};

    /// Something happened to a descriptor.
    #[derive(Debug)]
    pub(crate) struct Event {
        pub(super) token: Token,
        pub(super) ready: Interest,
    }

    impl Event {
        pub(crate) fn token(&self) -> Token {
            self.token
        }

        pub(crate) fn is_readable(&self) -> bool {
            self.ready.0 & Interest::READABLE.0 != 0
        }

        pub(crate) fn is_writable(&self) -> bool {
            self.ready.0 & Interest::WRITABLE.0 != 0
        }

        pub(crate) fn is_read_closed(&self) -> bool {
            false
        }

        pub(crate) fn is_write_closed(&self) -> bool {
            false
        }

        pub(crate) fn is_error(&self) -> bool {
            false
        }
    }
}

use event::Event;

/// What one wait brought.
#[derive(Debug)]
pub(crate) struct Events {
    list: Vec<Event>,
    capacity: usize,
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Events {
        Events { list: Vec::new(), capacity }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.list.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }
}

/// A registered descriptor.
#[derive(Debug)]
struct Registered {
    token: Token,
    interest: u8,
    /// Edges that nobody was told of yet.
    edges: u8,
}

#[derive(Debug, Default)]
struct State {
    registered: BTreeMap<RawFd, Registered>,
    /// What each open descriptor is ready for.
    ready: BTreeMap<RawFd, u8>,
    waker: Option<Token>,
    is_woken: bool,
    has_time_passed: bool,
    /// Whether who waits found nothing: it sleeps, or is about to under the lock `asleep`.
    is_asleep: bool,
}

impl State {
    /// Moves what is to be reported to `events`.
    fn report(&mut self, events: &mut Events) {
        if std::mem::take(&mut self.is_woken) {
            events.list.extend(self.waker.map(|token| Event { token, ready: Interest::READABLE }));
        }
        for (fd, registered) in &mut self.registered {
            let ready = registered.edges & self.ready.get(fd).copied().unwrap_or(0);
            if ready != 0 && events.list.len() < events.capacity {
                registered.edges = 0;
                events.list.push(Event { token: registered.token, ready: Interest(ready) });
            }
        }
    }
}

/// One instance of `epoll`.
#[derive(Debug)]
struct Kernel {
    /// Passed by each call, so that loom tries every order of them. Orders nothing.
    gate: AtomicUsize,
    /// Entered right behind the gate, and left before the next operation that loom sees.
    state: Unseen<State>,
    /// Closes the gap between a look at the state and the sleep.
    asleep: Mutex<()>,
    changed: Condvar,
}

impl Kernel {
    fn call<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // Ordering: Relaxed, on purpose (V1): a point that calls pass in every order.
        self.gate.fetch_add(1, Ordering::Relaxed);
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call that may end a sleep.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (answer, is_asleep) = self.call(|state| (f(state), state.is_asleep));
        if is_asleep {
            drop(self.asleep.lock());
            self.changed.notify_all();
        }
        answer
    }
}

/// The way to the kernel for all but waiting. Any thread.
#[derive(Debug)]
pub(crate) struct Registry(Arc<Kernel>);

impl Registry {
    #[expect(clippy::unnecessary_wraps, reason = "as mio has it")]
    pub(crate) fn try_clone(&self) -> io::Result<Registry> {
        Ok(Registry(self.0.clone()))
    }

    pub(crate) fn register(&self, source: &mut SourceFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.0.change(|state| {
            if state.registered.contains_key(source.0) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let edges = state.ready.get(source.0).copied().unwrap_or(0) & interest.0;
            state.registered.insert(*source.0, Registered { token, interest: interest.0, edges });
            Ok(())
        })
    }

    pub(crate) fn deregister(&self, source: &mut SourceFd<'_>) -> io::Result<()> {
        let registered = self.0.call(|state| state.registered.remove(source.0));
        registered.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// `fd` becomes ready for `what`, once more if it is already.
    pub(crate) fn raise(&self, fd: RawFd, what: Interest) {
        self.0.change(|state| {
            *state.ready.entry(fd).or_default() |= what.0;
            if let Some(registered) = state.registered.get_mut(&fd) {
                registered.edges |= what.0 & registered.interest;
            }
        });
    }

    /// `fd` is closed, and its number free for the next one.
    ///
    /// # Panics
    ///
    /// When it is registered (V2).
    pub(crate) fn close(&self, fd: RawFd) {
        self.0.call(|state| {
            assert!(!state.registered.contains_key(&fd), "descriptor {fd} is closed while it is registered");
            state.ready.remove(&fd);
        });
    }

    /// The moment comes that ends every wait with a limit, now and later.
    pub(crate) fn let_time_pass(&self) {
        self.0.change(|state| state.has_time_passed = true);
    }

    /// The tokens of all that is registered.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.0.call(|state| state.registered.values().map(|registered| registered.token).collect())
    }
}

/// The way to wait.
#[derive(Debug)]
pub(crate) struct Poll(Registry);

impl Poll {
    #[expect(clippy::unnecessary_wraps, reason = "as mio has it")]
    pub(crate) fn new() -> io::Result<Poll> {
        Ok(Poll(Registry(Arc::new(Kernel {
            gate: AtomicUsize::new(0),
            state: Unseen::default(),
            asleep: Mutex::new(()),
            changed: Condvar::new(),
        }))))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0
    }

    #[allow(clippy::unnecessary_wraps, reason = "as mio has it")]
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let kernel = &self.0.0;
        events.clear();
        kernel.call(|state| state.report(events));
        if !events.is_empty() || timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        let mut asleep = kernel.asleep.lock();
        loop {
            let is_over = kernel.call(|state| {
                state.report(events);
                let is_over = !events.is_empty() || timeout.is_some() && state.has_time_passed;
                state.is_asleep = !is_over;
                is_over
            });
            if is_over {
                return Ok(());
            }
            asleep = kernel.changed.wait(asleep);
        }
    }
}

/// Ends a wait, or the next one.
#[derive(Debug)]
pub(crate) struct Waker(Registry);

impl Waker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
        registry.0.call(|state| state.waker = Some(token));
        Ok(Waker(registry.try_clone()?))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as mio has it")]
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.0.0.change(|state| state.is_woken = true);
        Ok(())
    }
}
