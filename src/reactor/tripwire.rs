//! A tripwire: how the monitor sleeps while loops run that it does not look at.
//!
//! A loop that wakes *arms* the tripwire with its reactor, and *disarms* it before it sleeps. What becomes ready in between has to wait for a poll to
//! end; the first of it trips the wire and ends the monitor's sleep. Where polls are short and events are few, the loop is asleep again
//! before the next event, nothing trips, and the monitor need not run on a timer: two calls of the kernel, less than a microsecond each, in place
//! of 50 us for an alarm.
//!
//! It rests on epoll being pollable itself, as a [`Vigil`](super::Vigil) does, of which it differs in two points: others arm it while one waits; and a reactor
//! is reported once for each time that it is armed.
//!
//! - **W1** What was ready before the loop armed counts: the kernel looks when a descriptor is armed. No order is needed between an event and the arming.
//! - **W2** A reactor that stays armed trips the wire once at most. What trips it is a hint, and costs a look.
//! - **W3** The monitor alone adds reactors, disarmed, and removes them. To add one the kernel goes through all of its sockets (130 ns each), which is no work
//!   for a loop that wakes. A reactor in the set is looked at by the kernel with each of its events, armed or not (0.1 us): the monitor removes them
//!   when it has not listened for long.
//!
//! Linux alone has what "armed" and "once" need in one call. Elsewhere, and where the system has no descriptors left, there is none, and the monitor rests
//! in place of it.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
pub(crate) use epoll::Tripwire;

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
pub(crate) use none::Tripwire;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod epoll {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
    use rustix::event::{EventfdFlags, Timespec, eventfd};

    use crate::reactor::Reactor;

    /// Of no use to who waits: a look shows what there is.
    const ANY: EventData = EventData::new_u64(0);

    /// One thread's wait for the first event on any of the reactors that are armed.
    pub(crate) struct Tripwire {
        epoll: OwnedFd,
        /// A counter that is never read: each write to it is an edge.
        wake: OwnedFd,
    }

    /// The kernel's set of the reactor's descriptors, if it was opened.
    fn registry(reactor: &Reactor) -> Option<BorrowedFd<'_>> {
        reactor.opened.get().map(|opened| opened.registry.as_fd())
    }

    impl Tripwire {
        /// # Errors
        ///
        /// The system has no descriptors left.
        pub(crate) fn new() -> io::Result<Tripwire> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &wake, ANY, EventFlags::IN | EventFlags::ET)?;
            Ok(Tripwire { epoll, wake })
        }

        /// The monitor only (W3): `reactor` can be armed from now on. Whether that is so: not without sockets, nor where the kernel has no room.
        pub(crate) fn add(&self, reactor: &Reactor) -> bool {
            let Some(registry) = registry(reactor) else { return false };
            epoll::add(&self.epoll, registry, ANY, EventFlags::empty()).is_ok()
        }

        /// The monitor only (W3): the end of [`add`](Tripwire::add).
        pub(crate) fn remove(&self, reactor: &Reactor) {
            if let Some(registry) = registry(reactor) {
                // It fails only where there is nothing to remove.
                let _ = epoll::delete(&self.epoll, registry);
            }
        }

        /// Any thread: what is ready on `reactor`, now or later, trips the wire, once. Whether it is armed: if it was added.
        pub(crate) fn arm(&self, reactor: &Reactor) -> bool {
            self.modify(reactor, EventFlags::IN | EventFlags::ET | EventFlags::ONESHOT)
        }

        /// Any thread: nothing of `reactor` trips the wire any more.
        pub(crate) fn disarm(&self, reactor: &Reactor) {
            self.modify(reactor, EventFlags::empty());
        }

        fn modify(&self, reactor: &Reactor, flags: EventFlags) -> bool {
            registry(reactor).is_some_and(|registry| epoll::modify(&self.epoll, registry, ANY, flags).is_ok())
        }

        /// Any thread: ends the wait that somebody is in, or else the next one.
        pub(crate) fn trip(&self) {
            // It fails when the counter is full, after as many calls as nobody makes.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }

        /// Waits until the wire is tripped, for at most `time`, which the kernel counts in milliseconds. Whether it was; a signal counts as well.
        ///
        /// # Errors
        ///
        /// What the kernel's wait reports.
        pub(crate) fn wait(&self, time: Duration) -> io::Result<bool> {
            let mut events = [Event { flags: EventFlags::empty(), data: ANY }; 8];
            let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
            match epoll::wait(&self.epoll, &mut events[..], Some(&time)) {
                Ok(count) => Ok(count > 0),
                Err(rustix::io::Errno::INTR) => Ok(true),
                Err(error) => Err(error.into()),
            }
        }
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
mod none {
    use std::io;
    use std::time::Duration;

    use crate::reactor::Reactor;

    /// There is none on this system.
    pub(crate) enum Tripwire {}

    impl Tripwire {
        pub(crate) fn new() -> io::Result<Tripwire> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn add(&self, _reactor: &Reactor) -> bool {
            match *self {}
        }

        pub(crate) fn remove(&self, _reactor: &Reactor) {
            match *self {}
        }

        pub(crate) fn arm(&self, _reactor: &Reactor) -> bool {
            match *self {}
        }

        pub(crate) fn disarm(&self, _reactor: &Reactor) {
            match *self {}
        }

        pub(crate) fn trip(&self) {
            match *self {}
        }

        pub(crate) fn wait(&self, _time: Duration) -> io::Result<bool> {
            match *self {}
        }
    }
}
