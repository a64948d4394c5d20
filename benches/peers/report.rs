//! What a program says when it has measured: a table for the terminal and, where it was asked for, the same as Markdown, and a picture.

use std::io;
use std::process::ExitCode;

use super::grid::Grid;
use super::machine;
use super::options::Options;

pub(crate) struct Report<'a> {
    /// From [`machine::describe`].
    pub(crate) machine: &'a str,
    pub(crate) table: Grid,
    /// Stands below the table.
    pub(crate) caption: &'a str,
    /// What could not be verified, one line each.
    pub(crate) failures: Vec<String>,
}

impl Report<'_> {
    /// Prints and writes it. The exit status is 1 where something could not be verified.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn finish(self, options: &Options, picture: impl FnOnce() -> String) -> io::Result<ExitCode> {
        let Report { machine, table, caption, failures } = self;
        let load = machine::load_average();
        println!("{}\n{caption} Load average at the end: {load}", table.text());
        if let Some(path) = &options.markdown {
            let below = format!("{caption}\n\n```\n{machine}\nload average at the end: {load}\n```");
            std::fs::write(path, format!("{}\n{below}\n", table.markdown()))?;
        }
        if let Some(path) = &options.svg {
            std::fs::write(path, picture())?;
        }
        failures.iter().for_each(|failure| eprintln!("not verified: {failure}"));
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
