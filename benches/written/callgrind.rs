//! What callgrind wrote about one process: how often each instruction was executed, and who called whom.

use std::collections::HashMap;
use std::io;
use std::process::Command;

/// An instruction: the file it is in, by its place in [`Profile::objects`], and its address there.
pub(crate) type Place = (usize, u64);

/// One process.
#[derive(Default)]
pub(crate) struct Profile {
    /// Paths of the files with code.
    pub(crate) objects: Vec<String>,
    /// How often each instruction was executed.
    pub(crate) executed: HashMap<Place, u64>,
    /// The functions that instructions are in.
    pub(crate) functions: HashMap<Place, String>,
    /// How often each instruction called the function of this name.
    pub(crate) calls: HashMap<(Place, String), u64>,
}

impl Profile {
    /// Runs this executable with `arguments`, which print nothing, under callgrind. The profile comes over a pipe, and no debugger
    /// is listened for: the files of either would stay behind whoever is killed.
    ///
    /// # Errors
    ///
    /// It cannot be run, or the process fails.
    pub(crate) fn take(arguments: &[String]) -> io::Result<Profile> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--fair-sched=yes", "--dump-instr=yes", "--dump-line=no"])
            .args(["--compress-strings=no", "--compress-pos=no", "--callgrind-out-file=/dev/stdout", "--vgdb=no"])
            .arg(std::env::current_exe()?)
            .args(arguments)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{arguments:?} under valgrind: {}\n{said}", output.status)));
        }
        Ok(Profile::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    fn parse(text: &str) -> Profile {
        let mut profile = Profile::default();
        let (mut object, mut function) = (0, String::new());
        let (mut callee, mut calls) = (String::new(), None);
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("ob=") {
                object = profile.object(path);
            } else if let Some(name) = line.strip_prefix("fn=") {
                name.clone_into(&mut function);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                name.clone_into(&mut callee);
            } else if let Some(rest) = line.strip_prefix("calls=") {
                calls = rest.split(' ').next().and_then(|count| count.parse::<u64>().ok());
            } else if let Some((address, cost)) = line.strip_prefix("0x").and_then(|line| line.split_once(' ')) {
                let Ok(address) = u64::from_str_radix(address, 16) else { continue };
                let place = (object, address);
                match calls.take() {
                    // The line after `calls=` has the cost of the callee.
                    Some(count) => *profile.calls.entry((place, callee.clone())).or_default() += count,
                    None => {
                        *profile.executed.entry(place).or_default() += cost.trim().parse::<u64>().unwrap_or(0);
                        profile.functions.entry(place).or_insert_with(|| function.clone());
                    }
                }
            }
        }
        profile
    }

    fn object(&mut self, path: &str) -> usize {
        self.objects.iter().position(|known| known == path).unwrap_or_else(|| {
            self.objects.push(path.to_owned());
            self.objects.len() - 1
        })
    }
}
