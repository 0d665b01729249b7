//! Names, certificates, paths, purposes, CRLs and revocation status: RFC 5280, 8550, 9598, 9618.
pub mod certificate;
pub mod crl;
mod distribution;
pub mod name;
pub mod path;
mod pem;
pub mod purpose;
pub mod recipient;
pub mod revocation;
pub use certificate::Certificate;
pub use crl::Crl;
pub use name::{Name, NameError};
pub use path::{Harvesting, PathReport, PathRequest, TrustAnchor, WantedCrls};
pub use purpose::Purpose;
pub use recipient::RecipientKey;
pub use revocation::{RevocationMode, RevocationStatus};
