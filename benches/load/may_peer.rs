//! may: coroutines with stacks, which any of its workers runs. Its code blocks as that of threads does, and has no futures, so it takes part in
//! the rows of the echo only, and not in the busy ones.
//!
//! Each worker has a poll of its own, and coroutines move to workers that have nothing to do. Its workers are pinned to CPUs, its default, and wake
//! every 10 ms also when nothing happens.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{FromRawFd, IntoRawFd};

use may::coroutine::{self, JoinHandle};
use may::net::{TcpListener, TcpStream};

use super::hog::{Mixed, Scale, Shift, measure};
use crate::peers::contest::Contestant;
use crate::peers::peer::ECHO_BUFFER;
use crate::peers::row::Outcome;

pub(crate) const NAME: &str = "may";

/// Starts the workers. They live until the process ends.
pub(crate) fn contestant(workers: usize) -> Contestant<Mixed> {
    may::config().set_workers(workers);
    Contestant::with(NAME, run)
}

#[allow(unsafe_code, reason = "the crate offers no other way, its macro apart, which hides it")]
fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: a coroutine must keep no reference to a thread-local over a point where it blocks, and must not outgrow its stack of 32 kB: what is
    // spawned here has no thread-locals, a buffer of 1 kB, and no recursion.
    unsafe { coroutine::spawn(body) }
}

#[allow(unsafe_code, reason = "the crate takes a listener of the standard library in no other way")]
fn adopt(listener: std::net::TcpListener) -> TcpListener {
    // SAFETY: the descriptor is open, and nobody else's from here on.
    unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) }
}

fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let mut buffer = [0; ECHO_BUFFER];
    let mut echoed = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => {
                stream.shutdown(Shutdown::Write)?;
                return Ok(echoed);
            }
            read => {
                stream.write_all(&buffer[..read])?;
                echoed += read as u64;
            }
        }
    }
}

fn serve_echo(listener: &TcpListener, connections: usize) -> io::Result<u64> {
    let mut coroutines = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        coroutines.push(spawn(move || echo(stream)));
    }
    let mut echoed = 0;
    for coroutine in coroutines {
        echoed += coroutine.join().expect("an echo does not panic")?;
    }
    Ok(echoed)
}

fn run(row: Mixed, scale: &Scale) -> Option<Outcome> {
    if row.is_http || row.crowd().is_some() {
        return None;
    }
    let (hogs, connections) = (row.hogs(scale.workers), scale.plan.connections);
    Some(measure(scale, false, |listener| {
        let listener = adopt(listener);
        let shift = Shift::begin(row);
        let hog = || {
            let shift = shift.clone();
            spawn(move || shift.work(coroutine::sleep))
        };
        let coroutines: Vec<_> = (0..hogs).map(|_| hog()).collect();
        let server = spawn(move || serve_echo(&listener, connections));
        let echoed = server.join().expect("a server does not panic");
        shift.end();
        let holds = coroutines.into_iter().map(|hog| hog.join().expect("a hog does not panic")).sum();
        Ok((echoed?, holds))
    }))
}
