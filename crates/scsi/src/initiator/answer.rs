//! Readers of data that logical units answer.

use crate::capacity::{Capacity10, Capacity16, PROVISIONING_MANAGED, UNMAPPED_READ_AS_ZEROS};
use crate::vpd;
use snafu::{OptionExt, Snafu, ensure};
use zerocopy::FromBytes;

/// Data that is not an answer to the command.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum AnswerError {
    /// There are fewer bytes than the format needs.
    #[snafu(display("{what}: {len} bytes are too few"))]
    AnswerTooShort {
        /// What was to be read.
        what: &'static str,
        /// How many bytes there are.
        len: usize,
    },
    /// A page was answered that was not asked for.
    #[snafu(display("{what}: the answer is page {page:02x}h"))]
    PageUnexpected {
        /// What was to be read.
        what: &'static str,
        /// The answered page.
        page: u8,
    },
    /// A field has a value that makes no sense.
    #[snafu(display("{what}: {field} is {value}"))]
    FieldInvalid {
        /// What was to be read.
        what: &'static str,
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
}

/// Size of a logical unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Number of logical blocks.
    pub blocks: u64,
    /// Size of a logical block in bytes.
    pub block_bytes: u32,
    /// Logical blocks of a physical block.
    pub blocks_per_physical: u32,
    /// Whether it is thin provisioned (LBPME).
    pub thin: bool,
    /// Whether unmapped blocks read as zeros (LBPRZ).
    pub reads_zeros: bool,
}

impl Capacity {
    /// Reads READ CAPACITY(10) data; `None` if the size does not fit and READ CAPACITY(16) must be asked.
    ///
    /// # Errors
    /// If it is too short or says that blocks have no size.
    pub fn parse_10(bytes: &[u8]) -> Result<Option<Self>, AnswerError> {
        let what = "READ CAPACITY(10)";
        let len = bytes.len();
        let (data, _) = Capacity10::ref_from_prefix(bytes).ok().context(AnswerTooShortSnafu { what, len })?;
        let block_bytes = data.block_bytes.get();
        ensure!(block_bytes > 0, FieldInvalidSnafu { what, field: "BLOCK LENGTH", value: 0u64 });
        Ok((data.last_lba.get() != u32::MAX).then(|| Self {
            blocks: u64::from(data.last_lba.get()) + 1,
            block_bytes,
            blocks_per_physical: 1,
            thin: false,
            reads_zeros: false,
        }))
    }

    /// Reads READ CAPACITY(16) data.
    ///
    /// # Errors
    /// If it is too short or says that blocks have no size.
    pub fn parse_16(bytes: &[u8]) -> Result<Self, AnswerError> {
        let what = "READ CAPACITY(16)";
        let len = bytes.len();
        let (data, _) = Capacity16::ref_from_prefix(bytes).ok().context(AnswerTooShortSnafu { what, len })?;
        let (block_bytes, last_lba) = (data.block_bytes.get(), data.last_lba.get());
        ensure!(block_bytes > 0, FieldInvalidSnafu { what, field: "BLOCK LENGTH", value: 0u64 });
        let blocks = last_lba.checked_add(1).context(FieldInvalidSnafu {
            what,
            field: "RETURNED LOGICAL BLOCK ADDRESS",
            value: last_lba,
        })?;
        let provisioning = data.provisioning_and_lowest_aligned_lba.get();
        Ok(Self {
            blocks,
            block_bytes,
            blocks_per_physical: 1 << (data.per_physical_exponent & 0x0f),
            thin: provisioning & PROVISIONING_MANAGED != 0,
            reads_zeros: provisioning & UNMAPPED_READ_AS_ZEROS != 0,
        })
    }

    /// Size in bytes, if it fits.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.blocks.checked_mul(self.block_bytes.into())
    }
}

/// Standard INQUIRY data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InquiryData {
    /// PERIPHERAL QUALIFIER; zero if there is a logical unit.
    pub qualifier: u8,
    /// PERIPHERAL DEVICE TYPE; zero for disks.
    pub device_type: u8,
    /// T10 VENDOR IDENTIFICATION.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION.
    pub product: String,
    /// PRODUCT REVISION LEVEL.
    pub revision: String,
}

impl InquiryData {
    /// Reads standard INQUIRY data.
    ///
    /// # Errors
    /// If it is shorter than 36 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let text = |at: std::ops::Range<usize>| {
            let text = bytes.get(at).context(AnswerTooShortSnafu { what: "INQUIRY", len: bytes.len() })?;
            Ok(String::from_utf8_lossy(text).trim_end_matches([' ', '\0']).to_owned())
        };
        Ok(Self {
            vendor: text(8..16)?,
            product: text(16..32)?,
            revision: text(32..36)?,
            qualifier: bytes[0] >> 5,
            device_type: bytes[0] & 0x1f,
        })
    }
}

/// What the Block Limits page says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockLimits {
    /// Blocks of a COMPARE AND WRITE at most; zero if it is not supported.
    pub compare_and_write_blocks_max: u8,
    /// Blocks of a transfer at most; zero if there is no limit.
    pub transfer_blocks_max: u32,
    /// Blocks of an UNMAP at most; zero if it is not supported.
    pub unmap_blocks_max: u32,
    /// Descriptors of an UNMAP at most.
    pub unmap_descriptors_max: u32,
    /// Blocks of a WRITE SAME at most; zero if there is no limit.
    pub write_same_blocks_max: u64,
}

impl BlockLimits {
    /// Reads the Block Limits page, header included.
    ///
    /// # Errors
    /// If it is another page or too short.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let what = "Block Limits";
        let body = page_body(bytes, vpd::code::BLOCK_LIMITS, what)?;
        let (page, _) = vpd::BlockLimits::ref_from_prefix(body)
            .ok()
            .context(AnswerTooShortSnafu { what, len: bytes.len() })?;
        Ok(Self {
            compare_and_write_blocks_max: page.maximum_compare_and_write_length,
            transfer_blocks_max: page.maximum_transfer_length.get(),
            unmap_blocks_max: page.maximum_unmap_lba_count.get(),
            unmap_descriptors_max: page.maximum_unmap_block_descriptor_count.get(),
            write_same_blocks_max: page.maximum_write_same_length.get(),
        })
    }
}

/// The serial number in the Unit Serial Number page.
///
/// # Errors
/// If it is another page or too short.
pub fn parse_serial_number(bytes: &[u8]) -> Result<String, AnswerError> {
    let body = page_body(bytes, vpd::code::UNIT_SERIAL_NUMBER, "Unit Serial Number")?;
    Ok(String::from_utf8_lossy(body).trim().to_owned())
}

/// The LUNs in REPORT LUNS data, as far as they were not cut off by the allocation length.
///
/// # Errors
/// If it is shorter than its header.
pub fn parse_luns(bytes: &[u8]) -> Result<Vec<u64>, AnswerError> {
    let what = "REPORT LUNS";
    let (header, list) =
        bytes.split_first_chunk::<8>().context(AnswerTooShortSnafu { what, len: bytes.len() })?;
    let [a, b, c, d, ..] = *header;
    let len = list.len().min(u32::from_be_bytes([a, b, c, d]) as usize);
    Ok(list[..len].as_chunks().0.iter().map(|lun| u64::from_be_bytes(*lun)).collect())
}

/// What is behind the header of a vital product data page, as far as it was not cut off.
fn page_body<'a>(bytes: &'a [u8], code: u8, what: &'static str) -> Result<&'a [u8], AnswerError> {
    let (header, body) =
        bytes.split_first_chunk::<4>().context(AnswerTooShortSnafu { what, len: bytes.len() })?;
    let [_, page, high, low] = *header;
    ensure!(page == code, PageUnexpectedSnafu { what, page });
    Ok(&body[..body.len().min(u16::from_be_bytes([high, low]).into())])
}
