//! The echo loop of the peers whose sockets speak `futures-io`.

use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// Echoes until the other side closes, and returns the number of bytes.
pub(crate) async fn echo<S, B>(mut stream: S, buffer: fn() -> B) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: AsMut<[u8]>,
{
    let mut buffer = buffer();
    let buffer = buffer.as_mut();
    let mut echoed = 0;
    loop {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Ok(echoed);
        }
        stream.write_all(&buffer[..read]).await?;
        echoed += read as u64;
    }
}
