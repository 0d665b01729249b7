//! What path building has found out, and what it may still spend, while one message is looked at.
//!
//! Signers, layers and rounds of a message share it: the same signature is verified once, and more of them do not buy more
//! work. What is remembered never depends on time or trust.

use super::search::Edge;
use crate::limits::Limits;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// SHA-256 of the certificate that was signed, and of its issuer's.
pub(super) type EdgeKey = ([u8; 32], [u8; 32]);

/// Verified edges and spent budgets.
#[derive(Debug, Default)]
pub struct Memory {
    edges: RefCell<HashMap<EdgeKey, Edge>>,
    signers: Cell<usize>,
    signatures: Cell<usize>,
    steps: Cell<usize>,
    paths: Cell<usize>,
    crls: Cell<usize>,
}

/// Paths that one round may judge, as a multiple of what one certificate may cost.
const CERTIFICATES: usize = 4;

impl Memory {
    /// Takes one signature over content out of a budget of `limits.path_signatures`; whether there was one. Apart from the
    /// certificates' signatures, so that many signers can't hide what is known about the first.
    pub fn take_signature(&self, limits: &Limits) -> bool {
        take(&self.signers, limits.path_signatures)
    }

    /// Takes one signature of a certificate, likewise.
    pub(super) fn take_edge(&self, limits: &Limits) -> bool {
        take(&self.signatures, limits.path_signatures)
    }

    /// Gives back what a round spends beside signatures. The number of rounds is bounded elsewhere.
    pub fn next_round(&self) {
        self.steps.set(0);
        self.paths.set(0);
        self.crls.set(0);
    }

    /// A step costs no cryptography, so each path may take as many as there may be signatures.
    pub(super) fn take_step(&self, limits: &Limits) -> bool {
        take(&self.steps, limits.path_candidates.saturating_mul(limits.path_signatures))
    }

    pub(super) fn take_path(&self, limits: &Limits) -> bool {
        take(&self.paths, limits.path_candidates.saturating_mul(CERTIFICATES))
    }

    /// A CRL's signature under a key that no path has proven yet.
    pub(super) fn take_crl(&self, limits: &Limits) -> bool {
        take(&self.crls, limits.path_signatures)
    }

    pub(super) fn edge(&self, key: &EdgeKey) -> Option<Edge> {
        self.edges.borrow().get(key).copied()
    }

    pub(super) fn remember(&self, key: EdgeKey, edge: Edge) {
        self.edges.borrow_mut().insert(key, edge);
    }
}

fn take(spent: &Cell<usize>, budget: usize) -> bool {
    let left = spent.get() < budget;
    if left {
        spent.set(spent.get() + 1);
    }
    left
}
