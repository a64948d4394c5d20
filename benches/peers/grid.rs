//! Rows of cells as aligned text for the terminal, and as Markdown for a file. The first two columns are names, the others figures.

use std::fmt::Write as _;

pub(crate) struct Grid {
    pub(crate) header: &'static [&'static str],
    /// `None` is an empty line.
    pub(crate) rows: Vec<Option<Vec<String>>>,
}

impl Grid {
    /// Columns of equal width.
    pub(crate) fn text(&self) -> String {
        let rows = || self.rows.iter().flatten();
        let width = |column: usize| {
            let cells = rows().map(|row| row[column].chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (column, cell) in cells.enumerate() {
                let width = widths[column];
                // Names to the left, figures to the right.
                let _ = if column < 2 { write!(text, "{cell:width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(&mut self.header.iter().copied());
        for row in &self.rows {
            match row {
                Some(row) => line(&mut row.iter().map(String::as_str)),
                None => line(&mut std::iter::empty()),
            }
        }
        out
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("| {} |\n|---|---|{}\n", self.header.join(" | "), "---:|".repeat(self.header.len() - 2));
        for row in self.rows.iter().flatten() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        out
    }
}
