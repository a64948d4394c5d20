//! A server whose process has no descriptor left. Alone in its file, for the limit is the process's.

use std::fs::File;
use std::sync::mpsc;

use eddies::streams::{StreamReader, StreamWriter, start_server};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[test]
fn a_server_out_of_descriptors_says_so_once_and_serves_when_there_are_some_again() {
    let (tell, hear) = mpsc::channel();
    let runtime = eddies::Runtime::builder()
        .workers(2)
        .exception_handler(move |exception| drop(tell.send(exception.to_string())))
        .build()
        .unwrap();
    let server = runtime
        .block_on(start_server("127.0.0.1:0", async |mut reader: StreamReader, mut writer: StreamWriter| {
            let line = reader.readline().await?;
            writer.write_all(&line).await?;
            std::io::Result::Ok(())
        }))
        .unwrap();
    let address = server.local_addrs()[0];
    let ask = move || {
        use std::io::{Read, Write};
        let mut client = std::net::TcpStream::connect(address)?;
        client.write_all(b"hello\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    // One that goes well, so that all that the runtime opens by and by is there.
    assert_eq!(ask().unwrap(), "hello\n");

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 256, hard).unwrap();
    let mut taken: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    // One for the client, and none for the server.
    taken.pop();
    let client = std::thread::spawn(ask);
    let heard = hear.recv().unwrap();
    assert!(heard.contains("accepting a connection") && heard.contains("os error 24"), "{heard}");
    drop(taken);
    assert_eq!(client.join().unwrap().unwrap(), "hello\n");
    assert_eq!(hear.try_recv().ok(), None, "it is told once");
}
