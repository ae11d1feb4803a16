//! The initiator's side: builders of requests ([`request`]) and readers of what is answered ([`answer`]).

pub mod answer;
pub mod request;

pub use answer::{AnswerError, BlockLimits, Capacity, InquiryData};
pub use request::Request;

#[cfg(test)]
mod tests;
