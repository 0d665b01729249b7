//! Holds the documents: links lead somewhere, and commands, options, configuration keys, files and tests that they name exist.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which the lints do not know as such"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A document: its path below the root, and its lines.
struct Document {
    path: PathBuf,
    lines: Vec<Line>,
}

/// A line, and the fence around it: `sh` for ```` ```sh ````, empty where the fence says nothing.
struct Line {
    number: usize,
    text: String,
    fence: Option<String>,
}

impl Line {
    /// In a fence for a shell, or indented as code.
    fn is_shell(&self) -> bool {
        match self.fence.as_deref() {
            Some(fence) => matches!(fence, "" | "sh" | "bash" | "shell" | "console" | "ini"),
            None => self.text.starts_with("    segel "),
        }
    }
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap();
        Self { path: path.to_owned(), lines: lines(&text) }
    }

    /// What stands in backticks outside fences, with its line.
    fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        let prose = self.lines.iter().filter(|line| line.fence.is_none());
        prose.flat_map(|line| line.text.split('`').skip(1).step_by(2).map(|span| (line.number, span)))
    }

    fn at(&self, number: usize) -> String {
        format!("{}:{number}", self.path.display())
    }
}

fn lines(text: &str) -> Vec<Line> {
    let mut fence: Option<String> = None;
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        match (text.trim_start().strip_prefix("```"), &fence) {
            (Some(info), None) => fence = Some(info.trim().to_owned()),
            (Some(_), Some(_)) => fence = None,
            (None, _) => lines.push(Line { number: index + 1, text: text.to_owned(), fence: fence.clone() }),
        }
    }
    lines
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents but the generated one, whose own test holds it.
fn documents() -> Vec<Document> {
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                if ["docs", "config", "packaging"].iter().any(|kept| path.starts_with(kept)) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("conformance.md") {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    paths.sort();
    paths.iter().map(|path| Document::read(path)).collect()
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The targets of `[text](target)` in prose.
fn links(document: &Document) -> Vec<(usize, &str)> {
    let prose = document.lines.iter().filter(|line| line.fence.is_none());
    let targets = prose.flat_map(|line| {
        let rests = line.text.split("](").skip(1);
        rests.filter_map(|rest| rest.split_once(')')).map(|(target, _)| (line.number, target))
    });
    targets.collect()
}

/// The anchors of a document's headings, as hosts of repositories make them.
fn anchors(path: &Path) -> Vec<String> {
    let headings = Document::read(path).lines.into_iter().filter(|line| line.fence.is_none());
    let titles =
        headings.filter_map(|line| line.text.strip_prefix('#').map(|rest| rest.trim_start_matches('#').to_owned()));
    let anchor = |title: String| {
        let kept = title.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    titles.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut problems = Vec::new();
    for document in documents() {
        for (number, target) in links(&document) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            if !root().join(&path).exists() {
                problems.push(format!("{}: no file `{file}`", document.at(number)));
            } else if !anchor.is_empty() && !anchors(&path).iter().any(|known| known == anchor) {
                problems.push(format!("{}: no heading `#{anchor}` in {}", document.at(number), path.display()));
            }
        }
    }
    none(&problems);
}

#[test]
fn the_readme_leads_to_every_document() {
    let readme = Document::read(Path::new("README.md"));
    let linked: BTreeSet<&str> = links(&readme).into_iter().map(|(_, target)| target).collect();
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()));
    let missing = names.filter(|name| name.ends_with(".md") && !linked.contains(name.as_str()));
    none(&missing.map(|name| format!("README.md does not lead to {name}")).collect::<Vec<_>>());
}

/// What `--help` says of a command.
#[derive(Clone, Default)]
struct Help {
    commands: BTreeSet<String>,
    /// Options, and whether each takes a value.
    options: BTreeMap<String, bool>,
    /// Options that must be there.
    required: Vec<String>,
    takes_arguments: bool,
    needs_argument: bool,
}

impl Help {
    fn of(path: &[String]) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_segel")).args(path).arg("--help").output().unwrap();
        assert!(output.status.success(), "{path:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut help = Self::default();
        let mut section = "";
        for line in text.lines() {
            if let Some(usage) = line.strip_prefix("Usage: segel") {
                help.read_usage(usage, path.len());
            } else if !line.starts_with(' ') && line.ends_with(':') {
                section = line;
            }
            let word = line.split_whitespace().next().unwrap_or_default();
            match section {
                "Commands:" if line.starts_with("  ") && !line.starts_with("   ") => {
                    help.commands.insert(word.to_owned());
                }
                "Options:" if word.starts_with('-') => {
                    let names = line.split_whitespace().take_while(|part| part.starts_with('-'));
                    let value = line.trim_start().split("  ").next().unwrap_or_default().contains('<');
                    help.options.extend(names.map(|name| (name.trim_end_matches(',').to_owned(), value)));
                }
                _ => {}
            }
        }
        help
    }

    /// `[OPTIONS] --reason <TEXT> <ID>`: what stands outside brackets is needed.
    fn read_usage(&mut self, usage: &str, depth: usize) {
        let mut parts = usage.split_whitespace().skip(depth).peekable();
        while let Some(part) = parts.next() {
            if part.starts_with("--") {
                self.required.push(part.to_owned());
                parts.next_if(|next| next.starts_with('<'));
            } else if part != "[OPTIONS]" && !matches!(part, "<COMMAND>" | "[COMMAND]") {
                self.takes_arguments = true;
                self.needs_argument |= part.starts_with('<');
            }
        }
    }
}

/// What is known of commands; each is asked once.
#[derive(Default)]
struct Commands(BTreeMap<Vec<String>, Help>);

impl Commands {
    fn help(&mut self, path: &[String]) -> Help {
        self.0.entry(path.to_vec()).or_insert_with(|| Help::of(path)).clone()
    }

    /// The words behind `segel`. Placeholders are values like any other; `hold|release` is two commands. Where `whole`, what a
    /// command needs must be there; prose may name a part.
    fn check(&mut self, words: &[&str], whole: bool) -> Result<(), String> {
        let choice = words.iter().position(|word| word.contains('|') && !word.starts_with('-'));
        if let Some(index) = choice
            && let Some((before, word, after)) = words.split_at_checked(index).and_then(|(before, rest)| {
                let (word, after) = rest.split_first()?;
                Some((before, *word, after))
            })
        {
            return word.split('|').try_for_each(|one| self.check(&[before, &[one], after].concat(), whole));
        }
        let (mut path, mut given, mut arguments) = (Vec::new(), BTreeSet::new(), 0);
        let mut help = self.help(&path);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.starts_with('-') {
                let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
                let takes = help.options.get(name).ok_or_else(|| format!("{path:?} has no option `{name}`"))?;
                if *takes && value.is_none() && words.next().is_none() && whole {
                    return Err(format!("`{name}` takes a value"));
                }
                given.insert(name.to_owned());
            } else if help.commands.is_empty() {
                arguments += 1;
            } else if help.commands.contains(*word) {
                path.push((*word).to_owned());
                help = self.help(&path);
            } else if help.takes_arguments {
                arguments += 1;
            } else {
                return Err(format!("{path:?} has no command `{word}`"));
            }
        }
        if arguments > 0 && !help.takes_arguments {
            return Err(format!("{path:?} takes no argument"));
        }
        let missing = help.required.iter().find(|option| !given.contains(*option));
        match missing {
            Some(option) if whole => Err(format!("{path:?} needs `{option}`")),
            _ if whole && !help.commands.is_empty() && !help.takes_arguments && given.is_empty() => {
                Err(format!("{path:?} needs a command"))
            }
            _ if whole && help.needs_argument && arguments == 0 => Err(format!("{path:?} needs an argument")),
            _ => Ok(()),
        }
    }
}

/// The command lines of the program in a line of a shell: behind a prompt, in a pipe, in `$(…)`, behind `sudo -u segel`.
fn command_lines(line: &str) -> Vec<Vec<&str>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("# ");
    let line = line.split(" #").next().unwrap_or_default();
    let pieces = line.split(" | ").flat_map(|piece| piece.split("&&")).flat_map(|piece| piece.split(';'));
    let pieces =
        pieces.flat_map(|piece| piece.split("$(")).map(|piece| piece.split([')', '>', '<']).next().unwrap_or_default());
    let mut found = Vec::new();
    for piece in pieces {
        let words = words(piece);
        // Not the user, container or service of this name.
        let is_value =
            |at: usize| at.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|word| word.starts_with('-'));
        let place = words.iter().enumerate().rposition(|(at, word)| is_program(word) && !is_value(at));
        let Some(place) = place else { continue };
        let (before, rest) = words.split_at(place);
        let rest: Vec<&str> = rest.iter().skip(1).copied().collect();
        let is_command = before.iter().all(|word| word.contains('='))
            || before.iter().any(|word| matches!(*word, "sudo" | "exec" | "run" | "runuser" | "env"))
                && !rest.is_empty();
        if is_command && !words.contains(&"systemctl") {
            found.push(rest);
        }
    }
    found
}

fn is_program(word: &str) -> bool {
    let word = word.strip_prefix("ExecStart=").unwrap_or(word);
    word == "segel" || word.ends_with("/segel")
}

/// Words of a command line; text in quotes is one, brackets around what may be left out go.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in text.split(['\'', '"']).enumerate() {
        if index % 2 == 1 {
            words.push("TEXT");
            continue;
        }
        let parts = part.split([' ', '[', ']']).map(|word| word.trim_end_matches(['…', ',', '.', '\\']));
        words.extend(parts.filter(|word| !word.is_empty()));
    }
    words
}

/// Texts that hashes and signatures begin with: no commands.
const HASHED: [&str; 2] = ["segel audit row 1", "segel audit checkpoint 1"];

#[test]
fn commands_and_their_options_exist() {
    let (mut commands, mut problems, mut seen) = (Commands::default(), Vec::new(), 0);
    let built = |words: &[&str]| cfg!(feature = "demo") || words.first() != Some(&"demo");
    for document in documents() {
        let mut shell = String::new();
        for line in document.lines.iter().filter(|line| line.is_shell()) {
            // A line that ends in a backslash goes on.
            shell.push_str(&line.text);
            if shell.ends_with('\\') {
                shell.pop();
                continue;
            }
            for words in command_lines(&shell).iter().filter(|words| built(words)) {
                seen += 1;
                if let Err(problem) = commands.check(words, true) {
                    problems.push(format!("{}: `{}`: {problem}", document.at(line.number), shell.trim()));
                }
            }
            shell.clear();
        }
        for (number, span) in document.spans() {
            if !span.starts_with("segel ") || HASHED.contains(&span) {
                continue;
            }
            for words in command_lines(span).iter().filter(|words| built(words)) {
                seen += 1;
                if let Err(problem) = commands.check(words, false) {
                    problems.push(format!("{}: `{span}`: {problem}", document.at(number)));
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
    none(&problems);
}

/// The sections of `config/segel.toml` with their keys, also those that are commented out.
fn configuration() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("config/segel.toml")).unwrap();
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        let line = line.trim_start_matches("# ");
        match written(line) {
            Some(Written::Section(name)) => {
                name.clone_into(&mut section);
                sections.entry(section.clone()).or_default();
            }
            Some(Written::Key(key)) => {
                sections.entry(section.clone()).or_default().insert(key.to_owned());
            }
            None => {}
        }
    }
    sections
}

/// What a line of a configuration is.
enum Written<'a> {
    Section(&'a str),
    Key(&'a str),
}

/// `[section]`, `key = value`, or `key: unset` where a key has no default that could be written.
fn written(line: &str) -> Option<Written<'_>> {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    if let Some(name) = line.strip_prefix('[').filter(|_| line.ends_with(']')) {
        return Some(Written::Section(name.trim_matches(['[', ']'])));
    }
    let (key, _) = line.split_once(" = ").or_else(|| line.split_once(": unset"))?;
    is_key(key).then_some(Written::Key(key))
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

/// Sections of the policy file.
const ELSEWHERE: [&str; 2] = ["rule", "test"];

/// Endings that make `keys.md` a file and not a key.
const ENDINGS: [&str; 10] = ["md", "toml", "rs", "sh", "yml", "yaml", "json", "pem", "service", "db"];

/// The section and key that a span names: `limits.message`, `[fetch] enabled`, `[[server]] login = …`, `[limits.client]`.
fn named<'a>(span: &'a str, known: &BTreeMap<String, BTreeSet<String>>) -> Option<(&'a str, Option<&'a str>)> {
    if let Some(rest) = span.strip_prefix('[') {
        let (section, rest) = rest.trim_start_matches('[').split_once(']')?;
        let key = rest.trim_start_matches(']').trim().split([' ', '=']).next().filter(|key| !key.is_empty());
        // A word in brackets may be anything; with a second bracket or a key behind it, it is a section.
        let meant = span.starts_with("[[") || key.is_some() || known.contains_key(section);
        let plain = meant && section.split('.').all(is_key) && key.is_none_or(is_key);
        return (plain && !ELSEWHERE.contains(&section)).then_some((section, key));
    }
    let (section, key) = span.split(" = ").next()?.rsplit_once('.')?;
    let is_ours = known.contains_key(section) && is_key(key) && !ENDINGS.contains(&key);
    (is_ours && !known.contains_key(span)).then_some((section, Some(key)))
}

#[test]
fn configuration_keys_exist() {
    let known = configuration();
    assert!(known.len() > 15 && known.get("limits").is_some_and(|keys| keys.contains("message")), "{known:?}");
    let (mut problems, mut seen) = (Vec::new(), 0);
    for document in documents() {
        for (number, span) in document.spans() {
            let Some((section, key)) = named(span, &known) else { continue };
            seen += 1;
            let there = match (known.get(section), key) {
                (Some(keys), Some(key)) => keys.contains(key),
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !there {
                problems.push(format!("{}: `{span}` is not in config/segel.toml", document.at(number)));
            }
        }
        let mut section = "";
        for line in document.lines.iter().filter(|line| line.fence.as_deref() == Some("toml")) {
            let there = match written(&line.text) {
                Some(Written::Section(name)) => {
                    section = name;
                    ELSEWHERE.contains(&name) || known.contains_key(name)
                }
                Some(Written::Key(key)) => {
                    ELSEWHERE.contains(&section) || known.get(section).is_some_and(|keys| keys.contains(key))
                }
                None => true,
            };
            if !there {
                problems.push(format!("{}: not in config/segel.toml: {}", document.at(line.number), line.text));
            }
        }
    }
    assert!(seen > 30, "{seen}");
    none(&problems);
}

/// All text of sources and tests.
fn sources() -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["src", "tests"] {
        gather(&root().join(folder), &mut text);
    }
    text
}

#[test]
fn files_and_tests_exist() {
    let sources = sources();
    let mut problems = Vec::new();
    for document in documents() {
        for (number, span) in document.spans() {
            let folder =
                ["src/", "tests/", "docs/", "config/", "benches/", "packaging/"].iter().any(|at| span.starts_with(at));
            if folder && !span.contains(['*', ' ', '{', '…']) && !root().join(span).exists() {
                problems.push(format!("{}: no file `{span}`", document.at(number)));
            }
            let mut start = span.chars();
            let is_test = start.next().is_some_and(|c| c.is_ascii_lowercase())
                && span
                    .split('_')
                    .next()
                    .is_some_and(|id| id.len() == 3 && id.chars().skip(1).all(|c| c.is_ascii_digit()))
                && span.contains('_');
            if is_test && !sources.contains(&format!("fn {span}(")) {
                problems.push(format!("{}: no test `{span}`", document.at(number)));
            }
        }
    }
    none(&problems);
}

#[test]
fn the_checks_find_what_is_wrong() {
    let mut commands = Commands::default();
    let mut check = |line: &str| commands.check(&words(line), true).is_ok();
    for good in [
        "queue hold QID --reason TEXT",
        "queue hold|release QID --reason 'two words'",
        "serve -c FILE",
        "cert import [--address ADDR]... FILE",
        "key import --address=a@b.example x.p12",
    ] {
        assert!(check(good), "{good}");
    }
    for bad in [
        "queue hold QID",
        "queue hold|stop QID --reason TEXT",
        "serve now",
        "cert import --adress A F",
        "queue",
        "quue list",
    ] {
        assert!(!check(bad), "{bad}");
    }
    assert_eq!(command_lines("sudo -u segel segel check  # comment"), [["check"]]);
    assert_eq!(command_lines("segel audit export | head -n 1 > x"), [["audit", "export"]]);
    assert_eq!(command_lines("ExecStart=/usr/bin/segel serve"), [["serve"]]);
    assert_eq!(command_lines("docker exec segel /usr/bin/segel queue list"), [["queue", "list"]]);
    for other in ["systemctl stop segel", "User=segel", "docker run --name segel -v a:b segel", "adduser segel"] {
        assert!(command_lines(other).is_empty(), "{other}");
    }
    let known = configuration();
    let named = |span| named(span, &known);
    assert_eq!(named("limits.message"), Some(("limits", Some("message"))));
    assert_eq!(named("[[server]] login = …"), Some(("server", Some("login"))));
    assert_eq!(named("[limits.client]"), Some(("limits.client", None)));
    assert_eq!(
        (named("keys.md"), named("[[rule]]"), named("[rahasia]"), named("limits.client")),
        (None, None, None, None)
    );
}
