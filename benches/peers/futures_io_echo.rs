//! The echo loop of the peers whose sockets speak `futures-io`.

use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::peer::ECHO_BUFFER;

/// Echoes until the other side closes, and returns the number of bytes.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<u64> {
    let mut buffer = [0; ECHO_BUFFER];
    let mut echoed = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(echoed);
        }
        stream.write_all(&buffer[..read]).await?;
        echoed += read as u64;
    }
}
