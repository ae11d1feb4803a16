//! The hash algorithms of CHAP and their numbers.

use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::Digest;
use sha3::Sha3_256;

/// A hash algorithm, by its number in the registry that RFC 7143 section 12.1.3 names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Algorithm {
    Md5 = 5,
    Sha1 = 6,
    Sha256 = 7,
    Sha3_256 = 8,
}

impl Algorithm {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// The algorithm with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            5 => Self::Md5,
            6 => Self::Sha1,
            7 => Self::Sha256,
            8 => Self::Sha3_256,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Bytes of a response.
    #[must_use]
    pub const fn response_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// The first of an offered list (`CHAP_A`) that is among these. What is no number, or the number of an algorithm
    /// that does not exist, is passed over: the list may name some that were invented later.
    #[must_use]
    pub fn choose(offered: &str, allowed: &[Self]) -> Option<Self> {
        let known = offered.split(',').filter_map(crate::keys::parse_number).filter_map(Self::from_number);
        known.into_iter().find(|algorithm| allowed.contains(algorithm))
    }

    /// A list as it is offered.
    pub(crate) fn list(algorithms: &[Self]) -> String {
        let numbers: Vec<String> =
            algorithms.iter().map(|algorithm| algorithm.number().to_string()).collect();
        numbers.join(",")
    }

    /// The hash of all parts behind one another.
    pub(crate) fn hash(self, parts: [&[u8]; 3]) -> Vec<u8> {
        fn of<D: Digest>(parts: [&[u8]; 3]) -> Vec<u8> {
            let mut hash = D::new();
            for part in parts {
                hash.update(part);
            }
            hash.finalize().to_vec()
        }
        match self {
            Self::Md5 => of::<Md5>(parts),
            Self::Sha1 => of::<Sha1>(parts),
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha3_256 => of::<Sha3_256>(parts),
        }
    }
}
