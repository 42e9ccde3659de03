//! A body as lines, however long it is: never more than one line of it is kept, and a slow one ends it.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use bytes::BytesMut;
use futures::StreamExt;
use tokio::time::timeout;

/// A document may be written with escapes, and a string in a string with twice as many.
pub(super) const MAX_LINE: usize = 128 * 1024;
/// From the line before to the end of this one.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    /// There is no end of line before here.
    searched: usize,
    number: u64,
    /// The line was too long already: its rest is not kept.
    too_long: bool,
    patience: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Text(Bytes),
    TooLong,
    /// It did not arrive: nothing follows.
    Lost(&'static str),
}

impl Lines {
    pub(super) fn new(body: Body) -> Lines {
        let body = body.into_data_stream();
        Lines { body, buffer: BytesMut::new(), searched: 0, number: 0, too_long: false, patience: PATIENCE }
    }

    /// The next line that is not blank, and its number.
    pub(super) async fn next(&mut self) -> Option<(u64, Line)> {
        let line = timeout(self.patience, self.line()).await;
        let line = line.unwrap_or(Some(Line::Lost("the line did not arrive within 10 s")))?;
        Some((self.number, line))
    }

    async fn line(&mut self) -> Option<Line> {
        loop {
            while let Some(line) = self.buffered() {
                if !matches!(&line, Line::Text(text) if text.trim_ascii().is_empty()) {
                    return Some(line);
                }
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(_)) => return Some(Line::Lost("the body ended early")),
                // The last line may do without an end.
                None if self.buffer.is_empty() && !self.too_long => return None,
                None => self.buffer.extend_from_slice(b"\n"),
            }
        }
    }

    fn buffered(&mut self) -> Option<Line> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.too_long |= self.buffer.len() > MAX_LINE;
            if self.too_long {
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            return None;
        };
        let text = self.buffer.split_to(end + 1).freeze();
        self.searched = 0;
        self.number += 1;
        let too_long = std::mem::take(&mut self.too_long) || end > MAX_LINE;
        Some(if too_long { Line::TooLong } else { Line::Text(text.slice(..end)) })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn lines(chunks: &[&str]) -> Vec<(u64, Line)> {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>((*chunk).to_owned())).collect();
        let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    fn text(line: &str) -> Line {
        Line::Text(Bytes::copy_from_slice(line.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_found_wherever_the_chunks_are_cut() {
        let expect = [(1, text("a")), (3, text("bc\r")), (5, text("d"))];
        for chunks in
            [&["a\n\nbc\r\n \nd"][..], &["a", "\n\nb", "c\r", "\n \n", "d"], &["a\n\nbc\r\n", " \nd\n"]]
        {
            assert_eq!(lines(chunks).await, expect, "{chunks:?}");
        }
        assert_eq!(lines(&["", "\n"]).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_only_itself() {
        let long = "x".repeat(MAX_LINE);
        let expect = [(1, text("a")), (2, Line::TooLong), (3, text(&long)), (4, Line::TooLong)];
        assert_eq!(lines(&["a\n", &long, &long, "\n", &long, "\n", &long, "xx"]).await, expect);
        assert_eq!(lines(&[&format!("a\n{long}x\n{long}\n{long}x")]).await, expect);
    }

    #[tokio::test]
    async fn a_line_that_does_not_arrive_is_not_waited_for() {
        let body = stream::iter([Ok::<_, std::io::Error>("a\nb")]).chain(stream::pending());
        let mut lines = Lines::new(Body::from_stream(body));
        lines.patience = Duration::from_millis(1);
        assert_eq!(lines.next().await, Some((1, text("a"))));
        assert!(matches!(lines.next().await, Some((_, Line::Lost(_)))));
    }
}
