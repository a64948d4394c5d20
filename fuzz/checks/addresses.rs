//! Text that is to be an address, against a model that goes through it byte by byte.

use std::net::{IpAddr, SocketAddr};

use super::sealed::{Query, Resolve as _};
use crate::fuzzing::Tape;

/// What is known of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Known(SocketAddr),
    Name(String, u16),
    Refused,
}

/// A decimal number of 16 bits. As std reads one: a plus sign and leading zeroes are fine.
fn port(digits: &str) -> Option<u16> {
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() {
        return None;
    }
    digits
        .bytes()
        .try_fold(0_u32, |value, byte| {
            let value = value * 10 + u32::from(byte.checked_sub(b'0').filter(|&digit| digit < 10)?);
            (value <= u32::from(u16::MAX)).then_some(value)
        })?
        .try_into()
        .ok()
}

/// With brackets a version 6 address; without, a version 4 address or a name: `host:port`, cut at the last colon.
fn expected(text: &str) -> Expected {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Expected::Known(address);
    }
    let Some(colon) = (0..text.len()).rev().find(|&at| text.as_bytes()[at] == b':') else { return Expected::Refused };
    let (host, Some(port)) = (&text[..colon], port(&text[colon + 1..])) else { return Expected::Refused };
    match host.parse::<IpAddr>() {
        Ok(ip) => Expected::Known(SocketAddr::new(ip, port)),
        Err(_) => Expected::Name(host.to_owned(), port),
    }
}

fn got(answer: std::io::Result<Query>) -> Expected {
    match answer {
        Ok(Query::One(address)) => Expected::Known(address),
        Ok(Query::Name(host, port)) => Expected::Name(host, port),
        Ok(Query::List(list)) => panic!("text is no list: {list:?}"),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            Expected::Refused
        }
    }
}

/// The tape is the text, or an address whose own text has to come back.
pub(crate) fn check(tape: &[u8]) {
    let text = String::from_utf8_lossy(tape);
    assert_eq!(got(text.query()), expected(&text), "{text:?}");

    let mut tape = Tape::new(tape);
    let number = u16::from_be_bytes([tape.byte(), tape.byte()]);
    let mut octets = [0; 16];
    let bytes = tape.take(16);
    octets[..bytes.len()].copy_from_slice(bytes);
    let ip = if number.is_multiple_of(2) {
        IpAddr::from(octets)
    } else {
        IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
    };
    let address = SocketAddr::new(ip, number);
    assert_eq!(got(address.to_string().query()), Expected::Known(address));
    assert_eq!(got((ip.to_string().as_str(), number).query()), Expected::Known(address));
    assert_eq!(
        got((text.as_ref(), number).query()) == Expected::Name(text.to_string(), number),
        text.parse::<IpAddr>().is_err()
    );
}

#[cfg(test)]
#[test]
fn addresses_as_text_are_what_the_model_reads() {
    let known: &[&[u8]] = &[
        b"",
        b":",
        b"::",
        b"::1",
        b":80",
        b"host:",
        b"host",
        b"host:80",
        b"host:+80",
        b"host:-0",
        b"host:00080",
        b"host:65535",
        b"host:65536",
        b"host:99999999999999999999",
        b"host: 80",
        b"host:8 0",
        b"a:b:80",
        b"127.0.0.1:80",
        b"127.0.0.1:080",
        b"127.1:80",
        b"0127.0.0.1:80",
        b"256.0.0.1:80",
        b"[::1]:80",
        b"[::1%3]:80",
        b"[::1%lo]:80",
        b"::1:80",
        b"[::1]80",
        b"[::ffff:127.0.0.1]:+1",
        b"h\xc3\xb6st:1",
        b"\xff:1",
        b"host:1\n",
        b"host:\xd9\xa1",
        b"\0:0",
    ];
    crate::fuzzing::drive("addresses", known, check);
}
