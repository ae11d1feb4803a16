//! The journal: a ring of group-commit records.

pub(crate) mod entry;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod ring;
