//! Signals of the operating system as something to await: [`ctrl_c`], and any other through [`unix::signal`].
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! eddies::run(async {
//!     println!("serving; Ctrl-C stops");
//!     eddies::signal::ctrl_c().await?;
//!     println!("stopping");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # How a signal arrives
//!
//! Each [`Signal`](unix::Signal) owns a pair of connected sockets. Its action, which runs in the handler on whichever thread the kernel chose,
//! writes one byte into one of them; the other is a source of the reactor like any socket, and [`recv`](unix::Signal::recv) empties it. There
//! is no helper thread and nothing global of ours, so any number of runtimes may listen beside each other. The handler itself is
//! `signal-hook-registry`'s: it calls every action that is registered for the signal, those of other crates included, and the handler that
//! was installed before it; it also puts `errno` back.
//!
//! - G1: the action does nothing but `write(2)`, on a non-blocking descriptor that outlives it: async-signal-safe, no lock, no allocation.
//! - G2: no signal is lost. Once the action is registered, each delivery leaves a byte, or finds the pair so full that it holds bytes
//!   nobody has read yet. A `recv` that begins later reads at least one of them. Several deliveries may be answered by one `recv`.
//! - G3: the action goes before its pair. Unregistering waits until no handler runs the old action, and only then the descriptors close;
//!   so the byte never goes to a stranger's descriptor, nor to a pair without a reader, which would raise SIGPIPE.
//!
//! What a dropped listener deliberately does not do: give the default effect back. From the first registration on the process does not die of
//! the signal any more, even when all its listeners are gone; another default would be a race at the moment of the last drop.
//!
//! A handler of a loop ([`add_signal_handler`]) is removed by name and not by scope, so there the moment is the caller's choice, and the default
//! effect comes back as it does in asyncio, unless somebody else wants the signal:
//!
//! - G4: the effect is given back only if it was the default before our first registration, and no listener or handler of ours is left. It is
//!   an action beside the others, which does what the default would; the next listener takes that action away. The disposition itself stays
//!   `signal-hook-registry`'s, which would not notice another one. What another crate registers there later does not count: the process dies.
//!
//! Rejected: one pair for the whole process and a thread, or a loop, that reads it and wakes the listeners of all runtimes (tokio's way).
//! It saves descriptors where a process has many listeners, which hardly any has, and costs a global registry, a lock in front of it, and the
//! question which runtime's loop reads for the others when that runtime shuts down.
//!
//! After a `fork` without `exec` the child shares the pairs: a signal to the child is then seen by the parent. `Command` execs.

#![expect(unsafe_code, reason = "signal_hook_registry::register is unsafe: its action must be async-signal-safe")]

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use signal_hook_registry::SigId;

mod loop_handlers;

pub use loop_handlers::{SignalHandlerError, add_signal_handler, remove_signal_handler};

/// Completes at the first Ctrl-C (SIGINT) after this call. See [`unix::signal`] for what else that changes: without another listener,
/// later ones no longer end the process.
///
/// It listens from the call on, not from the first poll: a signal between the two is not missed.
///
/// # Errors
///
/// The future's output: as [`unix::signal`].
///
/// # Cancel safety
///
/// A dropped future forgets the signals that it has not answered yet.
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> + Send {
    let signal = unix::signal(unix::SignalKind::interrupt());
    async {
        match signal?.recv().await {
            Some(()) => Ok(()),
            None => Err(io::Error::other("the runtime that listened for Ctrl-C has shut down")),
        }
    }
}

/// Ctrl-C for an event loop that ends its runs with it: a listener, and a way out for a person when the loop does not answer.
///
/// The loop may be stuck in a poll, or not be running at all. The signal's default effect is gone since the first listener; so the
/// [`UNANSWERED_MAX`]th signal that nobody has answered gives it back, and the process ends. Not the second: a signal to a group of processes may
/// come twice, once directly and once forwarded by a parent.
///
/// - G4: the action counts, and at the limit calls `signal` and `raise`; all three are async-signal-safe. The count goes back to zero when the loop
///   answers.
pub(crate) struct CtrlC {
    signal: unix::Signal,
    /// Raised by the action, reset by [`answered`](CtrlC::answered).
    unanswered: Arc<AtomicUsize>,
    action: SigId,
}

/// So many times Ctrl-C without an answer end the process.
const UNANSWERED_MAX: usize = 3;

impl CtrlC {
    /// Listens from now on. Must be called inside a runtime, as [`unix::signal`].
    pub(crate) fn listen() -> io::Result<CtrlC> {
        let kind = unix::SignalKind::interrupt();
        let signal = unix::signal(kind)?;
        let unanswered = Arc::new(AtomicUsize::new(0));
        let count = unanswered.clone();
        let number = kind.as_raw_value();
        let give_up = move || {
            // Ordering: Relaxed: a counter; it publishes nothing.
            if count.fetch_add(1, Relaxed) + 1 >= UNANSWERED_MAX {
                // SAFETY: sets the default disposition, which runs no code of this process (G4).
                unsafe { libc::signal(number, libc::SIG_DFL) };
                // SAFETY: delivered when this handler returns (G4).
                unsafe { libc::raise(number) };
            }
        };
        // SAFETY: G4. The action owns what it uses.
        let action = unsafe { signal_hook_registry::register(number, give_up) }?;
        Ok(CtrlC { signal, unanswered, action })
    }

    /// The next Ctrl-C, which counts as answered. `None`: the runtime has shut down.
    pub(crate) async fn recv(&mut self) -> Option<()> {
        let received = self.signal.recv().await;
        // Ordering: Relaxed: a counter. One that comes at this very moment is counted or forgotten; either is right for a person's key.
        self.unanswered.store(0, Relaxed);
        received
    }
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        signal_hook_registry::unregister(self.action);
    }
}

/// Signals by their Unix names.
pub mod unix {
    use std::future::poll_fn;
    use std::io::{self, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::task::{Context, Poll, Waker, ready};

    use signal_hook_registry::SigId;

    use crate::loom::Mutex;
    use crate::net::source::{Direction, IoSource};

    /// Which signal.
    ///
    /// ```
    /// use eddies::signal::unix::SignalKind;
    ///
    /// let number = SignalKind::terminate().as_raw_value();
    /// assert_eq!(SignalKind::from_raw(number), SignalKind::terminate());
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct SignalKind(libc::c_int);

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident = $number:ident;)*) => {$(
            $(#[$doc])*
            pub const fn $name() -> SignalKind {
                SignalKind(libc::$number)
            }
        )*};
    }

    impl SignalKind {
        /// The signal with this number. Which numbers there are depends on the system; real-time signals are among them.
        pub const fn from_raw(number: std::ffi::c_int) -> SignalKind {
            SignalKind(number)
        }

        /// The signal's number.
        pub const fn as_raw_value(&self) -> std::ffi::c_int {
            self.0
        }

        kinds! {
            /// SIGALRM: a real timer of the process ran out.
            alarm = SIGALRM;
            /// SIGCHLD: a child process stopped or ended.
            child = SIGCHLD;
            /// SIGHUP: the terminal is gone; by custom, "read the configuration again".
            hangup = SIGHUP;
            /// SIGINT: Ctrl-C.
            interrupt = SIGINT;
            /// SIGIO: a descriptor in the old signal-driven mode is ready.
            io = SIGIO;
            /// SIGPIPE: a write met no reader. Rust programs ignore it until somebody listens.
            pipe = SIGPIPE;
            /// SIGQUIT: Ctrl-\.
            quit = SIGQUIT;
            /// SIGTERM: the polite request to end, as `kill` and service managers send it.
            terminate = SIGTERM;
            /// SIGUSR1: what the program makes of it.
            user_defined1 = SIGUSR1;
            /// SIGUSR2: what the program makes of it.
            user_defined2 = SIGUSR2;
            /// SIGWINCH: the terminal's window has another size.
            window_change = SIGWINCH;
        }
    }

    impl From<std::ffi::c_int> for SignalKind {
        fn from(number: std::ffi::c_int) -> SignalKind {
            SignalKind::from_raw(number)
        }
    }

    impl From<SignalKind> for std::ffi::c_int {
        fn from(kind: SignalKind) -> std::ffi::c_int {
            kind.as_raw_value()
        }
    }

    /// A listener for one signal, from [`signal`]. Dropping it ends the listening, but does not give the signal its default effect back.
    #[derive(Debug)]
    #[must_use = "a signal that nobody receives has no effect any more at all"]
    pub struct Signal {
        /// The action that writes to the other end. Declared, and so dropped, before the reading end (G3).
        _action: Action,
        /// The reading end.
        reader: IoSource<UnixStream>,
    }

    /// Listens for `kind` from now on, beside all others who do. Must be called inside a runtime, whose loop then watches for it.
    ///
    /// The signal's default effect is gone from the first such call on, for the whole life of the process: after listening for SIGTERM once, it is
    /// the program's task to end itself. Handlers that were installed before still run.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for the signals that nobody may handle or that report a fault of the thread (SIGKILL, SIGSTOP, SIGILL, SIGFPE,
    /// SIGSEGV); [`NoRuntime`](crate::NoRuntime) inside the error outside a runtime; else the system's, for an unknown number or when the
    /// process has no descriptor left.
    ///
    /// ```
    /// use eddies::signal::unix::{SignalKind, signal};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// eddies::run(async {
    ///     let mut hangup = signal(SignalKind::hangup())?;
    ///     signal_hook::low_level::raise(SignalKind::hangup().as_raw_value())?;
    ///     assert_eq!(hangup.recv().await, Some(()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn signal(kind: SignalKind) -> io::Result<Signal> {
        let listener = listen(kind)?;
        let signal = Signal { _action: listener.action, reader: IoSource::new(listener.reader) };
        // Nothing is there to read yet, so this only registers the pair: a fault shows here, and not at the first `recv`.
        let _: Poll<()> = poll_bytes(&signal.reader, &mut Context::from_waker(Waker::noop()))?.map(drop);
        Ok(signal)
    }

    /// What [`listen`] made. Its fields are dropped in this order (G3).
    pub(crate) struct Listener {
        /// The action that writes to the other end.
        pub(crate) action: Action,
        /// The reading end: a byte for each signal, several for one, or one for several if nobody reads for long.
        pub(crate) reader: UnixStream,
    }

    /// Listens for `kind`, without a runtime.
    pub(crate) fn listen(kind: SignalKind) -> io::Result<Listener> {
        if is_forbidden(kind) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("signal {} cannot be listened for", kind.0),
            ));
        }
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let write_byte = move || {
            // A full pair says all that another byte would (G2); no other failure is possible while the reader lives (G3).
            let _ = (&writer).write(&[0]);
        };
        let mut effects = EFFECTS.lock();
        let was_default = is_default(kind)?;
        // SAFETY: G1, the action makes one `write(2)` on a non-blocking descriptor that it owns; making an `io::Error` of a failure
        // only reads `errno`, and dropping that kind of error frees nothing.
        let id = unsafe { signal_hook_registry::register(kind.0, write_byte) }?;
        let at = effects.iter().position(|effect| effect.kind == kind).unwrap_or_else(|| {
            effects.push(Effect { kind, was_default, listeners: 0, given_back: None });
            effects.len() - 1
        });
        effects[at].listeners += 1;
        if let Some(action) = effects[at].given_back.take() {
            signal_hook_registry::unregister(action);
        }
        Ok(Listener { action: Action { id, kind }, reader })
    }

    /// Whether nobody may handle the signal, or it reports a fault of the thread.
    pub(super) fn is_forbidden(kind: SignalKind) -> bool {
        signal_hook_registry::FORBIDDEN.contains(&kind.0)
    }

    /// The action of a listener, in the signal's handler. Dropping it waits until no handler runs it.
    #[derive(Debug)]
    pub(crate) struct Action {
        id: SigId,
        kind: SignalKind,
    }

    impl Drop for Action {
        fn drop(&mut self) {
            signal_hook_registry::unregister(self.id);
            let mut effects = EFFECTS.lock();
            if let Some(effect) = effects.iter_mut().find(|effect| effect.kind == self.kind) {
                effect.listeners -= 1;
            }
        }
    }

    /// What became of a signal's effect, from our first registration on.
    struct Effect {
        kind: SignalKind,
        /// Whether it was the default before.
        was_default: bool,
        /// How many of our actions there are.
        listeners: usize,
        /// The action in place of the default effect (G4).
        given_back: Option<SigId>,
    }

    /// The signals that we ever registered for: a few. Any thread.
    static EFFECTS: Mutex<Vec<Effect>> = Mutex::new(Vec::new());

    /// Whether we ever registered for `kind`.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_known(kind: SignalKind) -> bool {
        EFFECTS.lock().iter().any(|effect| effect.kind == kind)
    }

    /// Gives `kind` its default effect back, if G4 allows it.
    pub(super) fn give_back_default(kind: SignalKind) {
        let mut effects = EFFECTS.lock();
        let Some(effect) = effects.iter_mut().find(|effect| effect.kind == kind) else { return };
        if !effect.was_default || effect.listeners > 0 || effect.given_back.is_some() {
            return;
        }
        let emulate = move || {
            // It fails for signals it does not know (real-time ones), which then stay without effect.
            let _ = signal_hook::low_level::emulate_default_handler(kind.0);
        };
        // SAFETY: the action calls one function, which is documented to be async-signal-safe.
        effect.given_back = unsafe { signal_hook_registry::register(kind.0, emulate) }.ok();
    }

    /// Whether the process does now what the system does by default on `kind`.
    fn is_default(kind: SignalKind) -> io::Result<bool> {
        let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: no new action is set, and `now` has room for the answer.
        let answer = unsafe { libc::sigaction(kind.0, std::ptr::null(), now.as_mut_ptr()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has written the answer.
        Ok(unsafe { now.assume_init() }.sa_sigaction == libc::SIG_DFL)
    }

    /// Reads what the handler wrote since the last time.
    fn poll_bytes(reader: &IoSource<UnixStream>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 128];
        reader.poll_io(cx, Direction::Read, |mut io| io.read(&mut bytes))
    }

    impl Signal {
        /// The next signal. One answer may stand for several deliveries since the last one. `None` when the runtime in which it
        /// was made has shut down, so that nothing would ever arrive.
        ///
        /// # Cancel safety
        ///
        /// Dropping the future loses nothing: a signal that it has not answered is the next call's.
        pub async fn recv(&mut self) -> Option<()> {
            poll_fn(|cx| self.poll_recv(cx)).await
        }

        /// [`recv`](Signal::recv) for hand-written futures.
        pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
            let read = ready!(poll_bytes(&self.reader, cx));
            Poll::Ready(read.is_ok_and(|count| count > 0).then_some(()))
        }
    }
}

#[cfg(any(test, fuzzing))]
#[path = "../fuzz/checks/signals.rs"]
pub(crate) mod fuzz;
