//! What a hostile initiator, or something that is none, sends. Layouts by RFC 7143 section 11.

use super::random::Random;

const BHS_BYTES: usize = 48;
const NO_TAG: [u8; 4] = [0xff; 4];

/// A kind of attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Bytes that are no iSCSI.
    Noise,
    /// A login that ends in the middle.
    HalfLogin,
    /// A login with some bytes changed.
    WrongLogin,
    /// Headers of random bytes after a login.
    RandomHeader,
    /// Data segments that are longer than said, or never come.
    LyingLength,
    /// Writes with more data than they take, all of it announced.
    TooMuch,
    /// Additional header segments that do not fit together.
    Ahs,
    /// Digests that are wrong.
    Digest,
    /// Commands outside the window, or with a number that was used.
    CmdSn,
    /// Data-Out that nothing asked for.
    DataOut,
    /// Valid commands with some bits changed.
    Flipped,
    /// Requests that are no command, with random fields.
    Others,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Noise,
        Self::HalfLogin,
        Self::WrongLogin,
        Self::RandomHeader,
        Self::LyingLength,
        Self::TooMuch,
        Self::Ahs,
        Self::Digest,
        Self::CmdSn,
        Self::DataOut,
        Self::Flipped,
        Self::Others,
    ];
}

/// Everything that one connection of this kind sends, with `count` malformed PDUs.
pub(crate) fn connection(random: &mut Random, target: &str, kind: Kind, count: u64) -> Vec<u8> {
    let good =
        login(target, if kind == Kind::Digest { "HeaderDigest=CRC32C\0DataDigest=CRC32C\0" } else { "" });
    match kind {
        Kind::Noise => (0..count).flat_map(|_| sized_noise(random)).collect(),
        Kind::HalfLogin => good[..random.below(good.len() as u64) as usize].to_vec(),
        Kind::WrongLogin => (0..count).flat_map(|_| flip(random, good.clone(), 4)).collect(),
        _ => (0..count).fold(good, |sent, n| [sent, after_login(random, kind, n as u32)].concat()),
    }
}

/// A login in one request, for a session of any kind of data.
pub(crate) fn login(target: &str, more: &str) -> Vec<u8> {
    let text = format!(
        "InitiatorName=iqn.2026-01.io.evenkeel:hostile\0TargetName={target}\0SessionType=Normal\0InitialR2T=No\0\
         ImmediateData=Yes\0{more}"
    );
    // Immediate; transit from the operational stage to the full feature phase.
    let mut header = header(0x43, 0x87, text.len());
    header[8..14].copy_from_slice(&[0x80, 9, 9, 9, 9, 9]);
    header[24..28].copy_from_slice(&1u32.to_be_bytes());
    padded(header, text.as_bytes())
}

/// Bytes for the port where other servers connect: noise, sometimes behind the start of a frame.
pub(crate) fn peer(random: &mut Random) -> Vec<u8> {
    let start: &[u8] = if random.below(2) == 0 { b"EvKp\x01\0" } else { b"" };
    [start, &sized_noise(random)].concat()
}

fn sized_noise(random: &mut Random) -> Vec<u8> {
    let len = 1 + random.below(300);
    random.bytes(len)
}

fn after_login(random: &mut Random, kind: Kind, n: u32) -> Vec<u8> {
    match kind {
        Kind::RandomHeader => {
            let mut header = random.bytes(BHS_BYTES as u64);
            // Mostly short, so that more than one header is looked at.
            if random.below(4) != 0 {
                header[4..8].copy_from_slice(&[0; 4]);
            }
            header
        }
        Kind::LyingLength => {
            let mut header = write_command(random, n);
            let lie = random.next() as u32 | 1 << random.below(24);
            header[5..8].copy_from_slice(&lie.to_be_bytes()[1..]);
            [header, sized_noise(random)].concat()
        }
        Kind::TooMuch => {
            let data = random.bytes(2048);
            let mut header = write_command(random, n);
            header[32] = 0x2a;
            header[6..8].copy_from_slice(&(data.len() as u16).to_be_bytes());
            header[20..24].copy_from_slice(&(data.len() as u32).to_be_bytes());
            padded(header, &data)
        }
        Kind::Ahs => {
            let mut header = write_command(random, n);
            header[4] = 1 + random.below(255) as u8;
            let len = u64::from(header[4]) * 4;
            [header, random.bytes(len)].concat()
        }
        Kind::Digest => [write_command(random, n), random.bytes(4)].concat(),
        Kind::CmdSn => {
            let mut header = write_command(random, n);
            let number = [0u32, 1, 200, 0x8000_0001, u32::MAX][random.below(5) as usize];
            header[24..28].copy_from_slice(&number.to_be_bytes());
            header
        }
        Kind::DataOut => {
            let data = random.bytes(64);
            let mut header = header(0x05, 0x80, data.len());
            header[16..20].copy_from_slice(&(random.below(8) as u32).to_be_bytes());
            let tag = if random.below(2) == 0 { NO_TAG } else { (random.below(8) as u32).to_be_bytes() };
            header[20..24].copy_from_slice(&tag);
            header[40..44].copy_from_slice(&(random.next() as u32).to_be_bytes());
            padded(header, &data)
        }
        Kind::Flipped => {
            let command = write_command(random, n);
            flip(random, command, 3)
        }
        _ => {
            // NOP-Out, task management, text, logout, SNACK, and codes that are reserved.
            let opcode =
                [0x00, 0x40, 0x02, 0x42, 0x04, 0x44, 0x06, 0x10, 0x1c, 0x3f][random.below(10) as usize];
            let mut pdu = random.bytes(BHS_BYTES as u64);
            pdu[0] = opcode;
            let len = random.below(40);
            pdu[4..8].copy_from_slice(&(len as u32).to_be_bytes());
            padded(pdu, &random.bytes(len))
        }
    }
}

/// A WRITE(10) of one block with its number in order, whose data is to be asked for.
fn write_command(random: &mut Random, n: u32) -> Vec<u8> {
    let mut header = header(0x01, 0xa1, 0);
    header[16..20].copy_from_slice(&(n + 2).to_be_bytes());
    header[20..24].copy_from_slice(&512u32.to_be_bytes());
    header[24..28].copy_from_slice(&(n + 1).to_be_bytes());
    header[32] = [0x2a, 0x28, 0x42, 0x41, 0x89, 0x35][random.below(6) as usize];
    header[40] = 1;
    header
}

fn header(opcode: u8, flags: u8, data_len: usize) -> Vec<u8> {
    let mut header = vec![0; BHS_BYTES];
    (header[0], header[1]) = (opcode, flags);
    header[4..8].copy_from_slice(&(data_len as u32).to_be_bytes());
    header
}

fn padded(mut header: Vec<u8>, data: &[u8]) -> Vec<u8> {
    header.extend_from_slice(data);
    header.resize(header.len().next_multiple_of(4), 0);
    header
}

/// Changes up to `most` bytes, at least one.
fn flip(random: &mut Random, mut bytes: Vec<u8>, most: u64) -> Vec<u8> {
    for _ in 0..=random.below(most) {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
    bytes
}
