//! What a search has found, for people: the events that lead to a bad state.

use crate::check::Property;
use std::fmt::{Display, Formatter};

/// The shortest way to a state in which a property is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which property.
    pub property: Property,
    /// What happened, a sentence for each step.
    pub steps: Vec<String>,
    /// What more there is to say about the last state.
    pub remark: Option<&'static str>,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (n, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4}. {step}", n + 1)?;
        }
        write!(f, "   => {}", self.property)?;
        self.remark.map_or(Ok(()), |remark| write!(f, ": {remark}"))
    }
}
