//! Scrub: everything is read and compared before somebody needs it.
//!
//! Each server looks, slowly and again and again, at the extents that it owns, one region at a time: its own copy is read
//! from the device, and each copy in sync is asked what it has in that region ([`check`]). Bad blocks here are mended from
//! the copies; bad blocks there, and content that differs in the same version, are mended from here. What is good nowhere
//! is told.

mod check;
mod pass;

pub(crate) use check::Check;
pub(crate) use pass::Scrub;
