//! The command line.

use std::io;
use std::path::PathBuf;

use super::row::Row;

/// What was asked for.
pub(crate) struct Options {
    pub(crate) is_quick: bool,
    pub(crate) is_list: bool,
    pub(crate) is_help: bool,
    pub(crate) rounds: usize,
    pub(crate) workers: usize,
    /// Empty: all.
    pub(crate) peers: Vec<String>,
    /// Empty: all.
    pub(crate) filters: Vec<String>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

impl Options {
    /// `quick` and `full` are the rounds where no number was given.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments, in words.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
        quick: usize,
        full: usize,
    ) -> Result<Options, String> {
        let mut options = Options {
            is_quick: false,
            is_list: false,
            is_help: false,
            rounds: 0,
            workers: num_cpus::get(),
            peers: Vec::new(),
            filters: Vec::new(),
            markdown: None,
            svg: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // cargo passes this one on.
                "--bench" => {}
                "--quick" => options.is_quick = true,
                "--list" => options.is_list = true,
                "--help" | "-h" => options.is_help = true,
                "--rounds" => options.rounds = positive(&value()?)?,
                "--workers" => options.workers = positive(&value()?)?,
                "--peers" => options.peers.extend(value()?.split(',').map(str::to_owned)),
                "--markdown" => options.markdown = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                unknown if unknown.starts_with('-') => return Err(format!("unknown option {unknown}")),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.is_quick { quick } else { full };
        }
        Ok(options)
    }

    /// Whether this peer, which is one of the default set, is to take part.
    pub(crate) fn wants(&self, peer: &str) -> bool {
        self.peers.is_empty()
            || self.wants_also("all")
            || self.peers.iter().any(|wanted| Some(wanted.as_str()) == peer.split(',').next())
    }

    /// Whether this peer, which runs only where it is asked for, is to take part; so does everybody where `all` are.
    pub(crate) fn wants_also(&self, peer: &str) -> bool {
        self.peers.iter().any(|wanted| wanted == peer || wanted == "all")
    }

    /// Those of `rows` whose names contain one of the words.
    ///
    /// # Errors
    ///
    /// No row has such a name.
    pub(crate) fn choose<R: Row>(&self, rows: &[R]) -> io::Result<Vec<R>> {
        let is_chosen = |name: &str| self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter));
        let chosen: Vec<R> = rows.iter().copied().filter(|row| is_chosen(row.describe().name)).collect();
        if chosen.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no workload has such a name: see --list"));
        }
        Ok(chosen)
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| format!("{text} is not a positive number"))
}
