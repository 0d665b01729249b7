//! Key files: a pair that is taken belongs together.

use segel::keys::import;
use segel::keys::software::OpenKey;

/// `data` as a PKCS#12 file, with the password of the seeds, and as PEM.
pub fn check(data: &[u8]) {
    if let Ok(found) = import::pkcs12(data, "rahasia") {
        pairs(&found);
    }
    if let Ok(found) = import::pem(data, data, Some("rahasia")) {
        pairs(&found);
    }
}

fn pairs(found: &import::Import) {
    assert!(!found.pairs.is_empty());
    for pair in &found.pairs {
        let key = OpenKey::from_pkcs8(&pair.key_der).expect("a key that was taken can be opened");
        assert!(key.belongs_to(pair.certificate.spki_der()), "a key and another's certificate");
        assert!(import::check(&key, &pair.certificate).is_ok() && (pair.uses.sign || pair.uses.decrypt));
    }
}
