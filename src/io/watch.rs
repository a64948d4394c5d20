//! [`add_reader`] and [`add_writer`]: a loop calls back while a descriptor is ready, as asyncio's does.
//!
//! What asyncio promises here is a level: the callback is called in every turn of the loop in which the descriptor is ready. Our reactor
//! reports edges. So before each call, and after it, `poll(2)` is asked without waiting: as long as it says "ready" the callback is called
//! once a turn; when it does not, the readiness is cleared against its tick and the task waits for the next edge. One system call for each call
//! of the callback, in return for a callback that need not read until "would block".
//!
//! The table is the thread's. An entry is a descriptor number of one loop with up to two callbacks ([`Standing`]), which share one
//! registration. What is registered is a *duplicate* of the descriptor:
//!
//! - F1: the registration's number is ours alone. Closing the watched descriptor without removing its callbacks, and opening another one that
//!   gets its number, can therefore never take that other one out of the kernel's set.
//!
//! The kernel would accept a duplicate of a descriptor that a socket of ours has registered; so the number itself is offered to the loops'
//! reactors first, and taken back at once if none knew it.
//!
//! Rejected: registering the number itself. It saves a descriptor, and takes unsafe code to poll it, and F1 becomes the caller's duty.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::DescriptorError;
use crate::error::LoopClosed;
use crate::event_loop::EventLoop;
use crate::loom::thread_local;
use crate::net::source::{Direction, IoSource};
use crate::reactor::Reactor;
use crate::scheduler::current;
use crate::standing::{Closed, Standing, loop_here};

/// A loop, and the number of a descriptor that is watched there.
type Key = (usize, RawFd);

thread_local! {
    /// What this thread's loops watch. No user code runs while it is borrowed.
    static WATCHED: RefCell<HashMap<Key, Watched>> = RefCell::new(HashMap::new());
}

/// A watched descriptor. Entries without callbacks are removed.
struct Watched {
    /// The duplicate, registered (F1). The callbacks' tasks have weak references, so removing the entry deregisters.
    source: Rc<IoSource<OwnedFd>>,
    reader: Option<Rc<Standing>>,
    writer: Option<Rc<Standing>>,
}

impl Watched {
    fn slot(&mut self, direction: Direction) -> &mut Option<Rc<Standing>> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

/// Calls `callback` on the loop of this thread for as long as `fd` is ready to be read, once a turn: asyncio's `loop.add_reader`.
///
/// Ready means: there are bytes, a connection to accept, the end of the stream, or an error; the callback may leave bytes unread and will be
/// called again. It runs on this thread, so it need not be `Send`. A panic in it goes to the exception handler, and it stays registered.
///
/// A second call for the same descriptor replaces the callback, and drops the first at once. A reader and a writer of one descriptor share a
/// registration. The callback ends with [`remove_reader`] or with its loop: the `close` of an [`EventLoop`], which has this function as a
/// method; in a [`Runtime`](crate::Runtime) the end of the `block_on` during which it was added. It does not end when the descriptor is closed, of which it holds a duplicate: remove it first.
///
/// In a runtime with several loops this is the loop on which the caller happens to run: call it, and [`remove_reader`], from local tasks,
/// callbacks or the main future.
///
/// # Errors
///
/// [`NoLoop`](DescriptorError::NoLoop) on a thread that runs no event loop, [`LoopClosed`](DescriptorError::LoopClosed) when the loop is closed,
/// [`AlreadyRegistered`](DescriptorError::AlreadyRegistered) for the descriptor of a socket or [`AsyncFd`](super::AsyncFd) that waits on this
/// runtime (a socket that has never had to wait is not known yet, and passes), [`NotPollable`](DescriptorError::NotPollable) for a regular
/// file; else the system's.
///
/// ```
/// use std::cell::RefCell;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::rc::Rc;
///
/// use eddies::io::{add_reader, remove_reader};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (ours, mut theirs) = UnixStream::pair()?;
///     let (done, wait) = eddies::sync::oneshot();
///     let mut done = Some(done);
///     let reader = ours.try_clone()?;
///     add_reader(&ours, move || {
///         let mut byte = [0];
///         (&reader).read_exact(&mut byte).unwrap();
///         if byte == *b"." && let Some(done) = done.take() {
///             done.send("all read").unwrap();
///         }
///     })?;
///     theirs.write_all(b"one byte a turn.")?;
///     assert_eq!(wait.await, Ok("all read"));
///     assert!(remove_reader(&ours));
///     assert!(!remove_reader(&ours), "there is none any more");
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn add_reader(fd: &(impl AsFd + ?Sized), callback: impl FnMut() + 'static) -> Result<(), DescriptorError> {
    add(fd.as_fd(), Direction::Read, Box::new(callback), "add_reader", Location::caller())
}

/// Calls `callback` on the loop of this thread for as long as `fd` is ready to be written, once a turn: asyncio's `loop.add_writer`.
///
/// Ready means: there is room, or nobody reads any more. A descriptor is mostly ready to be written, so remove the callback when there is nothing
/// left to write. All else is as for [`add_reader`].
///
/// # Errors
///
/// As [`add_reader`].
///
/// ```
/// use std::cell::Cell;
/// use std::os::unix::net::UnixStream;
/// use std::rc::Rc;
///
/// use eddies::io::{add_writer, remove_writer};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (ours, _theirs) = UnixStream::pair()?;
///     let calls = Rc::new(Cell::new(0));
///     let counted = Rc::clone(&calls);
///     add_writer(&ours, move || counted.set(counted.get() + 1))?;
///     while calls.get() < 3 {
///         eddies::yield_now().await;
///     }
///     assert!(remove_writer(&ours));
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn add_writer(fd: &(impl AsFd + ?Sized), callback: impl FnMut() + 'static) -> Result<(), DescriptorError> {
    add(fd.as_fd(), Direction::Write, Box::new(callback), "add_writer", Location::caller())
}

/// Removes the reader of `fd` (which may be a bare number) from the loop of this thread, and says whether there was one. It is not called any
/// more, even if it was about to be. `false` also on a thread without a loop, and when the loop is closed.
///
/// ```
/// use eddies::io::{add_reader, remove_reader};
/// use std::os::fd::AsRawFd;
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
///     add_reader(&ours, || println!("something to read"))?;
///     assert!(remove_reader(&ours.as_raw_fd()));
///     assert!(!remove_reader(&ours));
///     Ok(())
/// })
/// # }
/// ```
pub fn remove_reader(fd: &(impl AsRawFd + ?Sized)) -> bool {
    remove(fd.as_raw_fd(), Direction::Read)
}

/// Removes the writer of `fd`; see [`remove_reader`].
///
/// ```
/// use eddies::io::{add_writer, remove_writer};
///
/// # fn main() -> std::io::Result<()> {
/// eddies::run(async {
///     let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
///     add_writer(&ours, || println!("room to write"))?;
///     assert!(remove_writer(&ours));
///     assert!(!remove_writer(&ours));
///     Ok(())
/// })
/// # }
/// ```
pub fn remove_writer(fd: &(impl AsRawFd + ?Sized)) -> bool {
    remove(fd.as_raw_fd(), Direction::Write)
}

impl EventLoop {
    /// [`io::add_reader`](crate::io::add_reader) on this loop, whether it runs or not.
    ///
    /// # Errors
    ///
    /// As [`io::add_reader`](crate::io::add_reader).
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_reader(&ours, move || handle.stop())?;
    /// theirs.write_all(b"!")?;
    /// event_loop.run_forever()?;
    /// assert!(event_loop.remove_reader(&ours));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn add_reader(
        &self,
        fd: &(impl AsFd + ?Sized),
        callback: impl FnMut() + 'static,
    ) -> Result<(), DescriptorError> {
        let caller = Location::caller();
        self.inside("add_reader", || add(fd.as_fd(), Direction::Read, Box::new(callback), "add_reader", caller))?
    }

    /// [`io::add_writer`](crate::io::add_writer) on this loop, whether it runs or not.
    ///
    /// # Errors
    ///
    /// As [`io::add_writer`](crate::io::add_writer).
    #[track_caller]
    pub fn add_writer(
        &self,
        fd: &(impl AsFd + ?Sized),
        callback: impl FnMut() + 'static,
    ) -> Result<(), DescriptorError> {
        let caller = Location::caller();
        self.inside("add_writer", || add(fd.as_fd(), Direction::Write, Box::new(callback), "add_writer", caller))?
    }

    /// [`io::remove_reader`](crate::io::remove_reader) on this loop. `false` also when it is closed.
    pub fn remove_reader(&self, fd: &(impl AsRawFd + ?Sized)) -> bool {
        self.inside("remove_reader", || remove_reader(fd)).unwrap_or(false)
    }

    /// [`io::remove_writer`](crate::io::remove_writer) on this loop. `false` also when it is closed.
    pub fn remove_writer(&self, fd: &(impl AsRawFd + ?Sized)) -> bool {
        self.inside("remove_writer", || remove_writer(fd)).unwrap_or(false)
    }
}

fn add(
    fd: BorrowedFd<'_>,
    direction: Direction,
    callback: Box<dyn FnMut()>,
    operation: &'static str,
    caller: &'static Location<'static>,
) -> Result<(), DescriptorError> {
    let here = loop_here().ok_or(DescriptorError::NoLoop { operation })?;
    let key = (here, fd.as_raw_fd());
    forget_if_closed(key, fd)?;
    let shared = WATCHED.with_borrow(|all| all.get(&key).map(|watched| Rc::clone(&watched.source)));
    let source = match shared {
        Some(source) => source,
        None => Rc::new(register_duplicate(fd)?),
    };
    let wait = waiting(Rc::downgrade(&source), direction);
    let standing = Standing::start(callback, caller, wait, move |ended| forget(key, direction, ended))
        .map_err(|Closed| LoopClosed::new(operation))?;
    let replaced = WATCHED.with_borrow_mut(|all| {
        let watched = all.entry(key).or_insert(Watched { source, reader: None, writer: None });
        watched.slot(direction).replace(standing)
    });
    drop(replaced);
    Ok(())
}

/// What a callback's task waits with: ready with `true` when the descriptor is, with `false` when it is watched no longer.
fn waiting(
    source: Weak<IoSource<OwnedFd>>,
    direction: Direction,
) -> impl FnMut(&mut Context<'_>) -> Poll<bool> + 'static {
    move |cx| {
        let Some(source) = source.upgrade() else { return Poll::Ready(false) };
        let answer = ready!(source.poll_io(cx, direction, |fd| ready_now(fd, direction)));
        Poll::Ready(answer.is_ok())
    }
}

/// `Ok` when `fd` is ready at this moment, `WouldBlock` when it is not.
fn ready_now(fd: &OwnedFd, direction: Direction) -> io::Result<()> {
    let flags = match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    };
    // Errors and the hanging up of the other side are always reported.
    let ready = poll(&mut [PollFd::new(fd, flags)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if ready > 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// A duplicate of `fd` in the reactor of this loop; refused if somebody has `fd` itself in a reactor of this runtime.
fn register_duplicate(fd: BorrowedFd<'_>) -> Result<IoSource<OwnedFd>, DescriptorError> {
    let number = fd.as_raw_fd();
    let refused = |error| DescriptorError::of_registering(error, number);
    let runtime = current::runtime("watching a descriptor").map_err(DescriptorError::NoRuntime)?;
    for each in runtime.workers() {
        if each.reactor.sources() > 0 {
            drop(Reactor::register(&each.reactor, number).map_err(refused)?);
        }
    }
    let source = IoSource::new(fd.try_clone_to_owned().map_err(refused)?);
    source.register().map_err(refused)?;
    Ok(source)
}

/// If the descriptor of an entry was closed, and `fd` is another file that got its number, the entry is the closed one's: removes it.
fn forget_if_closed(key: Key, fd: BorrowedFd<'_>) -> Result<(), DescriptorError> {
    let identity = |fd: BorrowedFd<'_>| -> Result<_, DescriptorError> {
        let stat = rustix::fs::fstat(fd).map_err(|error| DescriptorError::of_registering(error.into(), key.1))?;
        Ok((stat.st_dev, stat.st_ino))
    };
    let watched = WATCHED.with_borrow(|all| all.get(&key).map(|watched| Rc::clone(&watched.source)));
    if let Some(watched) = watched
        && identity(watched.get_ref().as_fd())? != identity(fd)?
    {
        let stale = WATCHED.with_borrow_mut(|all| all.remove(&key));
        drop(stale);
    }
    Ok(())
}

fn remove(fd: RawFd, direction: Direction) -> bool {
    let Some(here) = loop_here() else { return false };
    take(&(here, fd), direction, |_| true)
}

/// A callback's task has ended by itself.
fn forget(key: Key, direction: Direction, ended: &Weak<Standing>) {
    take(&key, direction, |standing| std::ptr::eq(Rc::as_ptr(standing), ended.as_ptr()));
}

/// Takes a callback out of the table if `is_meant` says so, and with the last one the registration; says whether it did.
fn take(key: &Key, direction: Direction, is_meant: impl FnOnce(&Rc<Standing>) -> bool) -> bool {
    // The table is gone when the thread ends, and all its callbacks with it.
    let taken = WATCHED.try_with(|all| {
        let mut all = all.borrow_mut();
        let watched = all.get_mut(key)?;
        let standing = watched.slot(direction).take_if(|standing| is_meant(standing))?;
        let is_last = watched.reader.is_none() && watched.writer.is_none();
        let entry = if is_last { all.remove(key) } else { None };
        Some((standing, entry))
    });
    // The callback, which is the user's, is dropped here, after the borrow; the registration too.
    taken.ok().flatten().is_some()
}
