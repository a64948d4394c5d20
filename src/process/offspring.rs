//! One process that we started, until it is reaped: who waits for it, who may signal it.
//!
//! Shared by everybody who has to do with the process; any thread. The state is behind a lock, which is held for one system call that does not
//! wait: reaping and signalling exclude each other (X1).

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{ProcessEnded, orphans};
use crate::loom::Mutex;
use crate::signal::unix::{SignalKind, signal};

/// A process that we started.
#[derive(Debug)]
pub(super) struct Offspring {
    pid: Pid,
    /// Behind the lock: read and written by who waits and who signals.
    state: Mutex<State>,
    /// Whether the process is killed when nobody has to do with it any more.
    kill_on_drop: bool,
    /// How its end is noticed. Never changes.
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not reaped. It may have ended; its number is its own.
    Running,
    /// Reaped, by us.
    Ended(ExitStatus),
    /// Reaped by somebody else (the process ignores SIGCHLD, or a library waits for just any child): what it ended with is unknown.
    Lost,
}

/// What tells that a process has ended.
#[derive(Debug)]
enum End {
    /// A descriptor that is readable from then on.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Pidfd(crate::net::source::IoSource<std::os::fd::OwnedFd>),
    /// The signal that its parent gets.
    Sigchld,
}

impl End {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of(pid: Pid) -> End {
        use rustix::process::{PidfdFlags, pidfd_open};
        // The number is the process's own: it is not reaped yet (X1).
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => End::Pidfd(crate::net::source::IoSource::new(pidfd)),
            Err(_) => End::Sigchld,
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn of(_: Pid) -> End {
        End::Sigchld
    }

    /// Sends a signal to the process, which is not reaped: the caller holds the lock.
    fn send(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            End::Pidfd(pidfd) => Ok(rustix::process::pidfd_send_signal(pidfd.get_ref(), signal)?),
            End::Sigchld => Ok(kill_process(pid, signal)?),
        }
    }
}

impl Offspring {
    /// Takes over a process that was just started. Nobody else may reap it.
    pub(super) fn new(pid: Pid, kill_on_drop: bool) -> Offspring {
        Offspring { pid, state: Mutex::new(State::Running), kill_on_drop, end: End::of(pid) }
    }

    /// The number of the process; after its end it may be another's.
    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The status, if the process has ended. Reaps it.
    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut state = self.state.lock();
        self.reap(&mut state);
        match *state {
            State::Running => Ok(None),
            State::Ended(status) => Ok(Some(status)),
            State::Lost => Err(io::Error::from_raw_os_error(libc::ECHILD)),
        }
    }

    fn reap(&self, state: &mut State) {
        if let State::Running = state {
            *state = match waitpid(Some(self.pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => State::Ended(ExitStatus::from_raw(status.as_raw())),
                // "Interrupted" does not happen to who does not wait.
                Ok(None) | Err(rustix::io::Errno::INTR) => State::Running,
                Err(_) => State::Lost,
            };
        }
    }

    /// Waits for the end of the process. Any number at a time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing (X3).
    pub(super) async fn wait(&self) -> io::Result<ExitStatus> {
        let ended = || self.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
        match &self.end {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            End::Pidfd(pidfd) => pidfd.io(crate::net::source::Direction::Read, |_| ended()).await,
            End::Sigchld => {
                // Listens before it asks for the first time, so no end falls in between.
                let mut ends = signal(SignalKind::child())?;
                loop {
                    match ended() {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        answer => return answer,
                    }
                    if ends.recv().await.is_none() {
                        return Err(io::Error::other("the runtime that waited for a process has shut down"));
                    }
                }
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// [`ProcessEnded`] when there is nobody to get it; `InvalidInput` for a number that names no signal; else the system's.
    pub(super) fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        let number = kind.as_raw_value();
        let signal = Signal::from_named_raw(number).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("signal {number} has no name, and cannot be sent to a process"),
            )
        })?;
        let mut state = self.state.lock();
        self.reap(&mut state);
        match *state {
            State::Running => self.end.send(self.pid, signal),
            State::Ended(_) | State::Lost => Err(ProcessEnded { id: self.id() }.into()),
        }
    }

    /// Kills the process, if it has not ended.
    pub(super) fn kill(&self) -> io::Result<()> {
        match self.send_signal(SignalKind::from_raw(libc::SIGKILL)) {
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<ProcessEnded>()) => Ok(()),
            answer => answer,
        }
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // A process that may not be signalled any more (it changed its user) runs on.
            let _ = self.kill();
        }
        let mut state = self.state.lock();
        self.reap(&mut state);
        if let State::Running = *state {
            orphans::adopt(self.pid);
        }
    }
}

#[cfg(test)]
mod tests;
