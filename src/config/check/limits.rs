//! `[limits]`: bounds of the whole, and of single clients, senders and logins.

use super::super::file::{File, RateLimits, Section, Value};
use super::super::parse::Findings;
use super::super::settings::{Rate, Rates};
use super::super::value;
use super::{key, listener};
use crate::limits::Limits;
use toml::Spanned;

pub(super) fn limits(file: &File, findings: &mut Findings<'_>) -> Limits {
    let mut limits = Limits::default();
    let hint = "write a number and a unit, such as \"64KiB\", \"25MiB\" or \"1GiB\"";
    for (name, value, least, target) in [
        ("limits.message", key(&file.limits, |limits| &limits.message), 64 << 10, &mut limits.message),
        (
            "limits.message_inside",
            key(&file.limits, |limits| &limits.message_inside),
            64 << 10,
            &mut limits.message_inside,
        ),
        ("limits.copies", key(&file.limits, |limits| &limits.copies), 64 << 10, &mut limits.copies),
        ("limits.memory", key(&file.limits, |limits| &limits.memory), 1 << 20, &mut limits.memory),
    ] {
        let Some(written) = value else { continue };
        match value::size(written.get_ref()) {
            Some(size) if size >= least => *target = size,
            Some(_) => {
                let problem = format!("expected at least {} KiB, found `{}`", least >> 10, written.get_ref());
                findings.error(written.span().start, name, problem, hint);
            }
            None => {
                let problem = format!("expected a size, found `{}`", written.get_ref());
                findings.error(
                    written.span().start,
                    name,
                    problem,
                    meant(written.get_ref()).as_deref().unwrap_or(hint),
                );
            }
        }
    }
    if key(&file.limits, |limits| &limits.message_inside).is_none() {
        limits.message_inside = limits.message / 10 * 7;
    }
    free_space(file, &mut limits, findings);
    for (name, value, target) in [
        ("limits.recipients", key(&file.limits, |limits| &limits.recipients), &mut limits.recipients),
        ("limits.connections", key(&file.limits, |limits| &limits.connections), &mut limits.connections),
    ] {
        let Some(written) = value else { continue };
        match usize::try_from(*written.get_ref()) {
            Ok(number) if number > 0 => *target = number,
            _ => findings.error(
                written.span().start,
                name,
                "expected a number above 0, found 0",
                "leave the key out for the default",
            ),
        }
    }
    if limits.recipients < 100 {
        findings.warn("limits.recipients is below 100, which RFC 5321 section 4.5.3.1.8 asks every server to take");
    }
    if limits.memory < limits.message {
        let offset = file.limits.as_ref().map_or(0, |limits| limits.span().start);
        let problem = "expected at least limits.message, found less: no message of the allowed size would fit";
        findings.error(offset, "limits.memory", problem, "raise limits.memory or lower limits.message");
    }
    limits
}

/// People write `MB`, `M` or `mb`, and mean one of two things; here it has to be said.
fn meant(written: &str) -> Option<String> {
    let digits: String = written.trim().chars().take_while(char::is_ascii_digit).collect();
    let unit = written.trim().get(digits.len()..)?.trim().to_ascii_lowercase();
    let unit = match unit.trim_end_matches('b').trim_end_matches('i') {
        "k" => "KiB",
        "m" => "MiB",
        "g" => "GiB",
        _ => return None,
    };
    (!digits.is_empty()).then(|| format!("did you mean \"{digits}{unit}\"? Units are KiB, MiB and GiB, of 1024 each"))
}

fn free_space(file: &File, limits: &mut Limits, findings: &mut Findings<'_>) {
    let Some(written) = key(&file.limits, |limits| &limits.free_space) else { return };
    match value::size(written.get_ref()) {
        Some(size) => limits.free_space = u64::try_from(size).unwrap_or(u64::MAX),
        None => {
            let problem = format!("expected a size, found `{}`", written.get_ref());
            findings.error(
                written.span().start,
                "limits.free_space",
                problem,
                meant(written.get_ref()).as_deref().unwrap_or("such as \"256MiB\"; \"0\" does not look"),
            );
        }
    }
}

/// `[limits.client]`, `[limits.sender]`, `[limits.login]`; 0 is no limit.
pub(super) fn rates(file: &File, findings: &mut Findings<'_>) -> Rates {
    let mut rates = Rates::default();
    let Some(limits) = file.limits.as_ref().map(Spanned::get_ref) else { return rates };
    let set = |target: &mut u32, value: &Value<u32>| {
        if let Some(value) = value {
            *target = *value.get_ref();
        }
    };
    if let Some(client) = limits.client.as_ref().map(Spanned::get_ref) {
        set(&mut rates.connections, &client.connections);
        set(&mut rates.client.mails, &client.mails);
        set(&mut rates.client.recipients, &client.recipients);
        set(&mut rates.unknown, &client.unknown);
        set(&mut rates.errors, &client.errors);
        rates.exempt = listener::networks(findings, "limits.client.exempt", &client.exempt);
    }
    rates.sender = rate(&limits.sender);
    rates.login = rate(&limits.login);
    rates
}

fn rate(section: &Section<RateLimits>) -> Rate {
    let Some(table) = section.as_ref().map(Spanned::get_ref) else { return Rate::default() };
    let number = |value: &Value<u32>| value.as_ref().map_or(0, |value| *value.get_ref());
    Rate { mails: number(&table.mails), recipients: number(&table.recipients) }
}
