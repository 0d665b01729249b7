//! What operators do with others' certificates: import, block, unblock.

use super::index::Digest;
use super::write::Step;
use super::{Directory, DirectoryError, Listed, Source, Trust, id_of, rules};
use crate::audit::Event;
use crate::mail::Address;
use crate::pki::Certificate;
use crate::store::Urgency;

impl Directory {
    /// Takes certificates in: an end entity's to encrypt to, CAs' to build paths with (which trusts none of them).
    ///
    /// `addresses` are the mailboxes that the one end entity's certificate stands for; each of them has to be named by
    /// it, unless it names none: then the registration officer binds it. Without them it stands for all that it names.
    /// What is there already stays, and stands as imported from now on.
    ///
    /// # Errors
    /// `Unfit`, `AddressNotNamed`, `NoAddress`, `NotOne`: nothing is taken in. The store.
    pub async fn import_certificates(
        &self,
        certificates: &[Certificate],
        addresses: &[Address],
    ) -> Result<Vec<Listed>, DirectoryError> {
        let end_entities = certificates.iter().filter(|certificate| !certificate.is_ca()).count();
        if !addresses.is_empty() && end_entities != 1 {
            return Err(DirectoryError::NotOne(end_entities));
        }
        let _one = self.0.changing.lock().await;
        let (mut steps, mut events) = (Vec::new(), Vec::new());
        for certificate in certificates {
            self.import(certificate, addresses, &mut steps, &mut events)?;
        }
        if !steps.is_empty() {
            self.write(steps, events, Urgency::Now).await?;
        }
        Ok(certificates.iter().filter_map(|certificate| self.listed(&certificate.sha256())).collect())
    }

    fn import(
        &self,
        certificate: &Certificate,
        addresses: &[Address],
        steps: &mut Vec<Step>,
        events: &mut Vec<Event>,
    ) -> Result<(), DirectoryError> {
        let sha256 = certificate.sha256();
        let known = self.index().certificate(&sha256).cloned();
        let event = |address| Event::CertificateImported {
            certificate: id_of(&sha256),
            issuer: certificate.issuer().to_string(),
            serial: certificate.serial_hex(),
            address,
        };
        let raised = known.as_ref().is_none_or(|entry| entry.trust != Trust::Imported);
        if raised {
            steps.push(Step::Put { certificate: certificate.clone(), trust: Trust::Imported, source: Source::Import });
        }
        if certificate.is_ca() {
            events.extend(raised.then(|| event(None)));
            return Ok(());
        }
        let subject = || certificate.subject().to_string();
        rules::receives(certificate).map_err(|why| DirectoryError::Unfit { subject: subject(), why })?;
        let by_operator = certificate.addresses().is_empty();
        for address in chosen(certificate, addresses)? {
            let bound = known.as_ref().is_some_and(|entry| entry.binding(&address.mailbox_key()).is_some());
            if !bound {
                steps.push(Step::Bind { sha256, address: address.clone(), by_operator });
            }
            if raised || !bound {
                events.push(event(Some(address)));
            }
        }
        Ok(())
    }

    /// A blocked certificate neither receives nor verifies. One that is blocked already stays so without an event.
    ///
    /// # Errors
    /// `Prefix`, `UnknownCertificate`, `AmbiguousCertificate`, the store.
    pub async fn block(&self, id: &str) -> Result<Listed, DirectoryError> {
        self.switch(id, true).await
    }

    /// Lets a blocked certificate be used again.
    ///
    /// # Errors
    /// As [`Directory::block`].
    pub async fn unblock(&self, id: &str) -> Result<Listed, DirectoryError> {
        self.switch(id, false).await
    }

    async fn switch(&self, id: &str, blocked: bool) -> Result<Listed, DirectoryError> {
        let _one = self.0.changing.lock().await;
        let found = self.find(id)?;
        if found.blocked == blocked {
            return Ok(found);
        }
        let sha256: Digest = found.certificate.sha256();
        let certificate = id_of(&sha256);
        let event = match blocked {
            true => Event::CertificateBlocked { certificate },
            false => Event::CertificateUnblocked { certificate },
        };
        self.write(vec![Step::Block { sha256, blocked }], vec![event], Urgency::Now).await?;
        self.listed(&sha256).ok_or_else(|| DirectoryError::UnknownCertificate(found.id))
    }
}

/// The mailboxes to bind, each once.
fn chosen(certificate: &Certificate, asked: &[Address]) -> Result<Vec<Address>, DirectoryError> {
    if certificate.has_too_many_names() {
        return Err(DirectoryError::TooManyAddresses(certificate.subject().to_string()));
    }
    let named = certificate.addresses();
    if named.is_empty() && asked.is_empty() {
        return Err(DirectoryError::NoAddress(certificate.subject().to_string()));
    }
    let mut chosen: Vec<Address> = Vec::new();
    for address in if asked.is_empty() { named } else { asked } {
        if !named.is_empty() && !certificate.names_address(address) {
            let named: Vec<_> = named.iter().map(|address| format!("`{}`", address.as_str())).collect();
            return Err(DirectoryError::AddressNotNamed {
                address: address.as_str().to_owned(),
                named: named.join(", "),
            });
        }
        if !chosen.iter().any(|seen| seen.same_mailbox(address)) {
            chosen.push(address.clone());
        }
    }
    Ok(chosen)
}
