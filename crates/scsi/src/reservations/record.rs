//! The state as a record that people can read, in any format that serde knows (JSON in mind). Version 1:
//!
//! ```text
//! { "version": 1, "step": 7, "generation": 3, "aptpl": false,
//!   "registrations": [ { "initiator": "iqn.2026-01.test:a", "isid": "400000000001", "port": 2,
//!                        "key": "00000000000000ab" } ],
//!   "reservation": { "type": "write-exclusive", "holder": { "initiator": ..., "isid": ..., "port": 2 } },
//!   "spc2": { "nexus": { "initiator": ..., "isid": ..., "port": 2 }, "incarnation": 5, "number": 17 },
//!   "latest": { "by": { "initiator": ..., "isid": ..., "port": 2 }, "kind": "reserved" } }
//! ```
//!
//! What is absent is left out. Whatever the record says, what is read from it is a state that commands can lead to, or an
//! error.

use super::kind::ReservationType;
use super::name::{InitiatorPort, Nexus, SessionId};
use super::state::{
    ChangeKind, LatestChange, REGISTRATIONS_MAX, Reservation, ReservationState, Spc2Reservation,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use snafu::{OptionExt, Snafu, ensure};
use std::collections::BTreeMap;
use std::fmt;

/// Version of the record.
pub const RECORD_VERSION: u32 = 1;
/// Changes of a state at most: far more than there will be, and far from where the number would wrap around.
pub const STEP_MAX: u64 = 1 << 62;

/// A record that is none of a possible state.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum RecordError {
    /// The number of changes is one that nobody can reach, and with which the next one might not be told apart.
    #[snafu(display("reservations: {step} changes are more than there can be"))]
    StepInvalid {
        /// The number.
        step: u64,
    },
    /// An initiator's name is none.
    #[snafu(display("reservations: the initiator name {name:?} is not one"))]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// A target port has no number.
    #[snafu(display("reservations: {initiator} is at port 0"))]
    PortInvalid {
        /// The initiator at it.
        initiator: String,
    },
    /// A key is zero.
    #[snafu(display("reservations: the key of {nexus} is zero"))]
    KeyInvalid {
        /// Whose key.
        nexus: String,
    },
    /// There are too many registrations.
    #[snafu(display("reservations: {count} registrations are more than {REGISTRATIONS_MAX}"))]
    TooManyRegistrations {
        /// How many there are.
        count: usize,
    },
    /// A nexus is there twice.
    #[snafu(display("reservations: {nexus} is registered twice"))]
    RegisteredTwice {
        /// Which nexus.
        nexus: String,
    },
    /// The holder of the reservation is not registered, or none is named where one has to be, or one is where none may be.
    #[snafu(display("reservations: a reservation of type {kind:?} cannot be held by {holder}"))]
    HolderInvalid {
        /// Type of the reservation.
        kind: ReservationType,
        /// Its holder.
        holder: String,
    },
    /// RESERVE and persistent reservations exclude each other.
    #[snafu(display("reservations: {nexus} holds the unit by RESERVE although there are registrations"))]
    Mixed {
        /// Who holds the logical unit.
        nexus: String,
    },
}

/// The version, which has to be the known one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(RECORD_VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = u32::deserialize(deserializer)?;
        if version == RECORD_VERSION {
            return Ok(Self);
        }
        Err(de::Error::custom(format_args!(
            "reservations of version {version}: only version {RECORD_VERSION} is known"
        )))
    }
}

/// Bytes as hexadecimal digits, because people read them so and numbers of 64 bits do not survive every reader of JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits<const N: usize>;
        impl<const N: usize> de::Visitor<'_> for Digits<N> {
            type Value = Hex<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} hexadecimal digits", 2 * N)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<N>, E> {
                let bad = || E::invalid_value(de::Unexpected::Str(text), &self);
                let digits = text.as_bytes();
                if digits.len() != 2 * N {
                    return Err(bad());
                }
                let mut bytes = [0; N];
                for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
                    let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
                    let (high, low) = high.zip(low).ok_or_else(bad)?;
                    *byte = (high << 4 | low) as u8;
                }
                Ok(Hex(bytes))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NexusRecord {
    pub(crate) initiator: String,
    pub(crate) isid: Hex<6>,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistrationRecord {
    pub(crate) initiator: String,
    pub(crate) isid: Hex<6>,
    pub(crate) port: u16,
    pub(crate) key: Hex<8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReservationRecord {
    #[serde(rename = "type")]
    pub(crate) kind: ReservationType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<NexusRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spc2Record {
    pub(crate) nexus: NexusRecord,
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatestRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<NexusRecord>,
    pub(crate) kind: ChangeKind,
}

/// The record of a state, before its fields are known to go together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: Version,
    pub(crate) step: u64,
    pub(crate) generation: u32,
    pub(crate) aptpl: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) registrations: Vec<RegistrationRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reservation: Option<ReservationRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spc2: Option<Spc2Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest: Option<LatestRecord>,
}

impl From<&Nexus> for NexusRecord {
    fn from(nexus: &Nexus) -> Self {
        let initiator = &nexus.initiator;
        Self { initiator: initiator.name().to_owned(), isid: Hex(initiator.isid()), port: nexus.port }
    }
}

impl TryFrom<NexusRecord> for Nexus {
    type Error = RecordError;

    fn try_from(record: NexusRecord) -> Result<Self, RecordError> {
        let NexusRecord { initiator: name, isid, port } = record;
        ensure!(port != 0, PortInvalidSnafu { initiator: &name });
        let initiator = InitiatorPort::new(&name, isid.0).context(NameInvalidSnafu { name })?;
        Ok(Self { initiator, port })
    }
}

impl From<ReservationState> for Record {
    fn from(state: ReservationState) -> Self {
        let registration = |(nexus, key): (Nexus, u64)| {
            let NexusRecord { initiator, isid, port } = NexusRecord::from(&nexus);
            RegistrationRecord { initiator, isid, port, key: Hex(key.to_be_bytes()) }
        };
        Self {
            version: Version,
            step: state.step,
            generation: state.generation,
            aptpl: state.aptpl,
            registrations: state.registrations.into_iter().map(registration).collect(),
            reservation: state.reservation.map(|reservation| ReservationRecord {
                kind: reservation.kind,
                holder: reservation.holder.as_ref().map(NexusRecord::from),
            }),
            spc2: state.spc2.map(|held| Spc2Record {
                nexus: NexusRecord::from(&held.nexus),
                incarnation: held.session.incarnation,
                number: held.session.number,
            }),
            latest: state.latest.map(|latest| LatestRecord {
                by: latest.by.as_ref().map(NexusRecord::from),
                kind: latest.kind,
            }),
        }
    }
}

impl TryFrom<Record> for ReservationState {
    type Error = RecordError;

    fn try_from(record: Record) -> Result<Self, RecordError> {
        let step = record.step;
        ensure!(step <= STEP_MAX, StepInvalidSnafu { step });
        let registrations = read_registrations(record.registrations)?;
        let reservation =
            record.reservation.map(|read| read_reservation(read, &registrations)).transpose()?;
        let spc2 = record.spc2.map(read_spc2).transpose()?;
        if let Some(held) = &spc2 {
            let alone = registrations.is_empty() && reservation.is_none();
            ensure!(alone, MixedSnafu { nexus: held.nexus.to_string() });
        }
        let latest = match record.latest {
            None => None,
            Some(LatestRecord { by, kind }) => {
                Some(LatestChange { by: by.map(Nexus::try_from).transpose()?, kind })
            }
        };
        let (generation, aptpl) = (record.generation, record.aptpl);
        Ok(Self { step, generation, aptpl, registrations, reservation, spc2, latest })
    }
}

fn read_registrations(records: Vec<RegistrationRecord>) -> Result<BTreeMap<Nexus, u64>, RecordError> {
    let count = records.len();
    ensure!(count <= REGISTRATIONS_MAX, TooManyRegistrationsSnafu { count });
    let mut registrations = BTreeMap::new();
    for RegistrationRecord { initiator, isid, port, key } in records {
        let nexus = Nexus::try_from(NexusRecord { initiator, isid, port })?;
        let key = u64::from_be_bytes(key.0);
        ensure!(key != 0, KeyInvalidSnafu { nexus: nexus.to_string() });
        let name = nexus.to_string();
        ensure!(registrations.insert(nexus, key).is_none(), RegisteredTwiceSnafu { nexus: name });
    }
    Ok(registrations)
}

fn read_reservation(
    ReservationRecord { kind, holder }: ReservationRecord,
    registrations: &BTreeMap<Nexus, u64>,
) -> Result<Reservation, RecordError> {
    let holder = holder.map(Nexus::try_from).transpose()?;
    let possible = match &holder {
        Some(holder) => !kind.is_held_by_all_registrants() && registrations.contains_key(holder),
        None => kind.is_held_by_all_registrants() && !registrations.is_empty(),
    };
    let name = || holder.as_ref().map_or_else(|| "all registrants".to_owned(), Nexus::to_string);
    ensure!(possible, HolderInvalidSnafu { kind, holder: name() });
    Ok(Reservation { kind, holder })
}

fn read_spc2(record: Spc2Record) -> Result<Spc2Reservation, RecordError> {
    let session = SessionId { incarnation: record.incarnation, number: record.number };
    Ok(Spc2Reservation { nexus: Nexus::try_from(record.nexus)?, session })
}
