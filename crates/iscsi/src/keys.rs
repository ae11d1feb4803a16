//! The text keys of RFC 7143 chapters 12 and 13, in one table: what is negotiated, how, within which limits, and what
//! holds if nobody says anything.

/// Names a key of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum KeyId {
    AuthMethod,
    ChapA,
    ChapI,
    ChapC,
    ChapN,
    ChapR,
    HeaderDigest,
    DataDigest,
    MaxConnections,
    SendTargets,
    TargetName,
    InitiatorName,
    TargetAlias,
    InitiatorAlias,
    TargetAddress,
    TargetPortalGroupTag,
    InitialR2T,
    ImmediateData,
    MaxRecvDataSegmentLength,
    MaxBurstLength,
    FirstBurstLength,
    DefaultTime2Wait,
    DefaultTime2Retain,
    MaxOutstandingR2T,
    DataPduInOrder,
    DataSequenceInOrder,
    ErrorRecoveryLevel,
    SessionType,
    TaskReporting,
    ProtocolLevel,
    IfMarker,
    OfMarker,
    IfMarkInt,
    OfMarkInt,
    NodeArchitecture,
}

/// How the value of a key comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// One side says it; there is no answer.
    DeclaredText,
    /// One side says a number within these bounds; there is no answer.
    DeclaredNumber(u32, u32),
    /// The first value of the offered list that the other side supports.
    List(&'static [&'static str]),
    /// Yes only if both say Yes.
    And,
    /// Yes if one says Yes.
    Or,
    /// The lower of two numbers within these bounds.
    Minimum(u32, u32),
    /// The higher of two numbers within these bounds.
    Maximum(u32, u32),
    /// A key of a text request, not of a login.
    TextRequest,
    /// A key of the security stage: its values follow from one another, not from a rule of its own.
    Security,
    /// No longer in use: this is the answer (RFC 7143 section 13.25).
    Obsolete(&'static str),
}

/// A text key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its name on the wire.
    pub name: &'static str,
    /// What holds without negotiation; empty where nothing does.
    pub default: &'static str,
    /// How its value comes about.
    pub rule: Rule,
    /// Whether it has no meaning in a discovery session.
    pub irrelevant_in_discovery: bool,
    /// Section of RFC 7143 (or another RFC where it says so).
    pub section: &'static str,
}

/// The largest length of a data segment or burst that can be declared, in bytes.
pub const LENGTH_MAX: u32 = (1 << 24) - 1;
/// The smallest, in bytes.
pub const LENGTH_MIN: u32 = 512;

/// Bytes of a value at most, unless its key says otherwise (RFC 7143 section 6.1).
pub const VALUE_BYTES_MAX: usize = 255;
/// Bytes of a large binary value at most, as bytes.
pub const BINARY_BYTES_MAX: usize = 1024;
/// The same as text.
const LARGE_VALUE_BYTES_MAX: usize = 2 + 2 * BINARY_BYTES_MAX;

const fn key(
    id: KeyId,
    name: &'static str,
    default: &'static str,
    rule: Rule,
    irrelevant_in_discovery: bool,
    section: &'static str,
) -> Key {
    Key { id, name, default, rule, irrelevant_in_discovery, section }
}

/// All keys that are understood.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key(KeyId::AuthMethod, "AuthMethod", "", Rule::Security, false, "12.1"),
    key(KeyId::ChapA, "CHAP_A", "", Rule::Security, false, "12.1.3"),
    key(KeyId::ChapI, "CHAP_I", "", Rule::Security, false, "12.1.3"),
    key(KeyId::ChapC, "CHAP_C", "", Rule::Security, false, "12.1.3"),
    key(KeyId::ChapN, "CHAP_N", "", Rule::Security, false, "12.1.3"),
    key(KeyId::ChapR, "CHAP_R", "", Rule::Security, false, "12.1.3"),
    key(KeyId::HeaderDigest, "HeaderDigest", "None", Rule::List(&["None", "CRC32C"]), false, "13.1"),
    key(KeyId::DataDigest, "DataDigest", "None", Rule::List(&["None", "CRC32C"]), false, "13.1"),
    key(KeyId::MaxConnections, "MaxConnections", "1", Rule::Minimum(1, 65535), true, "13.2"),
    key(KeyId::SendTargets, "SendTargets", "", Rule::TextRequest, false, "13.3"),
    key(KeyId::TargetName, "TargetName", "", Rule::DeclaredText, false, "13.4"),
    key(KeyId::InitiatorName, "InitiatorName", "", Rule::DeclaredText, false, "13.5"),
    key(KeyId::TargetAlias, "TargetAlias", "", Rule::DeclaredText, false, "13.6"),
    key(KeyId::InitiatorAlias, "InitiatorAlias", "", Rule::DeclaredText, false, "13.7"),
    key(KeyId::TargetAddress, "TargetAddress", "", Rule::DeclaredText, false, "13.8"),
    key(KeyId::TargetPortalGroupTag, "TargetPortalGroupTag", "", Rule::DeclaredNumber(0, 65535), false, "13.9"),
    key(KeyId::InitialR2T, "InitialR2T", "Yes", Rule::Or, true, "13.10"),
    key(KeyId::ImmediateData, "ImmediateData", "Yes", Rule::And, true, "13.11"),
    key(KeyId::MaxRecvDataSegmentLength, "MaxRecvDataSegmentLength", "8192",
        Rule::DeclaredNumber(LENGTH_MIN, LENGTH_MAX), false, "13.12"),
    key(KeyId::MaxBurstLength, "MaxBurstLength", "262144", Rule::Minimum(LENGTH_MIN, LENGTH_MAX), true, "13.13"),
    key(KeyId::FirstBurstLength, "FirstBurstLength", "65536", Rule::Minimum(LENGTH_MIN, LENGTH_MAX), true, "13.14"),
    key(KeyId::DefaultTime2Wait, "DefaultTime2Wait", "2", Rule::Maximum(0, 3600), false, "13.15"),
    key(KeyId::DefaultTime2Retain, "DefaultTime2Retain", "20", Rule::Minimum(0, 3600), false, "13.16"),
    key(KeyId::MaxOutstandingR2T, "MaxOutstandingR2T", "1", Rule::Minimum(1, 65535), true, "13.17"),
    key(KeyId::DataPduInOrder, "DataPDUInOrder", "Yes", Rule::Or, true, "13.18"),
    key(KeyId::DataSequenceInOrder, "DataSequenceInOrder", "Yes", Rule::Or, true, "13.19"),
    key(KeyId::ErrorRecoveryLevel, "ErrorRecoveryLevel", "0", Rule::Minimum(0, 2), false, "13.20"),
    key(KeyId::SessionType, "SessionType", "Normal", Rule::DeclaredText, false, "13.21"),
    key(KeyId::TaskReporting, "TaskReporting", "RFC3720", Rule::List(&["RFC3720"]), true, "13.23"),
    key(KeyId::ProtocolLevel, "iSCSIProtocolLevel", "1", Rule::Minimum(0, 31), true, "13.24"),
    key(KeyId::IfMarker, "IFMarker", "No", Rule::Obsolete("No"), false, "13.25"),
    key(KeyId::OfMarker, "OFMarker", "No", Rule::Obsolete("No"), false, "13.25"),
    key(KeyId::IfMarkInt, "IFMarkInt", "", Rule::Obsolete("Reject"), false, "13.25"),
    key(KeyId::OfMarkInt, "OFMarkInt", "", Rule::Obsolete("Reject"), false, "13.25"),
    key(KeyId::NodeArchitecture, "NodeArchitecture", "", Rule::DeclaredText, false, "13.26"),
];

const _: () = assert!(KEYS.len() <= u64::BITS as usize, "a set of keys is one u64");

impl Key {
    /// Bytes of a value of this key at most: 255, and for a large binary value what 1024 bytes take in hexadecimal
    /// (RFC 7143 sections 6.1 and 12.1.3).
    #[must_use]
    pub const fn value_bytes_max(&self) -> usize {
        match self.id {
            KeyId::ChapC | KeyId::ChapR => LARGE_VALUE_BYTES_MAX,
            _ => VALUE_BYTES_MAX,
        }
    }
}

/// The key with this name; names are case-sensitive.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key with this id.
#[must_use]
pub fn by_id(id: KeyId) -> &'static Key {
    &KEYS[id as usize]
}

/// A number as RFC 7143 section 6.1 writes it: decimal, or hexadecimal behind `0x`.
#[must_use]
pub fn parse_number(value: &str) -> Option<u32> {
    let hex = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"));
    let digits = hex.unwrap_or(value);
    let radix = if hex.is_some() { 16 } else { 10 };
    // from_str_radix accepts a sign, RFC 7143 does not.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// `Yes` or `No`.
#[must_use]
pub fn parse_boolean(value: &str) -> Option<bool> {
    match value {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// How a boolean is written.
#[must_use]
pub const fn boolean(value: bool) -> &'static str {
    if value { "Yes" } else { "No" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids() {
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(key.id as usize, index, "{}", key.name);
            assert_eq!(find(key.name).unwrap().id, key.id);
        }
    }

    #[test]
    fn defaults_keep_their_own_rules() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            match key.rule {
                Rule::And | Rule::Or => assert!(parse_boolean(key.default).is_some(), "{}", key.name),
                Rule::Minimum(low, high) | Rule::Maximum(low, high) | Rule::DeclaredNumber(low, high) => {
                    assert!((low..=high).contains(&parse_number(key.default).unwrap()), "{}", key.name);
                }
                Rule::List(values) => assert!(values.contains(&key.default), "{}", key.name),
                _ => {}
            }
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal_without_sign() {
        assert_eq!(parse_number("262144"), Some(262_144));
        assert_eq!(parse_number("0x40000"), Some(262_144));
        for bad in ["", "+1", "-1", "1k", "0x", "ff", "99999999999"] {
            assert_eq!(parse_number(bad), None, "{bad}");
        }
    }
}
