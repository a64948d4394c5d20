//! asyncio's "TCP echo with streams", server and client in one: `cargo run --example streams_echo`.
//!
//! ```python
//! async def handle_echo(reader, writer):
//!     data = await reader.readline()
//!     addr = writer.get_extra_info('peername')
//!     print(f"Received {data.decode()!r}")
//!     writer.write(data)
//!     await writer.drain()
//!     writer.close()
//!     await writer.wait_closed()
//!
//! async def main():
//!     server = await asyncio.start_server(handle_echo, '127.0.0.1', 0)
//!     host, port = server.sockets[0].getsockname()
//!     reader, writer = await asyncio.open_connection(host, port)
//!     writer.write(b'Hello World!\n')
//!     await writer.drain()
//!     data = await reader.readline()
//!     print(f'Echoed {data.decode()!r}')
//!     writer.close()
//!     await writer.wait_closed()
//!     server.close()
//!     await server.wait_closed()
//!     print('Closed')
//!
//! asyncio.run(main())
//! ```
//!
//! It prints:
//!
//! ```text
//! Received "Hello World!\n"
//! Echoed "Hello World!\n"
//! Closed
//! ```

use std::io;

use eddies::streams::{StreamReader, StreamWriter, open_connection, start_server};

async fn handle_echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    let line = reader.readline().await?;
    println!("Received {:?}", String::from_utf8_lossy(&line));
    // asyncio's pair `writer.write(line)?; writer.drain().await?` works too; here the wait cannot be forgotten.
    writer.write_all(&line).await?;
    writer.close();
    writer.wait_closed().await
}

#[eddies::main]
async fn main() -> io::Result<()> {
    let server = start_server("127.0.0.1:0", handle_echo).await?;

    let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
    writer.write_all(b"Hello World!\n").await?;
    let line = reader.readline().await?;
    println!("Echoed {:?}", String::from_utf8_lossy(&line));
    writer.close();
    writer.wait_closed().await?;

    server.close();
    server.wait_closed().await;
    println!("Closed");
    Ok(())
}
