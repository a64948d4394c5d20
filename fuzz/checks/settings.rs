//! What environment variables may say, against models that go through the text byte by byte.

use std::time::Duration;

use super::{parse_threshold, parse_workers};

/// A decimal number of 64 bits, with a plus sign or without; else nothing.
fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u128;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + u128::from(byte - b'0')).min(u128::from(u64::MAX) + 1);
    }
    u64::try_from(value).ok()
}

/// `off`, or a number with a unit behind it, or with none for milliseconds; blanks are nothing at the ends and before the unit.
fn threshold(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "off" {
        return Some(Duration::MAX);
    }
    let (unit, ms) = [("ms", 1_u128), ("s", 1_000), ("", 1)].into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let ms = u128::from(number(text[..text.len() - unit.len()].trim())?) * ms;
    let secs = u64::try_from(ms / 1_000).ok()?;
    Some(Duration::new(secs, (ms % 1_000) as u32 * 1_000_000))
}

/// The tape is the text, or a number whose own text has to come back.
pub(crate) fn check(tape: &[u8]) {
    let text = String::from_utf8_lossy(tape);
    assert_eq!(parse_threshold(&text), threshold(&text), "{text:?}");
    assert_eq!(parse_workers(&text), number(text.trim()).and_then(|number| number.try_into().ok()), "{text:?}");

    let mut bytes = [0; 8];
    let len = tape.len().min(8);
    bytes[..len].copy_from_slice(&tape[..len]);
    let count = u64::from_le_bytes(bytes);
    assert_eq!(parse_threshold(&format!("{count}ms")), Some(Duration::from_millis(count)));
    assert_eq!(parse_threshold(&format!(" {count} s\n")), Some(Duration::from_secs(count)));
    assert_eq!(parse_threshold(&count.to_string()), Some(Duration::from_millis(count)));
}

#[cfg(test)]
#[test]
fn settings_as_text_are_what_the_model_reads() {
    let known: &[&[u8]] = &[
        b"",
        b" ",
        b"off",
        b" off\n",
        b"Off",
        b"offs",
        b"0",
        b"1",
        b"250ms",
        b"250 ms",
        b"2s",
        b"2 s",
        b"s",
        b"ms",
        b"mss",
        b"1sms",
        b"1msms",
        b"1mss",
        b"+5",
        b"++5",
        b"-5",
        b"-0",
        b"1.5s",
        b"1e3",
        b"0x10",
        b"18446744073709551615",
        b"18446744073709551615s",
        b"18446744073709551616",
        b"00000000000000000000000000000000001ms",
        b"\xc2\xa05ms\xe3\x80\x80",
        b"\xd9\xa1ms",
        b"5\0",
        b"\xff",
    ];
    crate::fuzzing::drive("settings", known, check);
}
