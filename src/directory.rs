//! Certificates of others and stored trust anchors.
