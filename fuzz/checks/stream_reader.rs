//! The reader of streams under every sequence of calls, pieces, waits and given up futures, against a model that holds the whole stream.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_core::Stream as _;

use super::StreamReader;
use crate::fuzzing::Tape;
use crate::io::{AsyncBufRead, AsyncRead};
use crate::streams::stream_errors::ReadError;

/// Gives its pieces, one with each read, an empty one being a wait; then the end, or an error.
struct Pieces {
    list: VecDeque<Vec<u8>>,
    left: usize,
    ends_in_error: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!buf.is_empty(), "a read without room looks like the end");
        let Some(mut piece) = self.list.pop_front() else {
            return Poll::Ready(if self.ends_in_error { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(0) });
        };
        if piece.is_empty() {
            return Poll::Pending;
        }
        let len = piece.len().min(buf.len());
        buf[..len].copy_from_slice(&piece[..len]);
        piece.drain(..len);
        if !piece.is_empty() {
            self.list.push_front(piece);
        }
        self.left -= len;
        Poll::Ready(Ok(len))
    }
}

/// The stream as a whole, and how much of it was answered with.
struct Model {
    bytes: Vec<u8>,
    at: usize,
    limit: usize,
    ends_in_error: bool,
}

impl Model {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The separator that ends first, and of two that end together the shorter: its first byte, and the one after its last.
    fn separator(&self, separators: &[Vec<u8>]) -> Option<(usize, usize)> {
        (1..=self.rest().len()).find_map(|end| {
            let lens = separators.iter().filter(|separator| self.rest()[..end].ends_with(separator)).map(Vec::len);
            lens.min().map(|len| (end - len, end))
        })
    }

    #[track_caller]
    fn takes(&mut self, answer: &[u8]) {
        assert!(self.rest().starts_with(answer), "{answer:?} is not what comes next");
        self.at += answer.len();
    }

    /// The stream's end was met with `partial` before it, `None`: with an error.
    #[track_caller]
    fn ends(&mut self, partial: Option<&[u8]>) {
        assert_eq!(partial.is_none(), self.ends_in_error, "an error is no end, and an end no error");
        if let Some(partial) = partial {
            assert_eq!(partial, self.rest(), "what came before the end");
            self.at = self.bytes.len();
        }
    }

    /// An answer of `readuntil`, or of `readline` if `is_line`. True: too long, and of a line an unknown part is gone.
    #[track_caller]
    fn until(&mut self, separators: &[Vec<u8>], is_line: bool, answer: Result<Vec<u8>, ReadError>) -> bool {
        let found = self.separator(separators);
        let longest = separators.iter().map(Vec::len).max().unwrap();
        // No separator begins in so many bytes.
        let free = (self.rest().len() + 1).saturating_sub(longest);
        match (found, answer) {
            (Some((start, end)), Ok(bytes)) => {
                assert!(start <= self.limit && bytes.len() == end);
                self.takes(&bytes);
            }
            (found, Err(ReadError::Overrun(overrun))) => {
                let first = found.map_or(free, |(start, _)| start);
                assert!(overrun.consumed() > self.limit && overrun.consumed() <= first, "{overrun:?}, {found:?}");
                return true;
            }
            (None, Ok(bytes)) => {
                assert!(is_line && free <= self.limit, "it ends without a separator");
                self.ends(Some(&bytes));
            }
            (None, Err(ReadError::Incomplete(error))) => {
                assert!(!is_line && free <= self.limit);
                self.ends(Some(error.partial()));
            }
            (None, Err(ReadError::Io(_))) => {
                assert!(free <= self.limit);
                self.ends(None);
            }
            (found, answer) => panic!("{answer:?} where {found:?} is next"),
        }
        false
    }
}

/// Polls `future` until it is ready; `None` when it is given up after one of its waits.
fn finish<T>(future: impl Future<Output = T>, tape: &mut Tape<'_>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(answer);
        }
        if tape.byte() % 4 == 1 {
            return None;
        }
    }
}

/// Few letters, so that separators overlap and span pieces.
fn letters(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| b"ab\r\nab\n\xff"[usize::from(byte % 8)]).collect()
}

fn separators(tape: &mut Tape<'_>) -> Vec<Vec<u8>> {
    let count = 1 + tape.below(3);
    let mut separators = Vec::new();
    for _ in 0..count {
        let len = 1 + tape.below(4);
        let mut separator = letters(tape.take(len));
        separator.resize(len, b'a');
        separators.push(separator);
    }
    separators
}

fn stream(tape: &mut Tape<'_>) -> (Pieces, Model) {
    let limit = 1 + tape.below(12);
    let ends_in_error = tape.byte() % 4 == 1;
    let mut list = VecDeque::new();
    for _ in 0..tape.below(24) {
        let len = tape.below(10);
        list.push_back(letters(tape.take(len)));
    }
    let bytes: Vec<u8> = list.iter().flatten().copied().collect();
    (Pieces { list, left: bytes.len(), ends_in_error }, Model { bytes, at: 0, limit, ends_in_error })
}

/// A call that answers with the next bytes, some of them.
fn read(reader: &mut StreamReader<Pieces>, model: &mut Model, tape: &mut Tape<'_>) {
    let n = tape.below(20);
    match tape.below(3) {
        0 => match finish(reader.read(n), tape) {
            Some(Ok(bytes)) => {
                assert!(bytes.len() <= n && (!bytes.is_empty() || n == 0 || model.rest().is_empty()));
                assert!(!bytes.is_empty() || n == 0 || !model.ends_in_error);
                model.takes(&bytes);
            }
            Some(Err(_)) => assert!(model.ends_in_error && model.rest().is_empty()),
            None => {}
        },
        1 => {
            let mut buffer = vec![0; n];
            let call = std::future::poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut buffer));
            match finish(call, tape) {
                Some(Ok(len)) => {
                    assert!(len > 0 || n == 0 || model.rest().is_empty() && !model.ends_in_error);
                    model.takes(&buffer[..len]);
                }
                Some(Err(_)) => assert!(model.ends_in_error && model.rest().is_empty()),
                None => {}
            }
        }
        _ => {
            let call = std::future::poll_fn(|cx| Pin::new(&mut *reader).poll_fill_buf(cx).map_ok(<[u8]>::len));
            match finish(call, tape) {
                Some(Ok(len)) => {
                    assert!(len > 0 || model.rest().is_empty() && !model.ends_in_error);
                    let taken = reader.buffer()[..n.min(len)].to_vec();
                    Pin::new(reader).consume(taken.len());
                    model.takes(&taken);
                }
                Some(Err(_)) => assert!(model.ends_in_error && model.rest().is_empty()),
                None => {}
            }
        }
    }
}

/// A call that answers with an exact piece. How much it may have in the buffer for that.
fn piece(reader: &mut StreamReader<Pieces>, model: &mut Model, tape: &mut Tape<'_>) -> usize {
    let newline = [b"\n".to_vec()];
    let call = tape.below(8);
    match call {
        0 => {
            let n = tape.below(40);
            match finish(reader.readexactly(n), tape) {
                Some(Ok(bytes)) => {
                    assert_eq!(bytes.len(), n);
                    model.takes(&bytes);
                }
                Some(Err(ReadError::Incomplete(error))) => {
                    assert!(model.rest().len() < n);
                    model.ends(Some(error.partial()));
                }
                Some(Err(ReadError::Io(_))) => {
                    assert!(model.rest().len() < n);
                    model.ends(None);
                }
                Some(Err(error)) => panic!("{error:?}"),
                None => {}
            }
            return n;
        }
        1 if tape.byte() % 8 == 1 => {
            match finish(reader.read_all(), tape) {
                Some(Ok(bytes)) => model.ends(Some(&bytes)),
                Some(Err(_)) => model.ends(None),
                None => {}
            }
            return usize::MAX;
        }
        2 | 3 => {
            let separators = separators(tape);
            let longest = separators.iter().map(Vec::len).max().unwrap();
            if let Some(answer) = finish(reader.readuntil(&separators), tape) {
                // Too long: it is all there still.
                model.until(&separators, false, answer);
            }
            return model.limit + longest;
        }
        4 => {
            assert!(matches!(finish(reader.readuntil::<&[u8]>(&[]), tape), Some(Err(ReadError::NoSeparator))));
            assert!(matches!(finish(reader.readuntil(&["a", ""]), tape), Some(Err(ReadError::NoSeparator))));
        }
        _ => {
            let answer = if call == 5 {
                let mut lines = reader.line_stream();
                let next = finish(std::future::poll_fn(|cx| Pin::new(&mut lines).poll_next(cx)), tape);
                next.map(|line| line.unwrap_or(Ok(Vec::new())))
            } else {
                finish(reader.readline(), tape)
            };
            if answer.is_some_and(|answer| model.until(&newline, true, answer)) {
                let at = model.bytes.len() - reader.get_ref().left - reader.buffered();
                let gone = &model.bytes[model.at..at];
                assert!(gone.len() > model.limit, "a line that is too long is gone, or what is there of it");
                assert!(!gone[..gone.len() - 1].contains(&b'\n'), "a line after it is gone too");
                assert!(gone.ends_with(b"\n") || reader.buffered() == 0, "its end is left");
                model.at = at;
            }
        }
    }
    0
}

/// The tape begins with the stream; then come the calls.
pub(crate) fn check(tape: &[u8]) {
    let mut tape = Tape::new(tape);
    let (pieces, mut model) = stream(&mut tape);
    let mut reader = StreamReader::with_limit(pieces, model.limit);
    let mut most = 0;
    for _ in 0..200 {
        if tape.is_over() {
            break;
        }
        if tape.byte().is_multiple_of(2) {
            read(&mut reader, &mut model, &mut tape);
        } else {
            most = most.max(piece(&mut reader, &mut model, &mut tape));
        }
        let read = model.bytes.len() - reader.get_ref().left;
        assert_eq!(reader.buffered(), read - model.at, "nothing is lost, and nothing comes twice (E1)");
        assert!(reader.buffered() <= most.max(2 * model.limit), "it reads ahead (E2)");
        assert!(!reader.at_eof() || model.rest().is_empty() && !model.ends_in_error);
    }
    let (pieces, buffered) = reader.into_parts();
    let unread: Vec<u8> = buffered.into_iter().chain(pieces.list.into_iter().flatten()).collect();
    assert_eq!(unread, model.rest());
}

#[cfg(test)]
#[test]
fn every_sequence_of_calls_reads_what_the_model_reads() {
    let known: &[&[u8]] = &[
        // Lines, in pieces of three, with waits.
        b"\x05\x00\x08\x03\x00\x01\x03\x00\x03\x02\x04\x00\x03\x03\x00\x01\x06\x01\x06\x02\x01\x06\x02\x01\x06\x02",
        // A line that is longer than the limit, found and not found.
        b"\x01\x00\x06\x08\x00\x01\x00\x01\x00\x01\x00\x03\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01\x06\x01\x06\x01\x06",
        // Separators that overlap: "ab", "b\r".
        b"\x04\x00\x04\x05\x00\x01\x02\x03\x00\x05\x01\x02\x00\x01\x02\x01\x02\x01\x01\x00\x01\x01\x01\x02",
        // An error after a piece, met by each kind of call.
        b"\x08\x01\x01\x02\x00\x01\x01\x00\x14\x00\x00\x05\x00\x01\x05\x00\x02\x05\x01\x06\x01\x02\x00\x00\x00",
        b"",
        b"\x00",
    ];
    crate::fuzzing::drive("stream_reader", known, check);
}
