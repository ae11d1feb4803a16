//! iSCSI TransportIDs: initiator ports as PERSISTENT RESERVE IN and OUT name them (SPC-4 clause 7.6.4.6).

use super::name::{InitiatorPort, NAME_BYTES_MAX};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Head of an iSCSI TransportID.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    format_and_protocol: u8,
    reserved: u8,
    additional_length: U16,
}
const _: () = assert!(size_of::<Header>() == 4);

/// PROTOCOL IDENTIFIER of iSCSI.
const ISCSI: u8 = 0x05;
const PROTOCOL_MASK: u8 = 0x0f;
/// FORMAT CODE 00b: an initiator device, and 01b: an initiator port; in the two upper bits.
const DEVICE: u8 = 0x00;
const PORT: u8 = 0x40;
const FORMAT_MASK: u8 = 0xc0;
const ADDITIONAL_LENGTH_MIN: usize = 20;
/// What is between name and ISID.
const SEPARATOR: &str = ",i,0x";
const ISID_DIGITS: usize = 12;

/// Bytes of a TransportID that [`encode`] gives at most.
pub const TRANSPORT_ID_BYTES_MAX: usize =
    size_of::<Header>() + (NAME_BYTES_MAX + SEPARATOR.len() + ISID_DIGITS + 1).next_multiple_of(4);

/// What a TransportID names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TransportId {
    /// One initiator port.
    Port(InitiatorPort),
    /// All ports of the initiator with this name, in lower case.
    Device(String),
}

/// The TransportID of an initiator port.
#[must_use]
pub fn encode(port: &InitiatorPort) -> Vec<u8> {
    // The text of a port is its name, the separator and the ISID; at least one NUL ends it.
    let text = port.to_string();
    let additional = (text.len() + 1).next_multiple_of(4).max(ADDITIONAL_LENGTH_MIN);
    let header = Header {
        format_and_protocol: PORT | ISCSI,
        reserved: 0,
        additional_length: (additional as u16).into(),
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(size_of::<Header>() + additional, 0);
    bytes
}

/// The TransportID at the start of `bytes`, and what is behind it. `None` if it is cut off, of another transport, of an
/// unknown format, or names nothing that an initiator can be.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(TransportId, &[u8])> {
    let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
    let additional = usize::from(header.additional_length.get());
    if header.format_and_protocol & PROTOCOL_MASK != ISCSI
        || additional < ADDITIONAL_LENGTH_MIN
        || !additional.is_multiple_of(4)
    {
        return None;
    }
    let (text, rest) = rest.split_at_checked(additional)?;
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).ok()?;
    let id = match header.format_and_protocol & FORMAT_MASK {
        DEVICE => TransportId::Device(InitiatorPort::new(text, [0; 6])?.name().to_owned()),
        PORT => {
            let (name, digits) = text.rsplit_once(SEPARATOR)?;
            TransportId::Port(InitiatorPort::new(name, parse_isid(digits)?)?)
        }
        _ => return None,
    };
    Some((id, rest))
}

/// An ISID of up to twelve hexadecimal digits; leading zeros may be left out.
fn parse_isid(digits: &str) -> Option<[u8; 6]> {
    if digits.is_empty()
        || digits.len() > ISID_DIGITS
        || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return None;
    }
    let [_, _, isid @ ..] = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(isid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> InitiatorPort {
        InitiatorPort::new(name, [0x40, 0, 0, 0, 0x0a, 0xff]).unwrap()
    }

    #[test]
    fn a_port_is_named_by_its_name_and_isid_and_padded() {
        let bytes = encode(&port("iqn.a"));
        assert_eq!(bytes[..4], [0x45, 0, 0, 24]);
        assert_eq!(&bytes[4..], b"iqn.a,i,0x400000000aff\0\0");
        assert_eq!(parse(&bytes), Some((TransportId::Port(port("iqn.a")), &[][..])));
    }

    #[test]
    fn the_longest_name_has_room_and_the_shortest_is_filled_up() {
        for len in [1, 4, 5, 6, 7, NAME_BYTES_MAX] {
            let port = port(&"n".repeat(len));
            let mut bytes = encode(&port);
            assert!(
                bytes.len().is_multiple_of(4) && bytes.len() >= 24 && bytes.len() <= TRANSPORT_ID_BYTES_MAX
            );
            assert_eq!(bytes.last(), Some(&0));
            bytes.extend_from_slice(b"more");
            assert_eq!(parse(&bytes), Some((TransportId::Port(port), &b"more"[..])));
        }
        assert_eq!(encode(&port(&"n".repeat(NAME_BYTES_MAX))).len(), TRANSPORT_ID_BYTES_MAX);
    }

    #[test]
    fn a_device_stands_for_all_its_ports() {
        let mut bytes = vec![0x05, 0, 0, 20];
        bytes.extend_from_slice(b"iqn.2026-01.TEST:b\0\xff");
        assert_eq!(parse(&bytes), Some((TransportId::Device("iqn.2026-01.test:b".to_owned()), &[][..])));
    }

    #[test]
    fn what_names_no_initiator_is_refused() {
        let good = encode(&port("iqn.2026-01.test:host"));
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let text = |text: &str| {
            let mut bytes = vec![0x45, 0, 0, 40];
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(44, 0);
            bytes
        };
        assert!(parse(&text("iqn.a,i,0x1")).is_some(), "leading zeros of an ISID may be missing");
        let refused = [
            good[..good.len() - 1].to_vec(),
            good[..3].to_vec(),
            changed(0, 0x46),
            changed(0, 0x85),
            changed(3, 16),
            changed(3, 25),
            changed(4, 0),
            changed(4, 0xff),
            text("iqn.a"),
            text("iqn.a,i,0x"),
            text("iqn.a,i,0x4000000000001"),
            text("iqn.a,i,0x+1"),
            text(",i,0x1"),
        ];
        for bytes in refused {
            assert_eq!(parse(&bytes), None, "{bytes:02x?}");
        }
    }
}
