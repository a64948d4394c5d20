//! [`TlsSession`]: rustls as a [`Session`] of a transport. Called by whoever holds it: the task, or a writer under the link's mutex.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use super::rustls::pki_types::CertificateDer;
use super::rustls::{self, CipherSuite, CommonState, ProtocolVersion};
use crate::protocols::link::Session;

/// What TLS has agreed on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// How the bytes are encrypted.
    pub cipher_suite: CipherSuite,
    /// What is spoken inside, if both sides said so (ALPN).
    pub alpn_protocol: Option<Vec<u8>>,
    /// The peer's certificates, its own first; none if it showed none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    /// Of a session that has done its handshake.
    pub(super) fn new(session: &CommonState) -> TlsInfo {
        TlsInfo {
            version: session.protocol_version().unwrap_or(ProtocolVersion::Unknown(0)),
            cipher_suite: session.negotiated_cipher_suite().map_or(CipherSuite::Unknown(0), |suite| suite.suite()),
            alpn_protocol: session.alpn_protocol().map(Vec::from),
            peer_certificates: session.peer_certificates().unwrap_or_default().to_vec(),
        }
    }
}

/// rustls, and what it said of the peer.
pub(super) struct TlsSession {
    tls: rustls::Connection,
    /// The peer said that it sends no more.
    is_peer_done: bool,
}

impl TlsSession {
    pub(super) fn new(mut tls: rustls::Connection) -> TlsSession {
        // The link keeps the bytes, and the marks.
        tls.set_buffer_limit(None);
        TlsSession { tls, is_peer_done: false }
    }
}

impl Session for TlsSession {
    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn seal(&mut self, plain: &[u8], wire: &mut VecDeque<u8>) -> io::Result<()> {
        self.tls.writer().write_all(plain)?;
        self.speak(wire)
    }

    fn speak(&mut self, wire: &mut VecDeque<u8>) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(wire)?;
        }
        Ok(())
    }

    fn open(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        // After the peer's farewell nothing counts.
        while !wire.is_empty() && !self.is_peer_done {
            self.tls.read_tls(&mut wire)?;
            let state =
                self.tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let len = plain.len();
            plain.resize(len + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut plain[len..])?;
            self.is_peer_done = state.peer_has_closed();
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let (kind, text) = if self.tls.is_handshaking() {
            (io::ErrorKind::ConnectionReset, "the peer closed the connection during the TLS handshake")
        } else {
            (io::ErrorKind::UnexpectedEof, "the connection ended without TLS's close_notify: it may have been cut off")
        };
        Err(io::Error::new(kind, text))
    }

    fn is_peer_done(&self) -> bool {
        self.is_peer_done
    }

    fn finish(&mut self, wire: &mut VecDeque<u8>) -> io::Result<()> {
        self.tls.send_close_notify();
        self.speak(wire)
    }

    fn info(&self) -> TlsInfo {
        TlsInfo::new(&self.tls)
    }
}
