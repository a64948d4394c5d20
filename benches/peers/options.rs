//! The command line of a program of this package: what it takes, what its mistakes are, and the `main` that all of them share.
//!
//! A program takes the options that its usage lists, each at the beginning of a line, and no others.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// What was asked for.
pub(crate) struct Options {
    pub(crate) is_quick: bool,
    pub(crate) is_list: bool,
    pub(crate) is_help: bool,
    pub(crate) is_recording: bool,
    pub(crate) has_sites: bool,
    pub(crate) rounds: usize,
    /// Of every runtime; where it is to run with several numbers of them, the largest.
    pub(crate) workers: usize,
    /// The numbers.
    pub(crate) worker_counts: Vec<usize>,
    /// Empty: all.
    pub(crate) peers: Vec<String>,
    /// Empty: all.
    pub(crate) filters: Vec<String>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

impl Options {
    /// Whether this peer, which is one of the default set, is to take part.
    pub(crate) fn wants(&self, peer: &str) -> bool {
        self.peers.is_empty()
            || self.wants_also(ALL)
            || self.peers.iter().any(|wanted| Some(wanted.as_str()) == peer.split(',').next())
    }

    /// Whether this peer, which runs only where it is asked for, is to take part; so does everybody where `all` are.
    pub(crate) fn wants_also(&self, peer: &str) -> bool {
        self.peers.iter().any(|wanted| wanted == peer || wanted == ALL)
    }
}

/// In place of peers: all of them.
pub(crate) const ALL: &str = "all";

/// The first argument of a process that a program starts of itself, and its `main`, for the arguments behind that one.
pub(crate) type Process = (&'static str, fn(&[String]) -> io::Result<()>);

/// A program that measures rows of the type `R`.
pub(crate) struct Program<R> {
    /// Printed for `--help` and after a mistake.
    pub(crate) usage: &'static str,
    /// How many there are with `--quick`, and without, where no number was given.
    pub(crate) rounds: [usize; 2],
    /// Numbers of workers where none were given. Without any it takes one number, and that of the CPUs if none was given.
    pub(crate) workers: &'static [usize],
    /// The names that `--peers` takes.
    pub(crate) peers: &'static [&'static str],
    /// What there is to measure, with `--quick` or without.
    pub(crate) rows: fn(bool) -> Vec<R>,
    /// A row's name, and what it is.
    pub(crate) describe: fn(&R) -> (&'static str, &'static str),
    pub(crate) processes: &'static [Process],
    /// Measures the rows that were chosen. The exit status is its own.
    pub(crate) measure: fn(&Options, Vec<R>) -> io::Result<ExitCode>,
}

impl<R> Program<R> {
    /// The program's `main`. The exit status is 2 after a mistake in the arguments, and 1 after an error.
    pub(crate) fn run(&self) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let process =
            self.processes.iter().find(|(argument, _)| arguments.first().is_some_and(|first| first == argument));
        let result = match process {
            Some((_, main)) => main(&arguments[1..]).map(|()| ExitCode::SUCCESS),
            None => self.obey(arguments).unwrap_or_else(|mistake| {
                eprintln!("{mistake}\n\n{}", self.usage);
                Ok(ExitCode::from(2))
            }),
        };
        result.unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })
    }

    /// Does what the arguments say, unless they make no sense.
    fn obey(&self, arguments: Vec<String>) -> Result<io::Result<ExitCode>, String> {
        let options = self.parse(arguments)?;
        if options.is_help {
            println!("{}", self.usage);
            return Ok(Ok(ExitCode::SUCCESS));
        }
        let rows = self.choose(&options)?;
        if options.is_list {
            let width = (self.rows)(false).iter().map(|row| (self.describe)(row).0.len()).max().unwrap_or(0);
            rows.iter().map(self.describe).for_each(|(name, about)| println!("{name:width$} {about}"));
            return Ok(Ok(ExitCode::SUCCESS));
        }
        Ok((self.measure)(&options, rows))
    }

    fn parse(&self, arguments: Vec<String>) -> Result<Options, String> {
        let mut options = Options {
            is_quick: false,
            is_list: false,
            is_help: false,
            is_recording: false,
            has_sites: false,
            rounds: 0,
            workers: 0,
            worker_counts: self.workers.to_vec(),
            peers: Vec::new(),
            filters: Vec::new(),
            markdown: None,
            svg: None,
        };
        // cargo passes --bench on.
        let is_taken = |option: &str| {
            ["--bench", "--help", "-h"].contains(&option)
                || self.usage.lines().any(|line| line.split_whitespace().next() == Some(option))
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                filter if !filter.starts_with('-') => options.filters.push(argument),
                unknown if !is_taken(unknown) => return Err(format!("unknown option {unknown}")),
                "--bench" => {}
                "--quick" => options.is_quick = true,
                "--list" => options.is_list = true,
                "--help" | "-h" => options.is_help = true,
                "--record" => options.is_recording = true,
                "--sites" => options.has_sites = true,
                "--rounds" | "--repeats" => options.rounds = positive(&value()?)?,
                "--workers" if self.workers.is_empty() => options.worker_counts = vec![positive(&value()?)?],
                "--workers" => options.worker_counts = value()?.split(',').map(positive).collect::<Result<_, _>>()?,
                "--peers" => options.peers.extend(value()?.split(',').map(str::to_owned)),
                "--markdown" => options.markdown = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                unknown => return Err(format!("unknown option {unknown}")),
            }
        }
        if options.rounds == 0 {
            options.rounds = self.rounds[usize::from(!options.is_quick)];
        }
        options.workers = options.worker_counts.iter().copied().max().unwrap_or_else(num_cpus::get);
        match options.peers.iter().find(|peer| !self.peers.contains(&peer.as_str())) {
            Some(peer) => Err(format!("no peer is called {peer}: there are {}", self.peers.join(", "))),
            None => Ok(options),
        }
    }

    /// The rows whose names contain one of the words.
    fn choose(&self, options: &Options) -> Result<Vec<R>, String> {
        let mut rows = (self.rows)(options.is_quick);
        let names: Vec<&str> = rows.iter().map(|row| (self.describe)(row).0).collect();
        match options.filters.iter().find(|word| !names.iter().any(|name| name.contains(*word))) {
            Some(word) if names.is_empty() => return Err(format!("{word} means nothing here")),
            Some(word) => return Err(format!("no name contains {word}: there are {}", names.join("; "))),
            None => {}
        }
        let is_chosen =
            |name: &str| options.filters.is_empty() || options.filters.iter().any(|word| name.contains(word));
        rows.retain(|row| is_chosen((self.describe)(row).0));
        Ok(rows)
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| format!("{text} is not a positive number"))
}
