//! Deliveries (placeholder of the agreed types).
use crate::config::NextHop;
use crate::mail::{Address, BodyType, ReversePath};
use bytes::Bytes;
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(pub String);
impl QueueId {
    pub fn random() -> Self {
        Self("q".to_owned())
    }
}
impl std::fmt::Display for QueueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Outgoing,
    Incoming,
    Notice,
}
#[derive(Clone, Debug)]
pub struct DeliveryRecipient {
    pub id: i64,
    pub address: Address,
    pub tries: u32,
}
#[derive(Clone, Debug)]
pub struct Delivery {
    pub record: i64,
    pub queue_id: QueueId,
    pub copy: i64,
    pub content: Bytes,
    pub reverse_path: ReversePath,
    pub body: BodyType,
    pub next_hop: NextHop,
    pub recipients: Vec<DeliveryRecipient>,
    pub token: [u8; 16],
    pub direction: Direction,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered { reply: String },
    Deferred { status: String, diagnostic: String },
    Failed { status: String, diagnostic: String },
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("placeholder")]
    Placeholder,
}
#[derive(Clone, Debug)]
pub struct Queue;
impl Queue {
    pub async fn claim(&self, _limit: usize) -> Result<Vec<Delivery>, QueueError> {
        todo!()
    }
    pub async fn settle(&self, _delivery: &Delivery, _outcomes: Vec<(i64, Outcome)>) -> Result<(), QueueError> {
        todo!()
    }
}
