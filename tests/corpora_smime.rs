//! Verdicts against S/MIME mail made by others. Reads `$SEGEL_CORPORA`; prints `skipped:` where it is not set.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test says so by failing"
)]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "tests read files and say what they skip")]

use bytes::Bytes;
use segel::cms::recipient_info::Recipient;
use segel::crypto::Digest;
use segel::limits::Limits;
use segel::pki::path::{AnchorSource, TrustAnchor};
use segel::pki::{Certificate, RevocationMode};
use segel::smime::inspect::{ContentKey, Fact, Inspected, Need, Options, Scope, Step, inspect};
use segel::smime::verdict::Verdict;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[path = "corpora_smime/opened.rs"]
mod opened;

fn corpus(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SEGEL_CORPORA").map(|root| PathBuf::from(root).join(name));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: no `{name}` in $SEGEL_CORPORA");
    }
    found
}

fn manifest(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The mail with CRLF line ends, however git stores it.
fn mail(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut out = Vec::with_capacity(bytes.len());
    for octet in bytes {
        if octet == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

fn options(anchors: &[PathBuf], at: &str) -> Options {
    let anchors: Vec<_> = anchors
        .iter()
        .flat_map(|file| Certificate::bundle(&std::fs::read(file).unwrap()).unwrap())
        .map(|certificate| TrustAnchor {
            certificate,
            revocation: RevocationMode::None,
            domains: Vec::new(),
            source: AnchorSource::CommandLine,
            harvest: segel::pki::Harvesting::default(),
        })
        .collect();
    Options {
        scope: Scope::Full,
        at: at.parse().unwrap(),
        anchors: Arc::from(anchors),
        revocation: None,
        allow_weak: Vec::new(),
        blocked: Arc::default(),
        limits: Arc::new(Limits::default()),
    }
}

fn judge(message: Vec<u8>, options: &Options) -> Inspected {
    judge_with(message, options, &|_, _| Vec::new())
}

/// What private keys answer for these recipients and this length.
type Answer<'a> = &'a dyn Fn(&[Recipient], usize) -> Vec<ContentKey>;

fn judge_with(message: Vec<u8>, options: &Options, keys: Answer<'_>) -> Inspected {
    let mut step = inspect(Bytes::from(message), options.clone());
    loop {
        match step {
            Step::Done(inspected) => return inspected,
            Step::Need(needs, paused) => {
                let facts = needs.iter().map(|need| match need {
                    Need::ContentKeys { recipients, length } => Fact::ContentKeys(keys(recipients, *length)),
                    Need::Certificates { .. } => Fact::Certificates(Vec::new()),
                    Need::Crls { .. } => Fact::Crls(Vec::new()),
                });
                step = paused.resume(facts.collect());
            }
        }
    }
}

fn eml_files(folder: &Path) -> Vec<PathBuf> {
    let mut waiting = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "eml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// "Johnny, you are fired": no attack is valid, the controls are.
#[test]
fn i55_johnny_attacks_are_never_valid() {
    let Some(folder) = corpus("rub-nds-johnny") else { return };
    let anchor = folder.join("assets/certificates/intermediate_ca.crt");
    let options = options(&[anchor], "2019-11-01T00:00:00Z");
    let mut wrong = Vec::new();
    let mut controls = 0;
    for case in manifest(&folder.join("manifest.json"))["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let inspected = judge(mail(&folder.join(file)), &options);
        let is_control = case["kind"] == "control-valid" && case["technology"] == "smime";
        controls += usize::from(is_control);
        if is_control != (inspected.verdict == Verdict::Valid) {
            wrong.push(format!("{file}: {:?} {:?}", inspected.verdict, inspected.reasons));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(controls >= 2, "{controls} controls");
}

/// Where we differ from Thunderbird on purpose, and why. Those with SHA-1 differ only where it is allowed.
const THUNDERBIRD_DIFFERENT: [(&str, &[&str]); 4] = [
    ("Date away from the signing time, which proves nothing here", &["smime/alice.future.dsig.SHA256.multipart.eml"]),
    (
        "signature inside encryption: without a key nobody sees it",
        &[
            "smime/alice.dsig.SHA1.multipart.env.eml",
            "smime/alice.dsig.SHA256.multipart.env.eml",
            "smime/alice.sig.SHA1.opaque.env.eml",
            "smime/alice.sig.SHA256.opaque.env.eml",
        ],
    ),
    (
        "outer signature around encryption: the outermost signed layer decides",
        &[
            "smime/alice.env.sig.SHA1.opaque.eml",
            "smime/alice.env.dsig.SHA1.multipart.eml",
            "smime/alice.env.sig.SHA256.opaque.eml",
            "smime/alice.env.dsig.SHA256.multipart.eml",
        ],
    ),
    (
        "signature inside a signature by another: the outermost signed layer decides",
        &[
            "smime/alice.env.dsig.SHA1.multipart.dave.sig.SHA1.opaque.eml",
            "smime/alice.env.dsig.SHA256.multipart.dave.sig.SHA256.opaque.eml",
            "smime/alice.plain.dsig.SHA1.multipart.dave.sig.SHA1.opaque.eml",
            "smime/alice.plain.dsig.SHA256.multipart.dave.sig.SHA256.opaque.eml",
            "smime/alice.plain.sig.SHA1.opaque.dave.dsig.SHA1.multipart.eml",
            "smime/alice.plain.dsig.SHA1.multipart.dave.dsig.SHA1.multipart.eml",
            "smime/alice.plain.sig.SHA256.opaque.dave.dsig.SHA256.multipart.eml",
            "smime/alice.plain.dsig.SHA256.multipart.dave.dsig.SHA256.multipart.eml",
        ],
    ),
];

#[test]
fn i03_thunderbird_default_policy() {
    thunderbird("default_policy", &[]);
}

#[test]
fn i30_thunderbird_with_sha1_allowed() {
    thunderbird("allow_sha1", &[Digest::Sha1]);
}

fn thunderbird(list: &str, allow_weak: &[Digest]) {
    let Some(folder) = corpus("thunderbird") else { return };
    let options = Options {
        allow_weak: allow_weak.to_vec(),
        ..options(&[folder.join("smime/TestCA.pem")], "2026-11-22T00:00:00Z")
    };
    let mut wrong = Vec::new();
    let mut judged = 0;
    for case in manifest(&folder.join("manifest.json"))[list].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let inspected = judge(mail(&folder.join(file)), &options);
        let claims = |key: &str| case[key] == true;
        let valid = inspected.verdict == Verdict::Valid;
        let differs = claims("sig") != inspected.signed || claims("sig_good") != valid;
        let listed = THUNDERBIRD_DIFFERENT.iter().any(|(_, files)| files.contains(&file));
        // A listed SHA-1 mail may agree by accident where SHA-1 is refused anyway.
        let may_agree = listed && file.contains("SHA1") && allow_weak.is_empty();
        judged += usize::from(!listed);
        if !may_agree && differs != listed {
            wrong.push(format!("{file}: {:?} {:?}, expected {case}", inspected.verdict, inspected.reasons));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(judged > 10, "{judged}");
}

/// Keys of 1024 bits and SHA-1: nothing of 2006 is valid today, but each fault is found beside that.
#[test]
fn i25_bouncy_castle_validator() {
    use segel::reason::Reason;
    let Some(folder) = corpus("bouncycastle") else { return };
    let manifest = manifest(&folder.join("validator-manifest.json"));
    let trusting = |root: &str| Options {
        allow_weak: vec![Digest::Sha1, Digest::Md5],
        ..options(&[folder.join("mail-smime").join(root)], "2006-09-02T00:00:00Z")
    };
    for case in manifest["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let inspected = judge(mail(&folder.join(file)), &trusting("validator.root.crt"));
        let expected = match file.rsplit('/').next().unwrap() {
            "validator.expired.eml" => Some(Reason::Expired),
            "validator.extKeyUsage.eml" => Some(Reason::NotForMail),
            "validator.noEmail.eml" => Some(Reason::NoAddress),
            "validator.shortKey.eml" => Some(Reason::WeakAlgorithm),
            _ => None,
        };
        println!("{file}: {:?} {:?}", inspected.verdict, inspected.reasons);
        assert!(inspected.signed, "{file}");
        if let Some(expected) = expected {
            assert!(inspected.reasons.contains(&expected), "{file}: {:?}", inspected.reasons);
        }
        let bogus = judge(mail(&folder.join(file)), &trusting("validator.fakeRoot.crt"));
        assert_ne!(bogus.verdict, Verdict::Valid, "{file}");
    }
}

/// Nothing is valid under an anchor that has nothing to do with it, and nothing makes the walk fail.
#[test]
fn mail_of_every_kind_is_read_and_not_trusted() {
    for name in [
        "mimekit",
        "misc-smime",
        "misc-mime",
        "james",
        "python-email",
        "mailsploit",
        "espoofer",
        "rub-nds-covert-content",
    ] {
        let Some(folder) = corpus(name) else { continue };
        for file in eml_files(&folder) {
            let inspected = judge(mail(&file), &options(&[], "2026-11-22T00:00:00Z"));
            assert_ne!(inspected.verdict, Verdict::Valid, "{}", file.display());
        }
    }
}
