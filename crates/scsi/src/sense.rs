//! Sense data (SPC-4 clause 4.5): why a command failed, in fixed and in descriptor format.

use snafu::Snafu;
use std::fmt;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The class of a failure (SPC-4 table 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names of the standard say it")]
pub enum SenseKey {
    NoSense = 0x0,
    RecoveredError = 0x1,
    NotReady = 0x2,
    MediumError = 0x3,
    HardwareError = 0x4,
    IllegalRequest = 0x5,
    UnitAttention = 0x6,
    DataProtect = 0x7,
    BlankCheck = 0x8,
    VendorSpecific = 0x9,
    CopyAborted = 0xa,
    AbortedCommand = 0xb,
    Reserved = 0xc,
    VolumeOverflow = 0xd,
    Miscompare = 0xe,
    Completed = 0xf,
}

impl SenseKey {
    const ALL: [Self; 16] = [
        Self::NoSense,
        Self::RecoveredError,
        Self::NotReady,
        Self::MediumError,
        Self::HardwareError,
        Self::IllegalRequest,
        Self::UnitAttention,
        Self::DataProtect,
        Self::BlankCheck,
        Self::VendorSpecific,
        Self::CopyAborted,
        Self::AbortedCommand,
        Self::Reserved,
        Self::VolumeOverflow,
        Self::Miscompare,
        Self::Completed,
    ];

    /// The key in the lower four bits of a byte.
    #[must_use]
    pub const fn from_low_nibble(byte: u8) -> Self {
        Self::ALL[(byte & 0x0f) as usize]
    }
}

/// Additional sense code and its qualifier (SPC-4 annex D).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdditionalSense {
    /// ADDITIONAL SENSE CODE.
    pub code: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER.
    pub qualifier: u8,
}

macro_rules! additional_sense {
    ($($name:ident = $code:literal / $qualifier:literal, $text:literal;)*) => {
        impl AdditionalSense {
            $(
                #[doc = $text]
                pub const $name: Self = Self { code: $code, qualifier: $qualifier };
            )*

            /// The standard's words for the codes that this crate gives, or else nothing.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match (self.code, self.qualifier) {
                    $(($code, $qualifier) => $text,)*
                    _ => "",
                }
            }
        }
    };
}

additional_sense! {
    NONE = 0x00 / 0x00, "NO ADDITIONAL SENSE INFORMATION";
    UNEXPECTED_UNSOLICITED_DATA = 0x0c / 0x0c, "UNEXPECTED UNSOLICITED DATA";
    NOT_ENOUGH_UNSOLICITED_DATA = 0x0c / 0x0d, "NOT ENOUGH UNSOLICITED DATA";
    INVALID_FIELD_IN_INFORMATION_UNIT = 0x0e / 0x03, "INVALID FIELD IN COMMAND INFORMATION UNIT";
    UNRECOVERED_READ_ERROR = 0x11 / 0x00, "UNRECOVERED READ ERROR";
    PARAMETER_LIST_LENGTH_ERROR = 0x1a / 0x00, "PARAMETER LIST LENGTH ERROR";
    MISCOMPARE_DURING_VERIFY = 0x1d / 0x00, "MISCOMPARE DURING VERIFY OPERATION";
    INVALID_OPERATION_CODE = 0x20 / 0x00, "INVALID COMMAND OPERATION CODE";
    LBA_OUT_OF_RANGE = 0x21 / 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE";
    INVALID_FIELD_IN_CDB = 0x24 / 0x00, "INVALID FIELD IN CDB";
    LOGICAL_UNIT_NOT_SUPPORTED = 0x25 / 0x00, "LOGICAL UNIT NOT SUPPORTED";
    INVALID_FIELD_IN_PARAMETER_LIST = 0x26 / 0x00, "INVALID FIELD IN PARAMETER LIST";
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x26 / 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION";
    WRITE_PROTECTED = 0x27 / 0x00, "WRITE PROTECTED";
    SPACE_ALLOCATION_FAILED = 0x27 / 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT";
    POWER_ON_OR_RESET = 0x29 / 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED";
    LOGICAL_UNIT_RESET = 0x29 / 0x03, "BUS DEVICE RESET FUNCTION OCCURRED";
    NEXUS_LOSS = 0x29 / 0x07, "I_T NEXUS LOSS OCCURRED";
    MODE_PARAMETERS_CHANGED = 0x2a / 0x01, "MODE PARAMETERS CHANGED";
    RESERVATIONS_PREEMPTED = 0x2a / 0x03, "RESERVATIONS PREEMPTED";
    RESERVATIONS_RELEASED = 0x2a / 0x04, "RESERVATIONS RELEASED";
    REGISTRATIONS_PREEMPTED = 0x2a / 0x05, "REGISTRATIONS PREEMPTED";
    CAPACITY_CHANGED = 0x2a / 0x09, "CAPACITY DATA HAS CHANGED";
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2f / 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR";
    SAVING_PARAMETERS_NOT_SUPPORTED = 0x39 / 0x00, "SAVING PARAMETERS NOT SUPPORTED";
    INQUIRY_DATA_CHANGED = 0x3f / 0x03, "INQUIRY DATA HAS CHANGED";
    REPORTED_LUNS_CHANGED = 0x3f / 0x0e, "REPORTED LUNS DATA HAS CHANGED";
    INTERNAL_TARGET_FAILURE = 0x44 / 0x00, "INTERNAL TARGET FAILURE";
    PROTOCOL_SERVICE_CRC_ERROR = 0x47 / 0x05, "PROTOCOL SERVICE CRC ERROR";
    INSUFFICIENT_REGISTRATION_RESOURCES = 0x55 / 0x04, "INSUFFICIENT REGISTRATION RESOURCES";
}

impl fmt::Debug for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}h/{:02x}h {}", self.code, self.qualifier, self.text())
    }
}

/// Which field of a command or of its parameter list is wrong (SPC-4 clause 4.5.2.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldPointer {
    /// True if the field is in the CDB, false if it is in the parameter list.
    pub in_cdb: bool,
    /// Its first byte.
    pub byte: u16,
    /// Its most significant bit, 7 to 0, if it does not fill the byte.
    pub bit: Option<u8>,
}

/// Bytes of sense data in fixed format.
pub const FIXED_SENSE_BYTES: usize = size_of::<FixedSense>();
/// Bytes of sense data in descriptor format at most.
pub const DESCRIPTOR_SENSE_BYTES_MAX: usize = size_of::<DescriptorSenseHeader>()
    + size_of::<InformationDescriptor>()
    + size_of::<SenseKeySpecificDescriptor>();

/// Sense data in fixed format, SPC-4 clause 4.5.3.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct FixedSense {
    valid_and_response_code: u8,
    obsolete: u8,
    sense_key: u8,
    information: U32,
    additional_sense_length: u8,
    command_specific_information: U32,
    additional_sense_code: u8,
    additional_sense_code_qualifier: u8,
    field_replaceable_unit_code: u8,
    sense_key_specific: [u8; 3],
}
const _: () = assert!(FIXED_SENSE_BYTES == 18);

/// Header of sense data in descriptor format, SPC-4 clause 4.5.2.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct DescriptorSenseHeader {
    response_code: u8,
    sense_key: u8,
    additional_sense_code: u8,
    additional_sense_code_qualifier: u8,
    reserved: [u8; 3],
    additional_sense_length: u8,
}
const _: () = assert!(size_of::<DescriptorSenseHeader>() == 8);

/// Information sense data descriptor, SPC-4 clause 4.5.2.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct InformationDescriptor {
    descriptor_type: u8,
    additional_length: u8,
    valid: u8,
    reserved: u8,
    information: U64,
}
const _: () = assert!(size_of::<InformationDescriptor>() == 12);

/// Sense key specific sense data descriptor, SPC-4 clause 4.5.2.4.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SenseKeySpecificDescriptor {
    descriptor_type: u8,
    additional_length: u8,
    reserved: [u8; 2],
    sense_key_specific: [u8; 3],
    reserved_end: u8,
}
const _: () = assert!(size_of::<SenseKeySpecificDescriptor>() == 8);

const FIXED_CURRENT: u8 = 0x70;
const DESCRIPTOR_CURRENT: u8 = 0x72;
const VALID: u8 = 0x80;
const INFORMATION_DESCRIPTOR: u8 = 0x00;
const SENSE_KEY_SPECIFIC_DESCRIPTOR: u8 = 0x02;

/// Why a command failed, or what a logical unit has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense {
    /// The class of the failure.
    pub key: SenseKey,
    /// What exactly.
    pub additional: AdditionalSense,
    /// INFORMATION: the first bad logical block address of a medium error, the offset in bytes of a
    /// miscompare.
    pub information: Option<u64>,
    /// The field at fault, with ILLEGAL REQUEST.
    pub field: Option<FieldPointer>,
}

/// Bytes that are not sense data.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum SenseError {
    /// There are too few bytes for the format.
    #[snafu(display("sense data of {len} bytes is too short"))]
    SenseTooShort {
        /// How many bytes there are.
        len: usize,
    },
    /// The response code is that of no known format.
    #[snafu(display("sense data has the unknown response code {code:02x}h"))]
    UnknownResponseCode {
        /// The response code.
        code: u8,
    },
}

impl Sense {
    /// Sense data without details.
    #[must_use]
    pub const fn new(key: SenseKey, additional: AdditionalSense) -> Self {
        Self { key, additional, information: None, field: None }
    }

    /// ILLEGAL REQUEST for a reason.
    #[must_use]
    pub const fn illegal_request(additional: AdditionalSense) -> Self {
        Self::new(SenseKey::IllegalRequest, additional)
    }

    /// ABORTED COMMAND for a reason.
    #[must_use]
    pub const fn aborted_command(additional: AdditionalSense) -> Self {
        Self::new(SenseKey::AbortedCommand, additional)
    }

    /// INVALID FIELD IN CDB, pointing at the field that starts in this byte, at this bit if it does not fill
    /// the byte.
    #[must_use]
    pub const fn invalid_field_in_cdb(byte: u16, bit: Option<u8>) -> Self {
        Self {
            field: Some(FieldPointer { in_cdb: true, byte, bit }),
            ..Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_CDB)
        }
    }

    /// INVALID FIELD IN PARAMETER LIST, pointing at the field that starts in this byte.
    #[must_use]
    pub const fn invalid_field_in_parameter_list(byte: u16) -> Self {
        Self {
            field: Some(FieldPointer { in_cdb: false, byte, bit: None }),
            ..Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST)
        }
    }

    /// The same with INFORMATION.
    #[must_use]
    pub const fn with_information(self, information: u64) -> Self {
        Self { information: Some(information), ..self }
    }

    /// The fixed format, which CHECK CONDITION carries as D_SENSE is zero. INFORMATION that does not fit in
    /// four bytes is left out and VALID stays zero (SPC-4 clause 4.5.3).
    #[must_use]
    pub fn to_fixed(&self) -> [u8; FIXED_SENSE_BYTES] {
        let information = self.information.and_then(|information| u32::try_from(information).ok());
        let sense = FixedSense {
            valid_and_response_code: FIXED_CURRENT | if information.is_some() { VALID } else { 0 },
            sense_key: self.key as u8,
            information: information.unwrap_or(0).into(),
            additional_sense_length: (FIXED_SENSE_BYTES - 8) as u8,
            additional_sense_code: self.additional.code,
            additional_sense_code_qualifier: self.additional.qualifier,
            sense_key_specific: self.field.map_or([0; 3], FieldPointer::encode),
            ..FixedSense::default()
        };
        zerocopy::transmute!(sense)
    }

    /// The descriptor format, which REQUEST SENSE gives on demand.
    #[must_use]
    pub fn to_descriptor(&self) -> Vec<u8> {
        let mut descriptors = Vec::with_capacity(DESCRIPTOR_SENSE_BYTES_MAX);
        if let Some(information) = self.information {
            let descriptor = InformationDescriptor {
                descriptor_type: INFORMATION_DESCRIPTOR,
                additional_length: (size_of::<InformationDescriptor>() - 2) as u8,
                valid: VALID,
                reserved: 0,
                information: information.into(),
            };
            descriptors.extend_from_slice(descriptor.as_bytes());
        }
        if let Some(field) = self.field {
            let descriptor = SenseKeySpecificDescriptor {
                descriptor_type: SENSE_KEY_SPECIFIC_DESCRIPTOR,
                additional_length: (size_of::<SenseKeySpecificDescriptor>() - 2) as u8,
                reserved: [0; 2],
                sense_key_specific: field.encode(),
                reserved_end: 0,
            };
            descriptors.extend_from_slice(descriptor.as_bytes());
        }
        let header = DescriptorSenseHeader {
            response_code: DESCRIPTOR_CURRENT,
            sense_key: self.key as u8,
            additional_sense_code: self.additional.code,
            additional_sense_code_qualifier: self.additional.qualifier,
            reserved: [0; 3],
            additional_sense_length: descriptors.len() as u8,
        };
        [header.as_bytes(), &descriptors].concat()
    }

    /// Reads sense data of either format, current or deferred.
    ///
    /// # Errors
    /// If it is too short or of an unknown format. Unknown descriptors and a cut last one are skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, SenseError> {
        let code = bytes.first().ok_or(SenseError::SenseTooShort { len: 0 })? & !VALID;
        match code {
            0x70 | 0x71 => Self::parse_fixed(bytes),
            0x72 | 0x73 => Self::parse_descriptors(bytes),
            _ => Err(SenseError::UnknownResponseCode { code }),
        }
    }

    fn parse_fixed(bytes: &[u8]) -> Result<Self, SenseError> {
        // Senders may leave out what is zero at the end: the bytes behind the additional sense code.
        const LEN_MIN: usize = 14;
        if bytes.len() < LEN_MIN {
            return Err(SenseError::SenseTooShort { len: bytes.len() });
        }
        let mut whole = [0; FIXED_SENSE_BYTES];
        let len = bytes.len().min(FIXED_SENSE_BYTES);
        whole[..len].copy_from_slice(&bytes[..len]);
        let sense: FixedSense = zerocopy::transmute!(whole);
        let key = SenseKey::from_low_nibble(sense.sense_key);
        Ok(Self {
            key,
            additional: AdditionalSense {
                code: sense.additional_sense_code,
                qualifier: sense.additional_sense_code_qualifier,
            },
            information: (sense.valid_and_response_code & VALID != 0).then(|| sense.information.get().into()),
            field: FieldPointer::decode(key, sense.sense_key_specific),
        })
    }

    fn parse_descriptors(bytes: &[u8]) -> Result<Self, SenseError> {
        let (header, rest) = DescriptorSenseHeader::ref_from_prefix(bytes)
            .map_err(|_| SenseError::SenseTooShort { len: bytes.len() })?;
        let key = SenseKey::from_low_nibble(header.sense_key);
        let code = header.additional_sense_code;
        let additional = AdditionalSense { code, qualifier: header.additional_sense_code_qualifier };
        let mut sense = Self::new(key, additional);
        let mut rest = &rest[..rest.len().min(header.additional_sense_length.into())];
        while let [kind, additional_length, ..] = *rest {
            let len = 2 + usize::from(additional_length);
            let Some((descriptor, behind)) = rest.split_at_checked(len) else { break };
            match kind {
                INFORMATION_DESCRIPTOR => {
                    if let Ok(information) = InformationDescriptor::ref_from_bytes(descriptor) {
                        sense.information = Some(information.information.get());
                    }
                }
                SENSE_KEY_SPECIFIC_DESCRIPTOR => {
                    if let Ok(specific) = SenseKeySpecificDescriptor::ref_from_bytes(descriptor) {
                        sense.field = FieldPointer::decode(key, specific.sense_key_specific);
                    }
                }
                _ => {}
            }
            rest = behind;
        }
        Ok(sense)
    }
}

impl FieldPointer {
    const SKSV: u8 = 0x80;
    const IN_CDB: u8 = 0x40;
    const BIT_POINTER_VALID: u8 = 0x08;

    fn encode(self) -> [u8; 3] {
        let in_cdb = if self.in_cdb { Self::IN_CDB } else { 0 };
        let bit = self.bit.map_or(0, |bit| Self::BIT_POINTER_VALID | (bit & 0x07));
        let [high, low] = U16::new(self.byte).to_bytes();
        [Self::SKSV | in_cdb | bit, high, low]
    }

    /// The three bytes mean a field only with ILLEGAL REQUEST.
    fn decode(key: SenseKey, [flags, high, low]: [u8; 3]) -> Option<Self> {
        (key == SenseKey::IllegalRequest && flags & Self::SKSV != 0).then(|| Self {
            in_cdb: flags & Self::IN_CDB != 0,
            byte: u16::from_be_bytes([high, low]),
            bit: (flags & Self::BIT_POINTER_VALID != 0).then_some(flags & 0x07),
        })
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.key, self.additional)?;
        if let Some(information) = self.information {
            write!(f, ", information {information}")?;
        }
        if let Some(field) = self.field {
            let place = if field.in_cdb { "CDB" } else { "parameter list" };
            write!(f, ", byte {} of the {place}", field.byte)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
