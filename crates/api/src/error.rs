//! What the API answers when it cannot do what was asked.

use serde::{Deserialize, Serialize};

/// The body of every answer with a status of 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What failed, on what, and what to do about it, in one line.
    pub error: String,
}
