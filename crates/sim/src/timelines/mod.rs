//! The timelines in which earlier drafts of the protocol lost data, as scripts for the group as it is: each is led to the
//! point where a rule decides, and then everything that was acknowledged must be there.

mod scripts;
mod stage;

use crate::world::Life;
use evenkeel_engine::TxnTicket;
use evenkeel_meta::Txn;
use evenkeel_peer::Message;
use evenkeel_types::ServerId;

/// What a script holds back.
#[derive(Default)]
pub(crate) struct Script {
    /// Messages that are not delivered.
    pub(crate) holds: Option<fn(ServerId, ServerId, &Message) -> bool>,
    pub(crate) messages: Vec<(ServerId, ServerId, Message)>,
    /// Proposes are on their way for as long as the script likes.
    pub(crate) holds_proposes: bool,
    pub(crate) proposes: Vec<(Life, TxnTicket, Txn)>,
}
