//! [`sendfile`]: a file onto a connection, without passing through user memory where the system can do that.
//!
//! The caller's task goes through the file piece by piece. Each piece is moved by a job of the blocking pool, since reading a file may wait for a
//! disk: by the kernel (`sendfile`) on a plain socket, else read here and written through the link, encrypted there under TLS. While it
//! lasts the link takes no writes of others and reads nothing (K1 in `link.rs`).

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::task::Poll;

use super::Transport;
use super::wire::Wire;
use crate::loom::{Arc, Mutex};

/// What one job moves at most.
const PIECE: u64 = 1 << 20;
/// What one job reads at most.
const READ_PIECE: u64 = 256 * 1024;

/// Sends `count` bytes of `file`, or all that is left, from `offset` on; the answer is how many were sent, less than `count` only at the file's
/// end.
///
/// It starts when what was written before is sent. Until it is done, [writes](Transport::write) are refused, and nothing is read. Afterwards
/// the file's position is behind the last byte that was sent, also when it failed or was dropped: it tells the progress.
///
/// # Errors
///
/// The system's, `BrokenPipe` or `ConnectionReset` when the peer goes away meanwhile; `ConnectionAborted` when the transport is closing, or is
/// closed meanwhile; a [`WriteError`](super::WriteError) where a write is one.
///
/// # Cancel safety
///
/// Dropping the future stops it behind some piece; the connection can be written to when that piece is done.
///
/// ```
/// use std::io::{Seek, Write};
/// use eddies::protocols::{Protocol, connect_accepted_socket, sendfile};
/// use futures_util::io::AsyncReadExt;
///
/// struct Quiet;
/// impl Protocol for Quiet {}
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("eddies-sendfile-{}", std::process::id()));
/// # let mut file = std::fs::File::create_new(&path)?;
/// # file.write_all(b"from a file")?;
/// let mut file = std::fs::File::open(&path)?;
/// # std::fs::remove_file(&path)?;
/// eddies::run(async {
///     let (here, mut there) = eddies::net::UnixStream::pair()?;
///     let transport = connect_accepted_socket(|| Quiet, here).await?;
///     assert_eq!(sendfile(&transport, &file, 5, None).await?, 6);
///     transport.close();
///     let mut all = String::new();
///     there.read_to_string(&mut all).await?;
///     assert_eq!(all, "a file");
///     assert_eq!(file.stream_position()?, 11);
///     Ok(())
/// })
/// # }
/// ```
pub async fn sendfile(transport: &Transport, file: &File, offset: u64, count: Option<u64>) -> io::Result<u64> {
    // The same open file, and so the same position.
    let file = file.try_clone()?;
    let closing = || io::Error::new(io::ErrorKind::ConnectionAborted, "sendfile: the transport is closing or closed");
    let wire = transport.link().begin_sendfile()?.ok_or_else(closing)?;
    let transfer = Arc::new(Transfer { transport: transport.clone(), wire, file, offset, sent: Mutex::new(0) });
    poll_fn(|cx| transport.link().poll_drained(cx, Some(0))).await?;
    let is_native = transport.link().is_plain() && transfer.wire.is_socket();
    if !is_native || !send_by_kernel(&transfer, count).await? {
        send_by_reads(&transfer, count).await?;
    }
    Ok(transfer.sent())
}

/// What the caller's task and the jobs share. Whoever is the last sets the file's position, and lets others write again.
struct Transfer {
    transport: Transport,
    wire: Arc<Wire>,
    file: File,
    /// Where it began.
    offset: u64,
    /// Sent so far. Written by one job at a time, or by the task between them.
    sent: Mutex<u64>,
}

impl Transfer {
    fn sent(&self) -> u64 {
        *self.sent.lock()
    }

    /// How much of `count` the next piece is.
    fn next(&self, count: Option<u64>, piece: u64) -> u64 {
        count.map_or(piece, |count| piece.min(count - self.sent()))
    }

    /// One piece, by the kernel. Not on a worker: the file may have to be read.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_piece(&self, len: u64) -> io::Result<usize> {
        let mut from = self.offset + self.sent();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let sent =
            self.wire.try_write_with(|socket| Ok(rustix::fs::sendfile(socket, &self.file, Some(&mut from), len)?))?;
        *self.sent.lock() += sent as u64;
        Ok(sent)
    }

    /// Other systems' calls differ; the reads serve them all.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_piece(&self, _len: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next bytes of the file; none at its end.
    fn read_piece(&self, len: u64) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = self.file.read_at(&mut piece, self.offset + self.sent())?;
        piece.truncate(read);
        Ok(piece)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let sent = self.sent();
        if sent > 0 {
            // A file that has no position needs none.
            let _ = self.file.seek(SeekFrom::Start(self.offset + sent));
        }
        self.transport.link().end_sendfile();
    }
}

/// Runs a part of the transfer on the blocking pool.
async fn on_pool<R: Send + 'static>(
    transfer: &Arc<Transfer>,
    job: impl FnOnce(&Transfer) -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let transfer = transfer.clone();
    // The clone is dropped with the job, before the answer is here.
    crate::spawn_blocking(move || job(&transfer)).await.unwrap_or_else(|error| Err(io::Error::other(error.to_string())))
}

/// Whether it could: else nothing was sent, since the kernel does not know how for this file.
async fn send_by_kernel(transfer: &Arc<Transfer>, count: Option<u64>) -> io::Result<bool> {
    loop {
        let len = transfer.next(count, PIECE);
        if len == 0 {
            return Ok(true);
        }
        match on_pool(transfer, move |transfer| transfer.send_piece(len)).await {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => writable(transfer).await?,
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported if transfer.sent() == 0 => return Ok(false),
                _ => return Err(error),
            },
        }
        still_open(transfer).await?;
    }
}

async fn send_by_reads(transfer: &Arc<Transfer>, count: Option<u64>) -> io::Result<()> {
    let link = transfer.transport.link();
    loop {
        let len = transfer.next(count, READ_PIECE);
        if len == 0 {
            return Ok(());
        }
        let piece = on_pool(transfer, move |transfer| transfer.read_piece(len)).await?;
        if piece.is_empty() {
            return Ok(());
        }
        link.write_of_sendfile(&piece);
        poll_fn(|cx| link.poll_drained(cx, Some(0))).await?;
        *transfer.sent.lock() += piece.len() as u64;
    }
}

/// Waits for room on the wire, or for the end of the connection.
async fn writable(transfer: &Transfer) -> io::Result<()> {
    let mut writable = pin!(transfer.wire.writable());
    poll_fn(|cx| match transfer.transport.link().poll_drained(cx, None) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => writable.as_mut().poll(cx),
    })
    .await
}

/// An error if the connection is to end.
async fn still_open(transfer: &Transfer) -> io::Result<()> {
    poll_fn(|cx| match transfer.transport.link().poll_drained(cx, None) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await
}
