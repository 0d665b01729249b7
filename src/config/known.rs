//! Where a key belongs that was written in another place. The documented file says it, so that there is one list.

const DOCUMENTED: &str = include_str!("../../config/segel.toml");
/// Keys of `match` and `then` in a rule.
const CONDITIONS: [&str; 6] = ["side", "from", "to", "subject", "header", "reasons"];
const OUTCOMES: [&str; 4] = ["sign", "form", "encrypt", "action"];

/// What to do with a key that exists, but not here. `place` is its full name as it was written.
pub(super) fn elsewhere(place: &str, key: &str) -> Option<String> {
    if let Some(rest) = place.strip_prefix("rule.").or_else(|| place.strip_prefix("test.")) {
        let table =
            [("match", &CONDITIONS[..]), ("then", &OUTCOMES)].into_iter().find(|(_, keys)| keys.contains(&key))?;
        return (rest == key || !rest.starts_with(table.0))
            .then(|| format!("`{key}` is a key of {0}: {0} = {{ {key} = … }}", table.0));
    }
    if place == "rule" || place == "test" {
        return Some("rules and tests stand in a file of their own, which policy.file names".to_owned());
    }
    let mut tables: Vec<String> = Vec::new();
    let mut table = String::new();
    for line in DOCUMENTED.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let header = line.split_whitespace().next().unwrap_or_default();
        if header.starts_with('[') && header.ends_with(']') {
            table = header.to_owned();
            if !place.contains('.') && table.trim_matches(['[', ']']).ends_with(&format!(".{key}")) {
                return Some(format!("did you mean {table}?"));
            }
        } else if line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")) && !tables.contains(&table) {
            tables.push(table.clone());
        }
    }
    (!tables.is_empty()).then(|| format!("`{key}` is a key of {}", tables.join(" and of ")))
}

#[cfg(test)]
mod tests {
    use super::elsewhere;

    #[test]
    fn a_key_in_the_wrong_place_is_told_where_it_belongs() {
        for (place, key, expected) in [
            ("gateway.sign", "sign", Some("`sign` is a key of [[domain]]")),
            ("gateway.postmaster", "postmaster", Some("`postmaster` is a key of [notify]")),
            ("domain.memory", "memory", Some("`memory` is a key of [limits]")),
            ("bind", "bind", Some("`bind` is a key of [[listener]] and of [console]")),
            ("anchor", "anchor", Some("did you mean [[trust.anchor]]?")),
            ("rule", "rule", Some("rules and tests stand in a file of their own, which policy.file names")),
            ("rule.to", "to", Some("`to` is a key of match: match = { to = … }")),
            ("rule.match.encrypt", "encrypt", Some("`encrypt` is a key of then: then = { encrypt = … }")),
            ("rule.wat", "wat", None),
            ("gateway.wat", "wat", None),
        ] {
            assert_eq!(elsewhere(place, key).as_deref(), expected, "{place}");
        }
    }
}
