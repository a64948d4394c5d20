//! A TCP echo server: `cargo run --example echo`, then `nc 127.0.0.1 7000`.

use eddies::net::{TcpListener, TcpStream};
use futures_util::io::copy;

/// Sends back what comes, until the client ends its side. `&TcpStream` reads and writes too, so one stream serves both ends of the copy.
async fn echo(stream: TcpStream) -> std::io::Result<()> {
    copy(&stream, &mut &stream).await?;
    Ok(())
}

#[eddies::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("echoing on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept().await?;
        // A dropped handle detaches its task: the connection lives as long as its client wants.
        drop(eddies::spawn(echo(stream)));
    }
}
