//! What was encrypted lies in clear nowhere: not on disk, not in temporary files, logs, listings or the audit log.

use crate::support::client::send;
use crate::support::pki::{EKO, JOKO, RATNA, SITI, WATI, parts};
use crate::support::{Gateway, Pki, Setup, Sink, letter};
use std::fs;
use std::path::Path;

/// In a text, in a `Subject` inside, in the name of an attachment.
const CANARIES: [&str; 3] = ["kenariisisurat7313", "kenarijudulsurat7313", "kenarinamaberkas7313"];

/// Every form in which a canary may lie about: as it is, and the middle of its base64 at each offset.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for canary in CANARIES {
        forms.push(canary.as_bytes().to_vec());
        for offset in 0..3 {
            let shifted = [&b"   "[..offset], canary.as_bytes()].concat();
            let whole = shifted.len() / 3 * 3;
            // The first characters hold what stands before.
            forms.push(data_encoding::BASE64.encode(&shifted[..whole]).as_bytes()[4..].to_vec());
        }
    }
    forms
}

fn assert_clean(what: &str, octets: &[u8]) {
    for form in forms() {
        let found = memchr::memmem::find(octets, &form);
        assert!(found.is_none(), "`{}` in {what}", String::from_utf8_lossy(&form));
    }
}

/// All files below a folder; how many there are.
fn assert_folder_clean(folder: &Path) -> usize {
    let mut count = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.is_file() {
                // A journal may go away meanwhile.
                let Ok(octets) = fs::read(&path) else { continue };
                assert_clean(&path.display().to_string(), &octets);
                count += 1;
            }
        }
    }
    count
}

/// A letter with the three canaries.
fn with_canaries(from: &str, to: &str, id: &str, filler: usize) -> Vec<u8> {
    let [text, subject, name] = CANARIES;
    let plain = String::from_utf8(letter(from, to, id, "TEXT")).unwrap();
    let filler = "Lampiran yang panjang sekali, baris demi baris.\r\n".repeat(filler);
    let parts = format!(
        "--batas\r\nContent-Type: text/plain\r\n\r\n{text}\r\n{filler}\
         --batas\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}.bin\"\r\n\r\n{}\r\n--batas--\r\n",
        data_encoding::BASE64.encode(text.as_bytes())
    );
    plain
        .replace("Content-Type: text/plain; charset=utf-8", "Content-Type: multipart/mixed; boundary=batas")
        .replace("Subject: Halo", &format!("Subject: {subject}"))
        .replace("TEXT\r\n", &parts)
        .into_bytes()
}

/// The same as a partner sends it: the true `Subject` inside, signed, encrypted. `size` in lines.
fn incoming(from: &str, to: &[&str], id: &str, signed: bool, size: usize) -> Vec<u8> {
    let pki = Pki::shared();
    let (outer, entity) = parts(&with_canaries(from, to[0], id, size));
    let subject = format!("Subject: {}\r\n", CANARIES[1]);
    let inside = match signed {
        true => pki.signed(&[subject.as_bytes(), &entity].concat(), from, &[]),
        false => entity,
    };
    let inside = [subject.as_bytes(), &inside].concat();
    let certificates: Vec<String> = to.iter().map(|name| pki.path(&format!("{name}.pem"))).collect();
    let mut options = vec!["-aes256"];
    options.extend(certificates.iter().map(String::as_str));
    let outer = String::from_utf8(outer).unwrap().replace(CANARIES[1], "...");
    [outer.as_bytes(), &pki.encrypted(&inside, &options)].concat()
}

fn assert_surfaces_clean(gateway: &Gateway) {
    let listings: [&[&str]; 8] = [
        &["queue", "list"],
        &["queue", "list", "--json"],
        &["quarantine", "list"],
        &["quarantine", "list", "--json"],
        &["audit", "search"],
        &["audit", "search", "--json"],
        &["audit", "export"],
        &["cert", "list", "--json"],
    ];
    for listing in listings {
        let answer = gateway.segel(listing);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_clean(&listing.join(" "), answer.output.as_bytes());
        assert_clean(&listing.join(" "), answer.errors.as_bytes());
    }
    for (command, row) in
        gateway.queued().iter().map(|row| ("queue", row)).chain(gateway.held().iter().map(|row| ("quarantine", row)))
    {
        let id = row["queue_id"].as_str().unwrap();
        for more in [&[][..], &["--json"]] {
            let answer = gateway.segel(&[&[command, "show", id], more].concat());
            assert_eq!(answer.code, 0, "{answer:?}");
            assert_clean(&format!("{command} show {id}"), format!("{}{}", answer.output, answer.errors).as_bytes());
        }
    }
    assert_clean("the log", gateway.log().join("\n").as_bytes());
}

#[test]
fn c42_p22_what_was_encrypted_lies_in_clear_nowhere() {
    need!("openssl", "aiosmtpd", "env");
    Pki::with_mailboxes();
    let temporary = tempfile::tempdir().unwrap();
    let (inside, outside) = (Sink::with(&[("later", EKO)]), Sink::with(&[("later", RATNA)]));
    let mut setup = Setup::new(inside.address, outside.address);
    setup.keys.extend([(WATI, "individual"), (EKO, "individual")]);
    let folder = temporary.path().display();
    setup.under = vec!["env".to_owned(), format!("TMPDIR={folder}"), format!("SQLITE_TMPDIR={folder}")];
    let mut gateway = setup.start();
    gateway.know(&[RATNA]);
    // Small, and too large for a row of the database.
    for (size, name) in [(1, "small"), (8_000, "large")] {
        let id = |what: &str| format!("kanari-{what}-{name}");
        // One has it, the inner server takes it from the other later.
        let mail = incoming(RATNA, &[WATI, EKO], &id("in"), true, size);
        assert!(send(gateway.outside, RATNA, &[WATI, EKO], &mail).starts_with("250"));
        let delivered = inside.find(&id("in"));
        assert_eq!(delivered.to, [WATI]);
        let text = String::from_utf8_lossy(&delivered.content).into_owned();
        assert!(CANARIES.iter().all(|canary| text.contains(canary)), "the canaries are alive");
        // Held: nothing proves what is inside; the signer inside is revoked.
        for (from, what, signed) in [(RATNA, "unproven", false), (JOKO, "revoked", true)] {
            let mail = incoming(from, &[WATI], &id(what), signed, size);
            assert!(send(gateway.outside, from, &[WATI], &mail).starts_with("250"));
        }
        // On its way out, to somebody whose server is not there now.
        let mail = with_canaries(SITI, RATNA, &id("out"), size);
        let mail = String::from_utf8(mail).unwrap().replace(&format!("Subject: {}", CANARIES[1]), "Subject: ...");
        assert!(send(gateway.inside, SITI, &[RATNA], mail.as_bytes()).starts_with("250"));
    }
    let held = gateway.held().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(held.len(), 4, "{held:?}");
    assert_eq!(held.iter().filter(|row| row.contains("integrity-unproven")).count(), 2, "{held:?}");
    assert_eq!(held.iter().filter(|row| row.contains("revoked")).count(), 2, "{held:?}");
    for _ in 0..600 {
        if gateway.queued().len() == 4 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    assert_eq!(gateway.queued().len(), 4, "{:?}", gateway.queued());
    assert_surfaces_clean(&gateway);
    assert!(assert_folder_clean(&gateway.data()) > 1);
    assert_folder_clean(temporary.path());
    let log = gateway.log().join("\n");
    assert_eq!(gateway.stop(), Some(0));
    assert_clean("the log", log.as_bytes());
    assert!(assert_folder_clean(&gateway.data()) > 0);
    assert_folder_clean(temporary.path());
    // And when it has started again.
    gateway.start();
    assert_surfaces_clean(&gateway);
    assert_folder_clean(&gateway.data());
}

/// Whatever ends the server, its memory is written nowhere, though the system would.
#[test]
fn c42_p22_a_server_that_is_aborted_leaves_no_core() {
    need!("openssl", "aiosmtpd", "bash");
    Pki::with_mailboxes();
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.keys.push((WATI, "individual"));
    let line = format!("ulimit -c unlimited 2>/dev/null; cd '{}' && exec \"$@\"", folder.path().display());
    setup.under = ["bash", "-c", &line, "bash"].map(str::to_owned).to_vec();
    let mut gateway = setup.start();
    let mail = incoming(RATNA, &[WATI], "kanari-core", true, 10);
    assert!(send(gateway.outside, RATNA, &[WATI], &mail).starts_with("250"));
    inside.find("kanari-core");
    gateway.server().signal("ABRT");
    assert_eq!(gateway.server().wait(), None, "it ended by the signal");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(assert_folder_clean(&gateway.data()) > 1);
}
