//! [`StreamReader`] over pieces.

use std::io;
use std::pin::pin;

use eddies::streams::{ReadError, StreamReader};
use futures_util::StreamExt;
use futures_util::io::{AsyncBufReadExt, AsyncReadExt};
use proptest::prelude::*;

use super::props::{Pieces, assert_waits};

fn limited(pieces: &[&str], limit: usize) -> StreamReader<Pieces> {
    StreamReader::with_limit(Pieces::of(pieces), limit)
}

#[track_caller]
fn overrun<T: std::fmt::Debug>(answer: Result<T, ReadError>) -> (usize, bool) {
    match answer {
        Err(ReadError::Overrun(overrun)) => (overrun.consumed(), overrun.is_found()),
        other => panic!("expected an overrun: {other:?}"),
    }
}

#[test]
fn trap_117_readline_over_the_limit_drops_the_line_or_everything() {
    eddies::run(async {
        // CPython's test_readline_limit: no end of the line in sight, so everything goes.
        let mut reader = limited(&["li", "ne1line2", "\nline3\n"], 3);
        overrun(reader.readline().await);
        assert_eq!(reader.buffered(), 0, "no separator was there, so everything was dropped");

        // test_readline_limit_with_existing_data: the line is there and too long, so it goes, and what follows stays.
        let mut reader = limited(&["line1\nli", "n2\n"], 4);
        assert_eq!(overrun(reader.readline().await), (5, true));
        assert_eq!(reader.readline().await.unwrap(), b"lin2\n");

        // As long as the limit is not too long.
        let mut reader = limited(&["abc\n"], 3);
        assert_eq!(reader.readline().await.unwrap(), b"abc\n");
    });
}

#[test]
fn trap_117_readuntil_over_the_limit_leaves_the_buffer() {
    eddies::run(async {
        let mut reader = limited(&["some dataAA"], 4);
        let (consumed, is_found) = overrun(reader.readuntil(&["AA"]).await);
        assert_eq!((consumed, is_found), (7, false), "at most twice the limit is there");
        assert_eq!(reader.buffered(), 8);
        assert_eq!(reader.readexactly(consumed).await.unwrap(), b"some da");
        assert_eq!(reader.readuntil(&["AA"]).await.unwrap(), b"taAA");

        let mut reader = limited(&["dataAA"], 3);
        assert_eq!(overrun(reader.readuntil(&["AA"]).await), (4, true));
        assert_eq!(reader.readexactly(4).await.unwrap(), b"data");
        assert_eq!(reader.readuntil(&["AA"]).await.unwrap(), b"AA");
    });
}

#[test]
fn trap_117_no_more_than_twice_the_limit_is_read_ahead() {
    eddies::run(async {
        let mut reader = StreamReader::with_limit(Pieces::of(&["x\n".repeat(100).as_str()]), 10);
        for _ in 0..100 {
            assert_eq!(reader.readline().await.unwrap(), b"x\n");
            assert!(reader.buffered() <= 20, "{}", reader.buffered());
        }
        assert_eq!(reader.readline().await.unwrap(), b"");
    });
}

#[test]
fn trap_118_readexactly_keeps_the_partial_bytes_in_its_error() {
    eddies::run(async {
        let mut reader = limited(&["abc", "", "de"], 2);
        let Err(ReadError::Incomplete(error)) = reader.readexactly(8).await else { panic!("five are there") };
        assert_eq!((error.partial(), error.expected()), (&b"abcde"[..], Some(8)));
        assert!(reader.at_eof());
        assert_eq!(reader.readexactly(0).await.unwrap(), b"");
        let error = io::Error::from(reader.readexactly(1).await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let mut reader = limited(&["abc"], 9);
        let Err(ReadError::Incomplete(error)) = reader.readuntil(&[";"]).await else { panic!("there is none") };
        assert_eq!((error.into_partial(), reader.buffered()), (b"abc".to_vec(), 0));
    });
}

#[test]
fn several_separators_the_first_to_end_wins() {
    eddies::run(async {
        let mut reader = limited(&["one\r", "\ntwo\nthree;", ";"], 100);
        for expected in ["one\r\n", "two\n", "three;"] {
            assert_eq!(reader.readuntil(&["\r\n", "\n", ";;;", ";"]).await.unwrap(), expected.as_bytes());
        }
        assert!(matches!(reader.readuntil::<&str>(&[]).await, Err(ReadError::NoSeparator)));
        assert!(matches!(reader.readuntil(&["x", ""]).await, Err(ReadError::NoSeparator)));
        assert_eq!(reader.read_all().await.unwrap(), b";");
    });
}

#[test]
fn what_a_dropped_read_had_gathered_is_there_for_the_next() {
    let mut reader = limited(&["ab", "", "c\nd", "", "ef", "", "g;", "", "hi", ""], 4);
    assert_waits(pin!(reader.readline()));
    assert_eq!(eddies::run(reader.readline()).unwrap(), b"abc\n");
    assert_waits(pin!(reader.readexactly(3)));
    assert_waits(pin!(reader.readuntil(&[";"])));
    assert_eq!(eddies::run(reader.readuntil(&[";"])).unwrap(), b"defg;");
    assert_waits(pin!(reader.read(5)));
    assert_waits(pin!(reader.read_all()));
    assert_eq!(eddies::run(reader.read_all()).unwrap(), b"hi");
}

#[test]
fn read_gives_what_is_there() {
    eddies::run(async {
        let mut reader = limited(&["abcdef", "gh"], 100);
        assert_eq!(reader.read(0).await.unwrap(), b"");
        assert_eq!(reader.read(4).await.unwrap(), b"abcd");
        assert_eq!(reader.read(4).await.unwrap(), b"ef");
        assert!(!reader.at_eof());
        assert_eq!(reader.read(usize::MAX).await.unwrap(), b"gh");
        assert_eq!(reader.read(1).await.unwrap(), b"");
        assert!(reader.at_eof());
    });
}

#[test]
fn lines_go_on_after_one_that_is_too_long() {
    eddies::run(async {
        let mut reader = limited(&["a\nlong line\nb\n", "c"], 9);
        let lines: Vec<_> = reader.line_stream().map(|line| line.ok()).collect().await;
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(lines, [text("a\n"), text("long line\n"), text("b\n"), text("c")]);
        let mut reader = limited(&["a\n", "long\n", "b\n"], 3);
        let lines: Vec<_> = reader.line_stream().map(|line| line.ok()).collect().await;
        assert_eq!(lines, [text("a\n"), None, text("b\n")]);
    });
}

#[test]
fn an_error_comes_after_what_was_read_before_it_and_stays() {
    struct Breaks(bool);
    impl eddies::io::AsyncRead for Breaks {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            assert!(!self.0, "it is not read again");
            if buf.len() < 100 {
                self.0 = true;
                return std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf[..3].copy_from_slice(b"abc");
            std::task::Poll::Ready(Ok(3))
        }
    }
    eddies::run(async {
        let mut reader = StreamReader::with_limit(Breaks(false), 51);
        assert!(matches!(reader.readline().await, Err(ReadError::Io(_))));
        assert_eq!(reader.readexactly(2).await.unwrap(), b"ab");
        assert_eq!(reader.read(9).await.unwrap(), b"c");
        for _ in 0..2 {
            assert_eq!(reader.read(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn the_traits_of_futures_io_see_what_is_buffered() {
    eddies::run(async {
        let mut reader = limited(&["one\ntwo\nthree"], 100);
        assert_eq!(reader.readline().await.unwrap(), b"one\n");
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        assert_eq!(line, "two\n");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "three");
        assert!(reader.at_eof());

        let mut reader = limited(&["abcdef"], 100);
        assert_eq!(reader.readexactly(2).await.unwrap(), b"ab");
        let (pieces, buffered) = reader.into_parts();
        assert_eq!(buffered, b"cdef");
        let mut reader = StreamReader::from_parts(pieces, buffered, 100);
        assert_eq!(reader.read_all().await.unwrap(), b"cdef");
    });
}

/// What `readuntil` promises, over the whole of the bytes: pieces, and how it ends.
fn naive(bytes: &[u8], separators: &[Vec<u8>], limit: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    loop {
        let found = (1..=rest.len()).find_map(|end| {
            let ending = separators.iter().filter(|separator| rest[..end].ends_with(separator));
            ending.map(Vec::len).min().map(|len| (end - len, end))
        });
        match found {
            Some((start, end)) if start <= limit => pieces.push(rest.split_off(..end).unwrap().to_vec()),
            Some(_) => return (pieces, true),
            None => {
                let longest = separators.iter().map(Vec::len).max().unwrap();
                return (pieces, (rest.len() + 1).saturating_sub(longest) > limit);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readuntil_is_the_naive_one_however_the_bytes_are_cut(
        bytes in proptest::collection::vec(0_u8..3, 0..60),
        separators in proptest::collection::vec(proptest::collection::vec(0_u8..3, 1..5), 1..4),
        lens in proptest::collection::vec(0_usize..6, 0..40),
        limit in 1_usize..30,
    ) {
        let (pieces, is_overrun) = naive(&bytes, &separators, limit);
        let mut reader = StreamReader::with_limit(Pieces::cut(&bytes, lens), limit);
        let mut read = Vec::new();
        let end = loop {
            match futures_util::FutureExt::now_or_never(reader.readuntil(&separators)) {
                // The pieces wake at once.
                None => {}
                Some(Ok(piece)) => read.push(piece),
                Some(Err(error)) => break error,
            }
            prop_assert!(reader.buffered() <= (2 * limit).max(limit + 4));
            if read.len() > pieces.len() { break ReadError::NoSeparator; }
        };
        prop_assert_eq!(&read, &pieces);
        prop_assert_eq!(matches!(end, ReadError::Overrun(_)), is_overrun);
        if let ReadError::Incomplete(last) = end {
            read.push(last.into_partial());
            prop_assert_eq!(read.concat(), bytes);
        }
    }
}
