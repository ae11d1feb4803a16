//! The initiator's side: builders of requests ([`request`]) and readers of what is answered ([`answer`]); both for
//! reservations ([`reservations`]).

pub mod answer;
pub mod request;
pub mod reservations;

pub use answer::{AnswerError, BlockLimits, Capacity, InquiryData};
pub use request::Request;

#[cfg(test)]
mod tests;
