//! The directory of cluster metadata: the trait, its records, and its embedded and in-memory engines.
