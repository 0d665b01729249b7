//! `[trust]`: anchors and CRLs are read and parsed here, so that a broken file stops the start and not a verdict.

use super::file::{Anchor, File};
use super::files::read;
use super::parse::Findings;
use crate::limits::Limits;
use crate::mail::Domain;
use crate::pki::path::AnchorSource;
use crate::pki::{Certificate, Crl, Harvesting, RevocationMode, TrustAnchor};
use std::path::Path;
use toml::Spanned;

/// What `[trust]` names.
#[derive(Default)]
pub(super) struct Trusted {
    pub(super) anchors: Vec<TrustAnchor>,
    pub(super) crls: Vec<Crl>,
    /// Where more CRLs are.
    pub(super) urls: Vec<String>,
}

/// Anchors and CRLs that the file names. Unreadable and malformed files are errors; ended ones are warnings.
pub(super) fn trust(file: &File, directory: &Path, limits: &Limits, findings: &mut Findings<'_>) -> Trusted {
    let Some(trust) = file.trust.as_ref().map(Spanned::get_ref) else {
        findings.warn(NO_ANCHOR);
        return Trusted::default();
    };
    let mut anchors: Vec<TrustAnchor> = Vec::new();
    for table in &trust.anchor {
        anchors.extend(anchor(table, directory, limits, findings));
    }
    let (mut crls, mut urls) = (Vec::new(), Vec::new());
    for written in trust.crls.iter().flat_map(Spanned::get_ref) {
        match written.get_ref().contains("://") {
            true => urls.extend(url(written, findings)),
            false => crls.extend(crl(written, directory, limits, findings)),
        }
    }
    if trust.anchor.is_empty() {
        findings.warn(NO_ANCHOR);
    }
    let fetches =
        file.fetch.as_ref().is_none_or(|fetch| fetch.get_ref().enabled.as_ref().is_none_or(|on| *on.get_ref()));
    if crls.is_empty() && !fetches && anchors.iter().any(|anchor| anchor.revocation == RevocationMode::HardFail) {
        findings.warn("an anchor asks for hard-fail, nothing is fetched and trust.crls names no CRL: every signature under it will be `revocation-unknown`");
    }
    Trusted { anchors, crls, urls }
}

/// An `http` or `https` URL.
fn url(written: &Spanned<String>, findings: &mut Findings<'_>) -> Option<String> {
    let parsed = url::Url::parse(written.get_ref()).ok();
    let good = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    if good.is_none() {
        let problem = format!("expected a file or an http URL, found `{}`", written.get_ref());
        findings.error(written.span().start, "trust.crls", problem, "such as \"http://crl.bsre.go.id/root.crl\"");
    }
    good.map(|url| url.to_string())
}

const NO_ANCHOR: &str =
    "no [[trust.anchor]]: every signature is `untrusted` until one is named here or imported with `segel trust import`";

fn anchor(table: &Spanned<Anchor>, directory: &Path, limits: &Limits, findings: &mut Findings<'_>) -> Vec<TrustAnchor> {
    let (start, table) = (table.span().start, table.get_ref());
    purposes(start, table, findings);
    let modes = [
        ("hard-fail", RevocationMode::HardFail),
        ("soft-fail", RevocationMode::SoftFail),
        ("none", RevocationMode::None),
    ];
    let revocation = super::check::choice(
        findings,
        "trust.anchor.revocation",
        table.revocation.as_ref(),
        &modes,
        RevocationMode::HardFail,
    );
    let worth = [("trusted", Harvesting::Trusted), ("seen", Harvesting::Seen)];
    let harvest =
        super::check::choice(findings, "trust.anchor.harvest", table.harvest.as_ref(), &worth, Harvesting::Trusted);
    let mut domains = Vec::new();
    for written in table.domains.iter().flat_map(Spanned::get_ref) {
        match Domain::parse(written.get_ref()) {
            Ok(domain) => domains.push(domain),
            Err(_) => {
                let problem = format!("expected a mail domain, found `{}`", written.get_ref());
                findings.error(
                    written.span().start,
                    "trust.anchor.domains",
                    problem,
                    "the part after the @ of senders it may speak for; an empty list is any",
                );
            }
        }
    }
    let Some(written) = &table.file else {
        let hint = "a PEM or DER file, relative to this configuration file";
        super::check::missing(findings, start, "trust.anchor.file", "a certificate file", hint);
        return Vec::new();
    };
    let source = AnchorSource::Configuration(written.get_ref().clone());
    certificates(written, directory, limits, findings)
        .into_iter()
        .map(|certificate| TrustAnchor {
            certificate,
            revocation,
            domains: domains.clone(),
            source: source.clone(),
            harvest,
        })
        .collect()
}

fn purposes(start: usize, table: &Anchor, findings: &mut Findings<'_>) {
    const KEY: &str = "trust.anchor.for";
    let Some(list) = &table.purposes else { return };
    for written in list.get_ref() {
        match written.get_ref().as_str() {
            "email" => {}
            "tsa" => {
                let hint = "write for = [\"email\"]; time stamps are not looked at in this version";
                super::check::not_yet(findings, written.span().start, KEY, "`email`", "`tsa`", hint);
            }
            other => {
                let problem = format!("expected `email`, found `{other}`");
                findings.error(written.span().start, KEY, problem, "write for = [\"email\"] or leave the key out");
            }
        }
    }
    if list.get_ref().is_empty() {
        findings.error(
            start,
            KEY,
            "expected `email`, found an empty list",
            "take the [[trust.anchor]] out if it is good for nothing",
        );
    }
}

fn certificates(
    written: &Spanned<String>,
    directory: &Path,
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Vec<Certificate> {
    const KEY: &str = "trust.anchor.file";
    let hint = "PEM (`-----BEGIN CERTIFICATE-----`, several are allowed) or DER; the path is relative to this configuration file";
    let Some((path, content)) = read(KEY, written, directory, limits.crl, hint, findings) else { return Vec::new() };
    let certificates = match Certificate::bundle(&content) {
        Ok(certificates) if !certificates.is_empty() => certificates,
        Ok(_) => {
            let problem = format!("expected certificates, found none in `{}`", path.display());
            findings.error(written.span().start, KEY, problem, hint);
            return Vec::new();
        }
        Err(error) => {
            let problem = format!("expected certificates, found `{}`: {error}", path.display());
            findings.error(written.span().start, KEY, problem, hint);
            return Vec::new();
        }
    };
    for certificate in &certificates {
        if !certificate.is_ca() {
            findings.warn(format!(
                "anchor `{}` ({}) is no CA certificate: no path can end there",
                path.display(),
                certificate.subject()
            ));
        }
        if certificate.not_after() < crate::clock::now() {
            findings.warn(format!(
                "anchor `{}` ({}) has ended at {}",
                path.display(),
                certificate.subject(),
                certificate.not_after()
            ));
        }
    }
    certificates
}

fn crl(written: &Spanned<String>, directory: &Path, limits: &Limits, findings: &mut Findings<'_>) -> Vec<Crl> {
    const KEY: &str = "trust.crls";
    let hint = "PEM (`-----BEGIN X509 CRL-----`) or DER; the path is relative to this configuration file";
    let Some((path, content)) = read(KEY, written, directory, limits.crl, hint, findings) else { return Vec::new() };
    let crls = match Crl::bundle(&content, limits) {
        Ok(crls) if !crls.is_empty() => crls,
        Ok(_) => {
            findings.error(
                written.span().start,
                KEY,
                format!("expected a CRL, found none in `{}`", path.display()),
                hint,
            );
            return Vec::new();
        }
        Err(error) => {
            findings.error(
                written.span().start,
                KEY,
                format!("expected a CRL, found `{}`: {error}", path.display()),
                hint,
            );
            return Vec::new();
        }
    };
    for crl in &crls {
        if let Some(next) = crl.next_update().filter(|next| *next < crate::clock::now()) {
            findings.warn(format!(
                "the CRL `{}` of {} should have been replaced at {next}: it proves nothing any more",
                path.display(),
                crl.issuer()
            ));
        }
    }
    crls
}
