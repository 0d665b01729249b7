//! Asks a next hop whether a recipient exists, without sending mail (call-ahead).
//!
//! Whatever is not a clear answer is none. The connection is made as for mail, with the same TLS, and is not kept.

use super::Surroundings;
use super::connect::{Connection, Ended, open};
use crate::config::NextHop;
use crate::mail::Address;
use crate::queue::Outcome;
use crate::smtp::client::Answer;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// For the whole of it: a client waits for the answer at its RCPT (five minutes by RFC 5321 section 4.5.3.2.3).
const PROBE: Duration = Duration::from_secs(30);

/// What a next hop says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It would take mail for him.
    Yes,
    /// It refuses him for good: its reply, such as `550 5.1.1 no such user`.
    No(String),
    /// It could not be asked, or did not say.
    Unknown(String),
}

/// Asks: EHLO, TLS as the next hop wants it, MAIL FROM:<>, RCPT TO, QUIT. Takes 30 s at most.
pub async fn probe(next_hop: &NextHop, recipient: &Address, surroundings: &Surroundings) -> Existence {
    let surroundings = Arc::new(surroundings.clone());
    match timeout(PROBE, ask(next_hop, recipient, &surroundings)).await {
        Ok(Ok((answer, connection))) => {
            // Goodbye is not worth waiting for.
            tokio::spawn(connection.quit());
            match answer {
                Answer::Taken => Existence::Yes,
                Answer::Refused(reply) => Existence::No(reply),
                Answer::Unclear(why) => Existence::Unknown(why),
            }
        }
        Ok(Err(why)) => Existence::Unknown(why),
        Err(_) => Existence::Unknown(format!("{} did not answer in time", next_hop.name())),
    }
}

async fn ask(
    next_hop: &NextHop,
    recipient: &Address,
    surroundings: &Arc<Surroundings>,
) -> Result<(Answer, Connection), String> {
    let mut connection = open(next_hop, surroundings).await.map_err(|why| match why {
        Outcome::Deferred { diagnostic, .. } | Outcome::Failed { diagnostic, .. } => diagnostic,
        Outcome::Delivered { reply, .. } => reply,
    })?;
    connection.client.ask(recipient);
    match connection.drive().await {
        Ended::Ready => Ok((connection.client.take_answer(), connection)),
        // What was said before it broke counts.
        _ => match connection.client.take_answer() {
            Answer::Taken => Err("the connection broke".to_owned()),
            answer => Ok((answer, connection)),
        },
    }
}

#[cfg(test)]
mod tests;
