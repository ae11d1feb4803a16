//! Crashes and damage.
