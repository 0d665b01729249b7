//! Certificate revocation lists: what is read is what was given, within bounds.

use segel::limits::Limits;
use segel::pki::Crl;

/// One CRL as DER, and `data` as a file of them.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    if let Ok(crl) = Crl::from_der(data, &limits) {
        assert_eq!(crl.der(), data);
        assert_eq!(crl.is_empty(), matches!(crl.len(), 0));
        // Each entry takes a header, a serial and a date.
        assert!(crl.len() <= limits.crl_entries && crl.len() * 15 <= data.len());
        let _ = (crl.is_usable(), crl.number(), crl.this_update(), crl.next_update(), crl.issuer().to_string());
        assert!(crl.same_scope(&crl) && crl.issuer().matches(crl.issuer()));
    }
    if let Ok(found) = Crl::bundle(data, &limits) {
        for crl in &found {
            assert!(Crl::from_der(crl.der(), &limits).is_ok());
        }
    }
}
