//! Just enough of Rust's grammar to tell code from comments and tests, and to read paths.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file, split by line into code and comment. Strings are emptied, so that their text is neither.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) code: Vec<String>,
    pub(crate) comment: Vec<String>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let (mut code, mut comment) = (vec![String::new()], vec![String::new()]);
        let (mut rest, mut nested) = (text, 0);
        while let Some(c) = rest.chars().next() {
            let (line, note) = (code.last_mut().unwrap(), comment.last_mut().unwrap());
            let mut take = c.len_utf8();
            match c {
                '\n' => (code.push(String::new()), comment.push(String::new())).0,
                _ if rest.starts_with("/*") => (nested, take) = (nested + 1, 2),
                _ if nested > 0 && rest.starts_with("*/") => (nested, take) = (nested - 1, 2),
                _ if nested > 0 => note.push(c),
                _ if rest.starts_with("//") => {
                    take = rest.find('\n').unwrap_or(rest.len());
                    note.push_str(&rest[..take]);
                }
                '"' => {
                    take = string_len(line, rest);
                    line.push_str("\"\"");
                    for _ in rest[..take].matches('\n') {
                        (code.push(String::new()), comment.push(String::new())).0
                    }
                }
                '\'' => {
                    take = char_len(rest);
                    line.push('\'');
                }
                _ => line.push(c),
            }
            rest = &rest[take..];
        }
        Source { name: name.to_owned(), code, comment }
    }

    /// The same without what is compiled only for tests, which may use the machine as it likes.
    pub(crate) fn without_tests(mut self) -> Self {
        let mut at = 0;
        while at < self.code.len() {
            at = if is_for_tests(&self.code[at]) { self.blank_item(at) } else { at + 1 };
        }
        self
    }

    /// Empties the lines from `start` to the end of the item there, its `;` or its last brace; returns the line after it.
    fn blank_item(&mut self, start: usize) -> usize {
        let mut depth = 0;
        for at in start..self.code.len() {
            for c in std::mem::take(&mut self.code[at]).chars() {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if depth == 0 && (c == '}' || c == ';') {
                    return at + 1;
                }
            }
        }
        self.code.len()
    }

    pub(crate) fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }

    pub(crate) fn is_in(&self, files: &[&str]) -> bool {
        files.iter().any(|&file| file == self.name || (file.ends_with('/') && self.name.starts_with(file)))
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().map(String::as_str).enumerate()
    }

    pub(crate) fn at(&self, line: usize, message: &str) -> String {
        format!("src/{}:{}: {message}", self.name, line + 1)
    }

    /// Whether a comment at `line`, or at most `reach` lines above it, contains `word`.
    pub(crate) fn argued(&self, line: usize, reach: usize, word: &str) -> bool {
        self.comment[line.saturating_sub(reach)..=line].iter().any(|comment| comment.contains(word))
    }

    /// The lines of comments and attributes directly above `line`: its documentation.
    pub(crate) fn doc(&self, line: usize) -> impl Iterator<Item = &str> {
        let above = (0..line).rev();
        let is_doc = |&l: &usize| {
            self.code[l].trim().starts_with('#') || (self.code[l].trim().is_empty() && !self.comment[l].is_empty())
        };
        above.take_while(is_doc).map(|l| self.comment[l].as_str())
    }

    /// Whether the item around `line` implements a trait.
    pub(crate) fn is_in_trait_impl(&self, line: usize) -> bool {
        let around = self.code[..line].iter().rev().find(|code| code.starts_with(|c: char| c.is_alphabetic()));
        let indented = self.code[line].starts_with(' ');
        indented && around.is_some_and(|code| code.contains("impl") && code.contains(" for "))
    }

    /// Every path in the code, with the groups of `use` written out: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
    pub(crate) fn paths(&self) -> Vec<(usize, String)> {
        let (mut found, mut groups, mut path) = (Vec::new(), vec![String::new()], (0, String::new()));
        let tokens = self.lines().flat_map(|(number, line)| tokens(line).map(move |token| (number, token)));
        for (number, token) in tokens {
            let word = token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let open = path.1.ends_with("::");
            if token == "::" || (word && open) {
                path.1.push_str(token);
            } else if token == "{" && open {
                groups.push(std::mem::take(&mut path.1));
            } else {
                found.push(std::mem::take(&mut path));
                match token {
                    "{" => groups.push(String::new()),
                    "}" if groups.len() > 1 => drop(groups.pop()),
                    _ if word => path = (number, format!("{}{token}", groups.last().unwrap())),
                    _ => {}
                }
            }
        }
        found.push(path);
        found.retain_mut(|(_, path)| {
            *path = path.trim_matches(':').to_owned();
            !path.is_empty()
        });
        found
    }
}

pub(crate) fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let first = rest.chars().next()?.len_utf8();
        let (token, tail) = rest.split_at(if rest.starts_with("::") { 2 } else { word.max(first) });
        rest = tail;
        Some(token)
    })
}

fn is_for_tests(attribute: &str) -> bool {
    let attribute = attribute.trim_start();
    attribute.starts_with("#[cfg(test)]") || attribute.starts_with("#[cfg(all(test")
}

/// The files that are modules behind `cfg(test)`.
pub(crate) fn test_files(files: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (file, text) in files {
        let folder = if file == "lib.rs" { String::new() } else { file.replace(".rs", "/") };
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| is_for_tests(pair[0])) {
            let module = pair[1].split_whitespace().last().and_then(|name| name.strip_suffix(';'));
            found.extend(module.map(|module| format!("{folder}{module}.rs")));
        }
    }
    found
}

/// How long the literal at the start of `rest` is, given the code before it on the line (`r#` makes it raw).
fn string_len(before: &str, rest: &str) -> usize {
    let bare = before.trim_end_matches('#');
    if bare.ends_with('r') {
        let end = format!("\"{}", &before[bare.len()..]);
        return rest[1..].find(&end).map_or(rest.len(), |at| at + 1 + end.len());
    }
    let mut escaped = false;
    let end = rest[1..].find(|c| {
        let before = escaped;
        escaped = c == '\\' && !before;
        c == '"' && !before
    });
    end.map_or(rest.len(), |at| at + 2)
}

/// How long the character literal at the start of `rest` is; 1 for the quote of a lifetime.
fn char_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, _))) => rest[at + 1..].find('\'').map_or(1, |end| at + 1 + end + 1),
        (_, Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files under `folder`, as paths relative to it, with their texts.
pub(crate) fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                visit(&entry, found);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push(entry);
            }
        }
    }
    let (base, mut found) = (root().join(folder), Vec::new());
    visit(&base, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(&base).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}
