//! The command line.

use std::path::PathBuf;

/// Printed for `--help` and after a mistake.
pub(crate) const USAGE: &str = "\
cargo bench --bench peers -- [OPTIONS] [WORKLOAD...]

Runs the workloads whose names contain one of the given words (all without a word) on every peer, interleaved.

  --quick           fewer and shorter rounds: about a minute in all
  --rounds N        rounds that count (default 11, quick 9; one more before them is thrown away)
  --workers N       workers of every runtime (default: the CPUs this process may use)
  --peers A,B       only these peers
  --markdown FILE   also write the table as Markdown
  --svg FILE        also draw the ratios to tokio
  --list            print the workloads and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

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
    /// # Errors
    ///
    /// What is wrong with the arguments, in words.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options, String> {
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
            options.rounds = if options.is_quick { 9 } else { 11 };
        }
        Ok(options)
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| format!("{text} is not a positive number"))
}
