//! `--fetch`: CRLs from the network for one message. Nothing is kept.

use super::super::local;
use super::super::print::warning_line;
use crate::config::{Config, Dns, Fetch};
use crate::dns::Resolver;
use crate::fetch::{Answer, Client, Validators};
use crate::limits::Limits;
use crate::pki::{Crl, WantedCrls};

/// Asks servers, by the rules of the configuration or, without one, by the defaults.
pub(super) struct Fetcher(Option<Config>);

impl Fetcher {
    pub(super) fn new(config: Option<&Config>) -> Self {
        Self(config.cloned())
    }

    /// What the distribution points have. What can't be had is said on standard error.
    pub(super) fn get(&self, wanted: &WantedCrls, limits: &Limits) -> Vec<Crl> {
        let fetched = local::wait(async {
            let client = self.client();
            let mut found = Vec::new();
            for urls in &wanted.points {
                for url in urls {
                    match one(&client, url, limits).await {
                        Ok(crls) => {
                            found.extend(crls);
                            break;
                        }
                        Err(problem) => warning_line(&format!("{url}: {problem}")),
                    }
                }
            }
            found
        });
        fetched.unwrap_or_default()
    }

    fn client(&self) -> Client {
        match &self.0 {
            Some(config) => Client::new(config, &Resolver::new(&config.dns)),
            None => {
                let settings = Fetch { enabled: true, allow_private: Vec::new(), ports: vec![80, 443], proxy: None };
                Client::with(settings, Vec::new(), Resolver::new(&Dns::default()))
            }
        }
    }
}

async fn one(client: &Client, url: &str, limits: &Limits) -> Result<Vec<Crl>, String> {
    match client.get(url, &Validators::default(), limits.crl).await {
        Ok(Answer::Content(content, _)) => Crl::bundle(&content, limits).map_err(|error| error.to_string()),
        Ok(Answer::NotModified) => Err("nothing came".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
