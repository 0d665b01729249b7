//! A Rust source as far as the architecture needs it: words, paths and tests, without a parser.

/// One file below `src/`.
pub struct Source {
    /// Its path below `src/`.
    pub file: String,
    /// As it is.
    pub text: String,
    /// Without comments, contents of literals, and tests.
    pub code: String,
    /// Whether all of it is tests: `tests.rs`, or a module that is declared under `#[cfg(test)]`.
    pub tests: bool,
}

impl Source {
    pub fn new(file: &str, text: &str) -> Self {
        let mut source =
            Self { file: file.to_owned(), text: text.to_owned(), code: without_tests(&blank(text)), tests: false };
        source.tests = source.module().iter().any(|part| *part == "tests" || part.ends_with("_tests"));
        source
    }

    /// `pki/path.rs` is `["pki", "path"]`; the crate's root is empty.
    fn module(&self) -> Vec<&str> {
        let path = self.file.strip_suffix(".rs").unwrap_or(&self.file);
        match path {
            "lib" | "main" => Vec::new(),
            _ => path.split('/').collect(),
        }
    }

    /// The module at the top that this file belongs to.
    pub fn room(&self) -> Option<&str> {
        self.module().first().copied()
    }

    /// The module of the room that this file belongs to.
    pub fn row(&self) -> Option<&str> {
        self.module().get(1).copied()
    }

    /// The files of the modules that this file declares under `#[cfg(test)]`.
    pub fn test_modules(&self) -> Vec<String> {
        let folder = match self.file.strip_suffix(".rs") {
            Some("lib" | "main") | None => String::new(),
            Some(path) => format!("{path}/"),
        };
        let text = blank(&self.text);
        text.split("#[cfg(test)]")
            .skip(1)
            .filter_map(|rest| {
                let name = rest.split_once(';')?.0.split('{').next()?.rsplit_once("mod ")?.1;
                name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| format!("{folder}{name}.rs"))
            })
            .collect()
    }
}

/// `text` with comments gone and literals empty. Line ends stay, so that lines can be counted.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let previous_is_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 1),
                    ('*', '/') => (depth, i) = (depth - 1, i + 1),
                    ('\n', _) => out.push('\n'),
                    _ => {}
                }
                i += 1;
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, i).filter(|_| !previous_is_word) {
            // r#"…"#, br"…"
            while at(i) != '"' {
                i += 1;
            }
            i += 1;
            while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                if at(i) == '\n' {
                    out.push('\n');
                }
                i += 1;
            }
            i += 1 + hashes;
            out.push_str("\"\"");
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                if at(i) == '\\' {
                    i += 1;
                }
                if at(i) == '\n' {
                    out.push('\n');
                }
                i += 1;
            }
            i += 1;
            out.push_str("\"\"");
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
            out.push_str("''");
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

/// The number of `#` if a raw string begins at `start`.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut i = start;
    if matches!(chars.get(i), Some('b' | 'c')) {
        i += 1;
    }
    if chars.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    (chars.get(i + hashes) == Some(&'"')).then_some(hashes)
}

/// Blanked code without the items that stand under `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        rest = &rest[item_end(rest)..];
    }
    out.push_str(rest);
    out
}

/// Where the item at the start of `code` ends: its semicolon or its closing brace.
fn item_end(code: &str) -> usize {
    let mut depth = 0_i32;
    for (index, character) in code.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            ';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

/// The modules that `lib.rs` declares, in its order.
pub fn declared_modules(code: &str) -> Vec<String> {
    code.lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ").or_else(|| line.trim().strip_prefix("mod ")))
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// Every path into the crate that `source` writes, from the crate's root on: `crate::…`, `super::…`.
pub fn paths(source: &Source) -> Vec<Vec<String>> {
    let module: Vec<String> = source.module().into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    for (start, prefix) in starts(&source.code) {
        let mut base = match prefix {
            "crate::" => Vec::new(),
            _ => module.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default(),
        };
        let mut rest = &source.code[start + prefix.len()..];
        while let Some(above) = rest.strip_prefix("super::") {
            base.pop();
            rest = above;
        }
        tree(rest, &base, &mut found);
    }
    found
}

/// Where `crate::` or `super::` begins a path.
fn starts(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for prefix in ["crate::", "super::"] {
        for (index, _) in code.match_indices(prefix) {
            let before = code[..index].chars().next_back().unwrap_or(' ');
            if !(before.is_alphanumeric() || before == '_' || before == ':') {
                found.push((index, prefix));
            }
        }
    }
    found
}

/// Reads a path or use tree and adds its leaves; says how much it read.
fn tree(text: &str, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let rest_trimmed = rest.trim_start();
        at += rest.len() - rest_trimmed.len();
        if rest_trimmed.starts_with('{') {
            at += 1;
            loop {
                at += tree(&text[at..], &path, found);
                let rest = &text[at..];
                let next = rest.find([',', '}']).map_or(rest.len(), |index| index + 1);
                at += next;
                if next == 0 || !rest[..next].ends_with(',') {
                    return at;
                }
            }
        }
        let word: String = rest_trimmed.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
        at += word.len();
        if !word.is_empty() && word != "self" {
            path.push(word);
        }
        if !text[at..].starts_with("::") {
            if path.len() > prefix.len() || !path.is_empty() {
                found.push(path);
            }
            return at;
        }
        at += 2;
    }
}

/// What a room's own file hands on from its rows: (room, name) → row.
pub fn exports(source: &Source) -> Vec<((String, String), String)> {
    let module = source.module();
    let [room] = module.as_slice() else { return Vec::new() };
    let mut leaves = Vec::new();
    for statement in source.code.split(';') {
        let Some(start) = statement.find("pub use ").map(|at| at + 8).or_else(|| restricted_use(statement)) else {
            continue;
        };
        tree(&statement[start..], &[], &mut leaves);
    }
    leaves
        .into_iter()
        .filter_map(|leaf| match leaf.as_slice() {
            [row, .., name] => Some((((*room).to_owned(), name.clone()), row.clone())),
            _ => None,
        })
        .collect()
}

fn restricted_use(statement: &str) -> Option<usize> {
    let start = statement.find("pub(")?;
    statement[start..].find(") use ").map(|at| start + at + 6)
}

/// `code` with every `use` tree written as one path per line.
pub fn spell_out(code: &str) -> String {
    let mut out = String::new();
    for statement in code.split_inclusive(';') {
        match statement.rfind("use ").filter(|at| statement[..*at].chars().next_back().is_none_or(char::is_whitespace))
        {
            Some(at) => {
                out.push_str(&statement[..at]);
                let mut leaves = Vec::new();
                tree(&statement[at + 4..], &[], &mut leaves);
                for leaf in leaves {
                    out.push_str(&format!("{};\n", leaf.join("::")));
                }
            }
            None => out.push_str(statement),
        }
    }
    out
}

/// Whether `code` names `word` (a word or a path), not as a part of another word.
pub fn names(code: &str, word: &str) -> bool {
    occurrences(code, word).next().is_some()
}

/// `code` without the path `path`.
pub fn remove_path(code: &str, path: &str) -> String {
    let mut out = code.to_owned();
    loop {
        let Some(index) = occurrences(&out, path).next() else { return out };
        out.replace_range(index..index + path.len(), "");
    }
}

fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).map(|found| found.0).filter(move |index| {
        let before = code[..*index].chars().next_back().unwrap_or(' ');
        let after = code[*index + word.len()..].chars().next().unwrap_or(' ');
        !is_word(before) && !is_word(after)
    })
}
