//! TLS under transports and streams, with certificates made here, on sockets of this machine. Only the timeouts under test wait by the clock.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Seek};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use eddies::net::{TcpListener, TcpStream, UnixStream};
use eddies::protocols::tls::{
    TlsConfig, TlsConfigError, TlsStream, connect_accepted_tls_socket, create_tls_connection, create_tls_server, rustls,
};
use eddies::protocols::{Transport, WriteBufferLimits, WriteError, connect_accepted_socket, sendfile};
use eddies::sync::Receiver;
use futures_util::future::try_join;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

#[path = "shared/probe.rs"]
mod probe;
use probe::Event::{self, Data, Eof, Lost, Made, Paused, Resumed};
use probe::{BIG, Probe, data, next, pattern, quiet, run, settle};

const ANY_PORT: &str = "127.0.0.1:0";
const MOMENT: Duration = Duration::from_millis(2);

/// The two sides of connections to `localhost`, with a certificate that signed itself.
static SIDES: LazyLock<(Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    (Arc::new(client), Arc::new(server))
});

fn client() -> TlsConfig {
    TlsConfig::client(SIDES.0.clone(), "localhost").expect("a name")
}

fn server() -> TlsConfig {
    TlsConfig::server(SIDES.1.clone())
}

/// A transport with a probe on the server's side, and a stream on the client's.
async fn secured(
    tls: &TlsConfig,
    hook: impl FnMut(&Transport, &Event) -> bool + Send + 'static,
) -> io::Result<(Transport, Receiver<Event>, TlsStream<UnixStream>)> {
    let (here, there) = UnixStream::pair()?;
    let (probe, mut heard) = Probe::new(hook);
    let transport = connect_accepted_tls_socket(|| probe, here, tls);
    let (transport, stream) = try_join(transport, TlsStream::handshake(there, &client())).await?;
    assert_eq!(heard.recv().await, Some(Made));
    Ok((transport, heard, stream))
}

/// The last of the events.
async fn last(heard: &mut Receiver<Event>) -> Option<Event> {
    let mut last = None;
    while let Some(event) = heard.recv().await {
        last = Some(event);
    }
    last
}

#[test]
fn a_protocol_is_served_over_tls() {
    run(async |exceptions| {
        let echo = || {
            Probe::new(|transport, event| {
                if let Data(data) = event {
                    transport.write(data).expect("it is open");
                }
                false
            })
            .0
        };
        let server = create_tls_server(echo, ANY_PORT, server()).await?;
        let address = server.local_addrs()[0];
        let (probe, mut heard) = Probe::new(quiet);
        let transport = create_tls_connection(|| probe, address, &client()).await?;
        let info = transport.tls_info().expect("the handshake is done");
        assert_eq!(info.version, rustls::ProtocolVersion::TLSv1_3);
        assert_eq!(info.peer_certificates.len(), 1);
        assert_eq!(transport.peer_addr(), Some(address));
        assert_eq!(
            transport.write_buffer_limits(),
            WriteBufferLimits { high: Some(512 * 1024), low: Some(128 * 1024) }
        );
        assert!(!transport.can_write_eof());
        assert_eq!(transport.write_eof(), Err(WriteError::NoHalfClose));

        assert_eq!(heard.recv().await, Some(Made));
        transport.write(&pattern(BIG))?;
        let mut bytes = Vec::new();
        while bytes.len() < BIG {
            match heard.recv().await {
                Some(Data(data)) => bytes.extend(data),
                event => assert!(matches!(event, Some(Paused | Resumed)), "{event:?}"),
            }
        }
        assert!(bytes == pattern(BIG));
        transport.close();
        assert_eq!(last(&mut heard).await, Some(Lost(None)), "both said farewell");
        server.close();
        server.wait_closed().await;
        assert!(exceptions.lock().unwrap().is_empty());
        Ok(())
    });
}

#[test]
fn a_certificate_for_another_name_is_not_accepted() {
    run(async |exceptions| {
        let server = create_tls_server(|| Probe::new(quiet).0, ANY_PORT, server()).await?;
        let other = TlsConfig::client(SIDES.0.clone(), "elsewhere")?;
        let (probe, mut heard) = Probe::new(quiet);
        let error = create_tls_connection(|| probe, server.local_addrs()[0], &other).await.expect_err("another name");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()), "{error:?}");
        assert_eq!(heard.recv().await, None, "the protocol was never called");
        server.close();
        server.wait_closed().await;
        assert!(exceptions.lock().unwrap().is_empty(), "a client's business");
        Ok(())
    });
}

#[test]
fn trap_123_a_timeout_of_zero_is_refused_and_a_silent_peer_is_given_up() {
    run(async |_| {
        let refused = client().handshake_timeout(Duration::ZERO).expect_err("zero");
        assert!(matches!(refused, TlsConfigError::ZeroTimeout { what: "handshake", .. }));
        assert_eq!(refused.to_string(), "the TLS handshake timeout must be more than zero");
        assert!(server().shutdown_timeout(Duration::ZERO).is_err());
        assert!(TlsConfig::client(SIDES.0.clone(), "no name").is_err());

        let hasty = client().handshake_timeout(MOMENT)?;
        let (here, _silent) = UnixStream::pair()?;
        let (probe, mut heard) = Probe::new(quiet);
        let error = connect_accepted_tls_socket(|| probe, here, &hasty).await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(heard.recv().await, None, "the protocol was never called");
        let (here, _silent) = UnixStream::pair()?;
        assert_eq!(TlsStream::handshake(here, &hasty).await.unwrap_err().kind(), ErrorKind::TimedOut);
        Ok(())
    });
}

#[test]
fn trap_123_the_end_of_the_stream_in_the_handshake_ends_the_wait() {
    run(async |_| {
        // An end, something that is no TLS, and a reset: bytes that nobody has read.
        for (says, kind) in [
            (&b""[..], ErrorKind::ConnectionReset),
            (
                b"220 hello
",
                ErrorKind::InvalidData,
            ),
        ] {
            let (here, there) = UnixStream::pair()?;
            there.try_write(says)?;
            there.shutdown(std::net::Shutdown::Write)?;
            let (probe, mut heard) = Probe::new(quiet);
            let error = connect_accepted_tls_socket(|| probe, here, &client()).await.expect_err("no handshake");
            assert_eq!(error.kind(), kind);
            assert_eq!(heard.recv().await, None);
        }
        let listener = TcpListener::bind(ANY_PORT).await?;
        let address = listener.local_addr()?;
        let (probe, mut heard) = Probe::new(quiet);
        let connecting = eddies::spawn(async move { create_tls_connection(|| probe, address, &client()).await });
        let (there, _) = listener.accept().await?;
        there.readable().await?;
        drop(there);
        let error = connecting.await.unwrap().expect_err("reset");
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset), "{error:?}");
        assert_eq!(heard.recv().await, None);
        Ok(())
    });
}

#[test]
fn trap_123_close_during_the_handshake_forces_the_end() {
    run(async |_| {
        let (here, mut silent) = UnixStream::pair()?;
        let (probe, mut heard) = Probe::new(quiet);
        let transport = connect_accepted_socket(|| probe, here).await?;
        let started = transport.start_tls(&client());
        settle().await;
        transport.write(b"never sent")?;
        transport.close();
        assert_eq!(started.await.expect_err("closed").kind(), ErrorKind::ConnectionAborted);
        assert_eq!((heard.recv().await, heard.recv().await, heard.recv().await), (Some(Made), Some(Lost(None)), None));
        let mut hello = Vec::new();
        silent.read_to_end(&mut hello).await?;
        assert_eq!(hello[0], 22, "a handshake record, and nothing after the hello");
        assert!(!hello.windows(10).any(|bytes| bytes == b"never sent"));
        Ok(())
    });
}

/// A conversation that goes on with TLS, as STARTTLS has it.
fn start_tls_at(says: &'static [u8], tls: TlsConfig) -> impl FnMut(&Transport, &Event) -> bool + Send + 'static {
    move |transport, event| {
        if *event == data(says) {
            if says == b"STARTTLS" {
                transport.write(b"OK").expect("it is open");
            }
            let (transport, started) = (transport.clone(), transport.start_tls(&tls));
            drop(eddies::spawn(async move {
                started.await.expect("a handshake");
                assert!(transport.tls_info().is_some());
                if says == b"OK" {
                    transport.write(b"secret").expect("it is open");
                }
            }));
        }
        false
    }
}

#[test]
fn trap_124_start_tls_takes_over_before_anything_more_is_read() {
    run(async |_| {
        let (here, there) = UnixStream::pair()?;
        let (server_probe, mut at_server) = Probe::new(start_tls_at(b"STARTTLS", server()));
        let (client_probe, mut at_client) = Probe::new(start_tls_at(b"OK", client()));
        let server = connect_accepted_socket(|| server_probe, here).await?;
        let client = connect_accepted_socket(|| client_probe, there).await?;
        client.write(b"STARTTLS")?;
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.extend(at_server.recv().await);
        }
        assert_eq!(heard, [Made, data(b"STARTTLS"), data(b"secret")], "no handshake reached the protocol");
        server.write(b"answer")?;
        assert_eq!((at_client.recv().await, at_client.recv().await), (Some(Made), Some(data(b"OK"))));
        assert_eq!(at_client.recv().await, Some(data(b"answer")));
        assert!(client.start_tls(&self::client()).await.unwrap_err().to_string().contains("encrypted already"));
        client.close();
        assert_eq!(last(&mut at_server).await, Some(Lost(None)));
        assert_eq!(last(&mut at_client).await, Some(Lost(None)));
        Ok(())
    });
}

#[test]
fn trap_124_start_tls_begins_with_the_call_and_keeps_the_order_of_writes() {
    run(async |_| {
        let (here, mut there) = UnixStream::pair()?;
        let (probe, mut heard) = Probe::new(quiet);
        let transport = connect_accepted_socket(|| probe, here).await?;
        assert_eq!(heard.recv().await, Some(Made));
        let plain = pattern(BIG);
        transport.write(&plain)?;
        assert!(transport.write_buffer_size() > 0, "some of it is buffered");
        let started = transport.start_tls(&server());
        transport.write(b"sealed")?;
        let peer = eddies::spawn(async move {
            let mut all = vec![0; BIG];
            there.read_exact(&mut all).await?;
            let mut there = TlsStream::handshake(there, &client()).await?;
            let mut sealed = [0; 6];
            there.read_exact(&mut sealed).await?;
            io::Result::Ok((all, sealed, there))
        });
        // The hello arrives while nobody looks at `started`.
        let (all, sealed, _there) = peer.await.unwrap()?;
        assert!(all == plain && &sealed == b"sealed");
        started.await?;
        assert!(heard.try_recv().is_ok_and(|event| event == Paused), "the first write was large");
        let mut bytes = Vec::new();
        assert_eq!(next(&mut heard, &mut bytes).await, Some(Resumed));
        assert!(bytes.is_empty(), "the handshake was not taken for plain text");
        Ok(())
    });
}

#[test]
fn trap_124_a_start_tls_that_is_dropped_ends_the_connection() {
    run(async |_| {
        let (here, mut silent) = UnixStream::pair()?;
        let (probe, mut heard) = Probe::new(quiet);
        let transport = connect_accepted_socket(|| probe, here).await?;
        drop(transport.start_tls(&client()));
        assert_eq!((heard.recv().await, heard.recv().await, heard.recv().await), (Some(Made), Some(Lost(None)), None));
        silent.read_to_end(&mut Vec::new()).await?;
        assert!(transport.is_closing());
        // A refusal, too, is dropped without harm.
        drop(transport.start_tls(&client()));
        Ok(())
    });
}

#[test]
fn trap_124_close_flushes_before_the_farewell() {
    run(async |_| {
        let (transport, mut heard, mut there) = secured(&server(), quiet).await?;
        transport.write(&pattern(BIG))?;
        transport.close();
        let mut all = Vec::new();
        // An end without a farewell would be an error.
        there.read_to_end(&mut all).await?;
        assert!(all == pattern(BIG));
        there.close().await?;
        assert_eq!(last(&mut heard).await, Some(Lost(None)));
        Ok(())
    });
}

#[test]
fn trap_124_what_comes_with_or_after_the_peers_farewell_is_delivered() {
    run(async |_| {
        let (transport, mut heard, mut there) = secured(&server(), |transport, event| {
            if *event == Eof {
                transport.write(&pattern(BIG)).expect("the other direction is open");
            }
            false
        })
        .await?;
        transport.pause_reading();
        there.write_all(&pattern(BIG / 16)).await?;
        there.close().await?;
        // All of it, farewell included, waits in the socket.
        transport.resume_reading();
        let mut bytes = Vec::new();
        assert_eq!(next(&mut heard, &mut bytes).await, Some(Eof));
        assert!(bytes == pattern(BIG / 16), "{} bytes", bytes.len());
        let mut all = Vec::new();
        there.read_to_end(&mut all).await?;
        assert!(all == pattern(BIG), "sent after the peer's farewell, and before ours");
        assert_eq!(last(&mut heard).await, Some(Lost(None)));
        Ok(())
    });
}

#[test]
fn an_end_without_a_farewell_is_an_error() {
    run(async |_| {
        let (_transport, mut heard, there) = secured(&server(), quiet).await?;
        there.get_ref().shutdown(std::net::Shutdown::Write)?;
        assert_eq!((heard.recv().await, heard.recv().await), (Some(Lost(Some(ErrorKind::UnexpectedEof))), None));
        Ok(())
    });
}

#[test]
fn a_peer_that_does_not_answer_the_farewell_is_given_up() {
    run(async |_| {
        let (transport, mut heard, _there) = secured(&server().shutdown_timeout(MOMENT)?, quiet).await?;
        transport.close();
        assert_eq!(heard.recv().await, Some(Lost(Some(ErrorKind::TimedOut))));
        Ok(())
    });
}

#[test]
fn a_panic_in_a_callback_ends_a_tls_connection_too() {
    run(async |exceptions| {
        let (_transport, mut heard, mut there) = secured(&server(), |_, event| {
            assert!(*event != data(b"x"), "on purpose");
            false
        })
        .await?;
        there.write_all(b"x").await?;
        there.flush().await?;
        assert_eq!(last(&mut heard).await, Some(Lost(Some(ErrorKind::Other))));
        assert_eq!(exceptions.lock().unwrap().len(), 1);
        Ok(())
    });
}

#[test]
fn streams_speak_tls_by_the_io_traits() {
    run(async |_| {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let address = listener.local_addr()?;
        let echo = eddies::spawn(async move {
            let mut stream = TlsStream::handshake(listener.accept().await?.0, &server()).await?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(&all).await?;
            stream.close().await
        });
        let mut stream = TlsStream::handshake(TcpStream::connect(address).await?, &client()).await?;
        assert_eq!(stream.get_ref().peer_addr()?, address);
        assert_eq!(stream.info().version, rustls::ProtocolVersion::TLSv1_3);
        stream.write_all(&pattern(BIG)).await?;
        stream.close().await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        assert!(all == pattern(BIG));
        echo.await.unwrap()
    });
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_speaks_http_over_tls() {
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;

    run(async |_| {
        let (here, there) = UnixStream::pair()?;
        let served = eddies::spawn(async move {
            let stream = TlsStream::handshake(here, &server()).await?;
            let hello = hyper::service::service_fn(async |_| {
                Ok::<_, Infallible>(hyper::Response::new(String::from_utf8(vec![b'x'; 100_000]).unwrap()))
            });
            hyper::server::conn::http1::Builder::new().serve_connection(stream, hello).await.map_err(io::Error::other)
        });
        let stream = TlsStream::handshake(there, &client()).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
        let connection = eddies::spawn(connection);
        let request = hyper::Request::builder().header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        assert_eq!(body.len(), 100_000);
        drop(sender);
        connection.await.unwrap().map_err(io::Error::other)?;
        // The client is gone, which the server's own farewell may meet as an error.
        let _ = served.await.unwrap();
        Ok(())
    });
}

#[test]
fn trap_127_sendfile_over_tls_falls_back_to_reads() {
    run(async |_| {
        let path = std::env::temp_dir().join(format!("eddies-sendfile-tls-{}", std::process::id()));
        std::fs::write(&path, pattern(BIG))?;
        let mut file = std::fs::File::open(&path)?;
        std::fs::remove_file(&path)?;
        let (transport, mut heard, mut there) = secured(&server(), quiet).await?;
        let reader = eddies::spawn(async move {
            let mut all = Vec::new();
            there.read_to_end(&mut all).await?;
            there.close().await.map(|()| all)
        });
        assert_eq!(sendfile(&transport, &file, 10, None).await?, BIG as u64 - 10);
        assert_eq!(file.stream_position()?, BIG as u64);
        transport.close();
        assert!(reader.await.unwrap()? == pattern(BIG)[10..]);
        assert_eq!(last(&mut heard).await, Some(Lost(None)));

        let (transport, _heard, mut there) = secured(&server(), quiet).await?;
        let reader = eddies::spawn(async move { there.read_exact(&mut [0; 4096]).await });
        let error = sendfile(&transport, &file, 0, None).await.expect_err("the peer has gone");
        reader.await.unwrap()?;
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "the connection is lost");
        Ok(())
    });
}
