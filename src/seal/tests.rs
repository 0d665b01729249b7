#![expect(clippy::disallowed_methods, reason = "the tests look at the key's file")]

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn p22_wrapped_keys_open_only_in_their_context_and_under_their_master() {
    let master = MasterKey::ephemeral();
    let (wrapped, sealed) = master.seal("own key ab12", b"PKCS#8");
    assert_eq!(*master.open_sealed("own key ab12", &wrapped, &sealed).unwrap(), b"PKCS#8");
    assert!(matches!(master.open_sealed("own key ab13", &wrapped, &sealed), Err(SealError::Altered)));
    assert!(matches!(
        MasterKey::ephemeral().open_sealed("own key ab12", &wrapped, &sealed),
        Err(SealError::WrongKey { .. })
    ));
    let same_id = WrappedKey { master: master.id().to_owned(), bytes: vec![0; 76] };
    assert!(matches!(master.open_sealed("own key ab12", &same_id, &sealed), Err(SealError::Altered)));
    assert!(!sealed.windows(6).any(|window| window == b"PKCS#8"));
}

#[test]
fn p22_each_changed_octet_of_key_and_content_is_found() {
    let master = MasterKey::ephemeral();
    let (wrapped, sealed) = master.seal("x", b"some content");
    for index in 0..wrapped.bytes.len() {
        let mut changed = wrapped.clone();
        changed.bytes[index] ^= 1;
        assert!(master.open_sealed("x", &changed, &sealed).is_err(), "key octet {index}");
    }
    for index in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[index] ^= 1;
        assert!(master.open_sealed("x", &wrapped, &changed).is_err(), "content octet {index}");
    }
}

#[test]
fn chunks_open_for_every_length_and_never_cut_or_exchanged() {
    let master = MasterKey::ephemeral();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17] {
        let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let (wrapped, sealed) = master.seal("x", &plain);
        assert_eq!(*master.open_sealed("x", &wrapped, &sealed).unwrap(), plain, "{length}");
    }
    let (wrapped, sealed) = master.seal("x", &vec![7; 3 * CHUNK]);
    let chunk = |n: usize| &sealed[1 + n * (CHUNK + TAG)..1 + (n + 1) * (CHUNK + TAG)];
    let whole: [&[&[u8]]; 5] = [
        &[chunk(0), chunk(1)],
        &[chunk(1), chunk(0), chunk(2)],
        &[chunk(0), chunk(2)],
        &[chunk(0), chunk(1), chunk(2), chunk(2)],
        &[],
    ];
    for parts in whole {
        let mut changed = vec![VERSION];
        parts.iter().for_each(|part| changed.extend_from_slice(part));
        assert!(master.open_sealed("x", &wrapped, &changed).is_err());
    }
}

#[test]
fn p22_the_master_key_file_is_made_once_with_mode_0600() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let source = MasterKeySource::Generated(path.clone());
    let (first, made) = MasterKey::open(&source).unwrap();
    assert!(made);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (second, made) = MasterKey::open(&source).unwrap();
    assert!(!made);
    assert_eq!(first.id(), second.id());
    let (wrapped, sealed) = first.seal("x", b"y");
    assert_eq!(*second.open_sealed("x", &wrapped, &sealed).unwrap(), b"y");
    assert!(!format!("{first:?}").contains(std::fs::read_to_string(&path).unwrap().trim()));
}

#[test]
fn a_master_key_file_of_another_form_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    for (text, good) in [
        (&b"0123456789abcdef0123456789abcdef"[..], true),
        (b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", true),
        (b"", false),
        (b"short", false),
        (b"MDEyMzQ1Njc4OWFiY2RlZg==", false),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(MasterKey::open(&MasterKeySource::File(path.clone())).is_ok(), good, "{text:?}");
    }
    let missing = MasterKeySource::File(folder.path().join("none"));
    assert!(matches!(MasterKey::open(&missing), Err(SealError::Read { .. })));
}

#[test]
fn small_texts_open_in_their_context_only() {
    let (_, key) = MasterKey::ephemeral().new_key("subject");
    let sealed = key.seal_small("a", b"siti@kabupaten.go.id");
    assert_eq!(*key.open_small("a", &sealed).unwrap(), b"siti@kabupaten.go.id");
    assert!(key.open_small("b", &sealed).is_err());
    assert!(key.open_small("a", &sealed[..20]).is_err());
}
