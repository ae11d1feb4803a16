//! `route/<volume>/e<extent>`: where an extent is that was moved, or is being moved, or was written to before its volume got
//! another place; `route/<volume>/r<run>`: the same for all extents of a run that have no entry of their own. Binary; 40
//! bytes, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | layout version, 1 |
//! | 1 | flags: bit 0 `from` is set, bit 1 an intent is set; the others are 0 |
//! | 2 | number of replicas, 1 to 3 |
//! | 3 | 0 |
//! | 4..16 | the replicas in order, first the owner if it is up; 0 in places that are not used |
//! | 16..20 | `from`: the owner that the last move replaced; 0 if not set |
//! | 20..24 | intent: the target; 0 without an intent, and so in the next two |
//! | 24..28 | intent: the replica that it replaces |
//! | 28..36 | intent: the move's id |
//! | 36..40 | CRC-32C of bytes 0..36 |
//!
//! Every entry has one encoding, and anything else is refused.

use super::moves::MoveId;
use evenkeel_types::checksum::crc32c;
use evenkeel_types::{Bytes, ServerId};
use snafu::{OptionExt, Snafu, ensure};
use std::fmt;
use std::ops::Deref;

/// Copies of an extent at most.
pub const REPLICAS_MAX: usize = 3;
/// Bytes of an encoded entry.
pub const ROUTE_ENTRY_BYTES: usize = 40;

const LAYOUT_VERSION: u8 = 1;
const FLAG_FROM: u8 = 1;
const FLAG_INTENT: u8 = 2;
const REPLICAS_AT: usize = 4;
const FROM_AT: usize = REPLICAS_AT + 4 * REPLICAS_MAX;
const INTENT_TO_AT: usize = FROM_AT + 4;
const INTENT_REPLACES_AT: usize = INTENT_TO_AT + 4;
const INTENT_MOVE_AT: usize = INTENT_REPLACES_AT + 4;
const CRC_AT: usize = INTENT_MOVE_AT + 8;
const _: () = assert!(CRC_AT + 4 == ROUTE_ENTRY_BYTES);

/// 1 to 3 distinct servers in order; small enough to be copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas {
    count: u8,
    servers: [ServerId; REPLICAS_MAX],
}

impl Replicas {
    /// These servers in this order; `None` unless they are 1 to 3, distinct, and not 0.
    #[must_use]
    pub fn new(servers: &[ServerId]) -> Option<Self> {
        let mut list =
            Self { count: u8::try_from(servers.len()).ok()?, servers: [ServerId(0); REPLICAS_MAX] };
        let distinct = (1..servers.len()).all(|n| !servers[..n].contains(&servers[n]));
        let sound = matches!(servers.len(), 1..=REPLICAS_MAX) && distinct && !servers.contains(&ServerId(0));
        sound.then(|| {
            list.servers[..servers.len()].copy_from_slice(servers);
            list
        })
    }

    /// The same list with `new` in the place of `old`; `None` if `old` is not in it or `new` is.
    #[must_use]
    pub fn replace(mut self, old: ServerId, new: ServerId) -> Option<Self> {
        let at = self.iter().position(|server| *server == old)?;
        (!self.contains(&new) && new != ServerId(0)).then(|| {
            self.servers[at] = new;
            self
        })
    }
}

impl Deref for Replicas {
    type Target = [ServerId];
    fn deref(&self) -> &[ServerId] {
        &self.servers[..usize::from(self.count)]
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A move that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveIntent {
    /// The server that gets a copy; it is not yet a replica.
    pub to: ServerId,
    /// The replica whose place it takes.
    pub replaces: ServerId,
    /// Names the move.
    pub id: MoveId,
}

/// Where an extent is that does not (or not only) follow its volume's placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteEntry {
    /// Its replicas in order.
    pub replicas: Replicas,
    /// The owner that the last move replaced; its successor attaches it too. The next intent clears it.
    pub from: Option<ServerId>,
    /// The move under way. Never together with `from`.
    pub intent: Option<MoveIntent>,
}

/// A value that is not a route entry.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum RouteEntryError {
    /// Of another length.
    #[snafu(display("a route entry of {bytes} bytes instead of {ROUTE_ENTRY_BYTES}"))]
    WrongLength {
        /// Its length.
        bytes: usize,
    },
    /// Of another layout.
    #[snafu(display("a route entry of layout {version}; this program knows {LAYOUT_VERSION}"))]
    UnknownLayout {
        /// Its layout version.
        version: u8,
    },
    /// The checksum does not match.
    #[snafu(display("a route entry with a wrong checksum"))]
    WrongChecksum,
    /// The fields contradict each other.
    #[snafu(display("a route entry that makes no sense: {what}"))]
    Contradiction {
        /// How.
        what: &'static str,
    },
}

impl RouteEntry {
    /// An entry with these replicas, and no move.
    #[must_use]
    pub const fn settled(replicas: Replicas) -> Self {
        Self { replicas, from: None, intent: None }
    }

    /// Whether it says nothing but where the copies are; only such may be a run's.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.from.is_none() && self.intent.is_none()
    }

    /// Whether the fields go together.
    ///
    /// # Errors
    /// Says which do not.
    pub fn check(&self) -> Result<(), RouteEntryError> {
        ensure!(
            self.from.is_none() || self.intent.is_none(),
            ContradictionSnafu { what: "both a past owner and an intent" }
        );
        if let Some(from) = self.from {
            let sound = from != ServerId(0) && !self.replicas.contains(&from);
            ensure!(sound, ContradictionSnafu { what: "the past owner is a replica" });
        }
        if let Some(intent) = self.intent {
            let sound = intent.to != ServerId(0) && !self.replicas.contains(&intent.to);
            ensure!(sound, ContradictionSnafu { what: "the move's target is a replica" });
            let sound = self.replicas.contains(&intent.replaces);
            ensure!(sound, ContradictionSnafu { what: "the move replaces what is no replica" });
        }
        Ok(())
    }

    /// The value of the entry's key.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.check().is_ok(), "an entry is sound before it is written: {self:?}");
        let mut out = [0; ROUTE_ENTRY_BYTES];
        out[0] = LAYOUT_VERSION;
        out[2] = self.replicas.count;
        for (n, server) in self.replicas.iter().enumerate() {
            put_u32(&mut out, REPLICAS_AT + 4 * n, server.0);
        }
        if let Some(from) = self.from {
            out[1] |= FLAG_FROM;
            put_u32(&mut out, FROM_AT, from.0);
        }
        if let Some(intent) = self.intent {
            out[1] |= FLAG_INTENT;
            put_u32(&mut out, INTENT_TO_AT, intent.to.0);
            put_u32(&mut out, INTENT_REPLACES_AT, intent.replaces.0);
            out[INTENT_MOVE_AT..CRC_AT].copy_from_slice(&intent.id.0.to_le_bytes());
        }
        let crc = crc32c(&out[..CRC_AT]);
        put_u32(&mut out, CRC_AT, crc);
        Bytes::copy_from_slice(&out)
    }

    /// Reads the value of an entry's key.
    ///
    /// # Errors
    /// If it is not exactly what [`RouteEntry::encode`] makes of some entry.
    pub fn decode(value: &[u8]) -> Result<Self, RouteEntryError> {
        let bytes: &[u8; ROUTE_ENTRY_BYTES] =
            value.try_into().map_err(|_| WrongLengthSnafu { bytes: value.len() }.build())?;
        ensure!(bytes[0] == LAYOUT_VERSION, UnknownLayoutSnafu { version: bytes[0] });
        ensure!(get_u32(bytes, CRC_AT) == crc32c(&bytes[..CRC_AT]), WrongChecksumSnafu);
        let count = usize::from(bytes[2]);
        ensure!(count <= REPLICAS_MAX, ContradictionSnafu { what: "too many replicas" });
        let listed: [ServerId; REPLICAS_MAX] =
            std::array::from_fn(|n| ServerId(get_u32(bytes, REPLICAS_AT + 4 * n)));
        let replicas = Replicas::new(&listed[..count])
            .context(ContradictionSnafu { what: "the replicas are no list" })?;
        let from = (bytes[1] & FLAG_FROM != 0).then(|| ServerId(get_u32(bytes, FROM_AT)));
        let intent = (bytes[1] & FLAG_INTENT != 0).then(|| MoveIntent {
            to: ServerId(get_u32(bytes, INTENT_TO_AT)),
            replaces: ServerId(get_u32(bytes, INTENT_REPLACES_AT)),
            id: MoveId(u64::from_le_bytes(bytes[INTENT_MOVE_AT..CRC_AT].try_into().expect("8 bytes"))),
        });
        let entry = Self { replicas, from, intent };
        entry.check()?;
        ensure!(entry.encode() == value, ContradictionSnafu { what: "bits that mean nothing are set" });
        Ok(entry)
    }
}

fn put_u32(out: &mut [u8; ROUTE_ENTRY_BYTES], at: usize, number: u32) {
    out[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn get_u32(bytes: &[u8; ROUTE_ENTRY_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_entry() -> impl Strategy<Value = RouteEntry> {
        let server = || (1..9u32).prop_map(ServerId);
        let list =
            prop::collection::vec(server(), 1..=3).prop_filter_map("distinct", |list| Replicas::new(&list));
        (list, prop::option::of(server()), prop::option::of((server(), 0..3usize, any::<u64>())))
            .prop_filter_map("sound", |(replicas, from, intent)| {
                let intent = intent.map(|(to, replaces, id)| MoveIntent {
                    to,
                    replaces: replicas[replaces % replicas.len()],
                    id: MoveId(id),
                });
                let entry = RouteEntry { replicas, from, intent };
                entry.check().is_ok().then_some(entry)
            })
    }

    proptest! {
        #[test]
        fn entries_read_back_as_they_were_written(entry in any_entry()) {
            prop_assert_eq!(RouteEntry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn a_flipped_bit_is_found(entry in any_entry(), bit in 0..ROUTE_ENTRY_BYTES * 8) {
            let mut bytes = entry.encode().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(RouteEntry::decode(&bytes).is_err());
        }

        /// With a checksum that matches, so that the checks behind it are reached.
        #[test]
        fn garbage_is_refused_or_is_the_encoding_of_what_it_reads_as(
            mut bytes in prop::array::uniform32(0..4u8), flags in 0..8u8, count in 0..5u8,
        ) {
            (bytes[0], bytes[1], bytes[2]) = (LAYOUT_VERSION, flags, count);
            let mut value = [0; ROUTE_ENTRY_BYTES];
            value[..32].copy_from_slice(&bytes);
            let crc = crc32c(&value[..CRC_AT]);
            put_u32(&mut value, CRC_AT, crc);
            if let Ok(entry) = RouteEntry::decode(&value) {
                prop_assert_eq!(&entry.encode()[..], &value[..]);
            }
        }

        #[test]
        fn other_lengths_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(bytes.len() != ROUTE_ENTRY_BYTES);
            let refused = RouteEntry::decode(&bytes);
            prop_assert_eq!(refused, Err(RouteEntryError::WrongLength { bytes: bytes.len() }));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let entry = RouteEntry {
            replicas: Replicas::new(&[ServerId(1), ServerId(0x0203_0405)]).unwrap(),
            from: None,
            intent: Some(MoveIntent {
                to: ServerId(7),
                replaces: ServerId(1),
                id: MoveId(0x1122_3344_5566_7788),
            }),
        };
        let mut expected = vec![1, 2, 2, 0, 1, 0, 0, 0, 5, 4, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([7, 0, 0, 0, 1, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        expected.extend(crc32c(&expected).to_le_bytes());
        assert_eq!(entry.encode(), expected);
    }

    #[test]
    fn a_replica_is_replaced_in_its_place() {
        let list = Replicas::new(&[ServerId(1), ServerId(2), ServerId(3)]).unwrap();
        assert_eq!(
            &list.replace(ServerId(2), ServerId(9)).unwrap()[..],
            [ServerId(1), ServerId(9), ServerId(3)]
        );
        assert_eq!(list.replace(ServerId(4), ServerId(9)), None);
        assert_eq!(list.replace(ServerId(2), ServerId(3)), None);
        assert_eq!(Replicas::new(&[ServerId(1), ServerId(1)]), None);
        assert_eq!(Replicas::new(&[]), None);
    }
}
