//! The keys of the directory and the values under them, one file for each kind.
//!
//! All keys of a group begin with `/evenkeel/<group>/`. Numbers in keys are hexadecimal of fixed width, so that ranges
//! sort as numbers do. What people may have to read is JSON; unknown fields of it are kept out, not refused, so that an
//! older server can read a newer one's records as long as `format` says that it may. Route entries, of which there may
//! be millions, are binary with a version byte.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `format` | [`FormatRecord`] | the first server of the group |
//! | `member/<server>` | [`MemberRecord`]: routes depend on it | registration, each start, marking down |
//! | `server/<server>` | [`ServerRecord`]: no route depends on it | registration, changes of addresses or capacity |
//! | `live/<server>` | [`LiveRecord`] with a lease: a hint, never a fence | the server |
//! | `name/<name>` | the volume's id, so that names are unique | with `volume/` |
//! | `volume/<volume>` | [`VolumeRecord`] with its frozen place | create, resize |
//! | `access/<volume>` | [`AccessRecord`], apart so that a change raises no epoch | create, grant, reservations, resets |
//! | `route/<volume>/e<extent>` | [`RouteEntry`]: where an extent is that was moved | moves |
//! | `route/<volume>/r<run>` | [`RouteEntry`]: where all extents of a run are that have no entry of their own | owners |
//! | `place/<volume>` | [`NextPlaceRecord`]: the place that the volume is to get | the planner |
//! | `placed/<volume>/<server>` | [`PlacedRecord`]: the server is ready for it | the server |
//! | `tombstone/<volume>` | [`TombstoneRecord`]: the volume is deleted for ever | delete |
//! | `lead/<role>` | [`LeadRecord`] with a lease | elections |
//! | `counter/<what>` | the next number that was never used | whatever takes ids |
//! | `move/<move>` | [`MoveRecord`]: a move and its reason, for people | moves |
//! | `certificate/<fingerprint>` | [`CertificateRecord`]: whose it is, and whether it is revoked | starts, joins, revocation |
//! | `token/<hash>` | [`JoinTokenRecord`]: lets a machine join, once | whoever makes it; gone when used |

mod access;
mod certificate;
mod counter;
mod format;
mod keys;
mod lead;
mod member;
mod moves;
mod names;
mod placing;
mod route;
mod server;
mod volume;

pub use access::{
    ACCESS_CHANGES_KEPT, ACCESS_INITIATORS_MAX, AccessChange, AccessRecord, INITIATOR_NAME_BYTES_MAX, Resets,
};
pub use certificate::{CertificateRecord, Fingerprint, JOIN_SERVERS_MAX, JoinTokenRecord};
pub use counter::{COUNTER_FIRST, decode_counter, encode_counter};
pub use format::{FORMAT_VERSION, FormatRecord};
pub use keys::{CounterName, Keyspace, ParsedKey, Role, RouteKey};
pub use lead::{LeadRecord, LiveRecord};
pub use member::{MemberRecord, MemberState};
pub use moves::{MOVE_REASON_BYTES_MAX, MOVES_KEPT_PER_SERVER, MoveId, MoveRecord, MoveState};
pub use names::{GROUP_NAME_BYTES_MAX, NameError, SERVER_NAME_BYTES_MAX, VOLUME_NAME_BYTES_MAX};
pub use names::{check_group_name, check_server_name, check_volume_name};
pub use placing::{NextPlaceRecord, PlacedRecord};
pub use route::{MoveIntent, REPLICAS_MAX, ROUTE_ENTRY_BYTES, Replicas, RouteEntry, RouteEntryError};
pub use server::{ServerCapacity, ServerRecord};
pub use volume::{TombstoneRecord, VolumeRecord};

use evenkeel_types::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::Snafu;

/// Bytes of a record's value at most.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// A value that is not what its key promises.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(display("{what}"))]
pub struct RecordError {
    /// What is wrong with it.
    pub what: String,
}

/// The value of a record that is kept as JSON.
#[must_use]
pub fn encode_json<T: Serialize>(record: &T) -> Bytes {
    serde_json::to_vec(record).expect("records have string keys and no fallible fields").into()
}

/// Reads a record that is kept as JSON.
///
/// # Errors
/// Says what in the value cannot be read.
pub fn decode_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, RecordError> {
    if value.len() > RECORD_BYTES_MAX {
        return Err(RecordError {
            what: format!("{} bytes, at most {RECORD_BYTES_MAX} are possible", value.len()),
        });
    }
    serde_json::from_slice(value).map_err(|error| RecordError { what: error.to_string() })
}

/// 64-bit numbers without an order (seeds, identities) are hexadecimal strings: JSON readers round large numbers.
mod hex_u64 {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| D::Error::custom(format!("{text:?} is not a hexadecimal number")))
    }
}
