//! Output of a connection: PDUs in order, given out as slices for one gathering write. Payloads are shared, never
//! copied.

use crate::digest::{DIGEST_BYTES, Digests, digest, padded_digest, padding_of};
use crate::pdu::{BHS_BYTES, Bhs, U24};
use evenkeel_types::Payload;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Up to three bytes of padding and a digest.
const TRAILER_BYTES_MAX: usize = 3 + DIGEST_BYTES;

#[derive(Debug)]
struct OutgoingPdu {
    header: [u8; BHS_BYTES + DIGEST_BYTES],
    header_len: u8,
    trailer: [u8; TRAILER_BYTES_MAX],
    trailer_len: u8,
    payload: Payload,
}

impl OutgoingPdu {
    fn len(&self) -> usize {
        usize::from(self.header_len) + self.payload.len() + usize::from(self.trailer_len)
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let header = &self.header[..usize::from(self.header_len)];
        let trailer = &self.trailer[..usize::from(self.trailer_len)];
        std::iter::once(header)
            .chain(self.payload.pieces().map(|piece| &piece[..]))
            .chain(std::iter::once(trailer))
    }
}

/// The sending half of a connection.
#[derive(Debug, Default)]
pub(crate) struct Transmitter {
    queue: VecDeque<OutgoingPdu>,
    /// Bytes of the first PDU that are gone already.
    sent_of_first: usize,
    /// Bytes of all payloads in the queue.
    payload_bytes: usize,
    digests: Digests,
    bytes_sent: u64,
}

impl Transmitter {
    /// PDUs that are queued from now on carry these digests.
    pub(crate) fn agree(&mut self, digests: Digests) {
        self.digests = digests;
    }

    /// Queues a PDU. The data segment length is filled in.
    pub(crate) fn push(&mut self, mut bhs: Bhs, payload: Payload) {
        let len = u32::try_from(payload.len()).expect("a data segment is shorter than 16 MiB");
        bhs.data_segment_len = U24::new(len);
        let mut pdu = OutgoingPdu {
            header: [0; BHS_BYTES + DIGEST_BYTES],
            header_len: BHS_BYTES as u8,
            trailer: [0; TRAILER_BYTES_MAX],
            trailer_len: padding_of(payload.len()) as u8,
            payload,
        };
        pdu.header[..BHS_BYTES].copy_from_slice(&bhs.to_bytes());
        if self.digests.header {
            let covered = digest(&pdu.header[..BHS_BYTES]);
            pdu.header[BHS_BYTES..].copy_from_slice(&covered);
            pdu.header_len += DIGEST_BYTES as u8;
        }
        if self.digests.data && !pdu.payload.is_empty() {
            let covered = padded_digest(pdu.payload.pieces().map(|piece| &piece[..]));
            let at = usize::from(pdu.trailer_len);
            pdu.trailer[at..at + DIGEST_BYTES].copy_from_slice(&covered);
            pdu.trailer_len += DIGEST_BYTES as u8;
        }
        self.payload_bytes += pdu.payload.len();
        self.queue.push_back(pdu);
    }

    /// Fills in as many slices of the output as there are and fit; says how many.
    pub(crate) fn gather<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut skip = self.sent_of_first;
        for part in self.queue.iter().flat_map(OutgoingPdu::parts) {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let Some(slot) = out.get_mut(used) else { break };
            *slot = IoSlice::new(&part[skip..]);
            skip = 0;
            used += 1;
        }
        used
    }

    /// That many bytes of the output are gone.
    pub(crate) fn advance(&mut self, n: usize) {
        self.bytes_sent += n as u64;
        self.sent_of_first += n;
        while let Some(first) = self.queue.front() {
            let len = first.len();
            if self.sent_of_first < len {
                return;
            }
            self.sent_of_first -= len;
            self.payload_bytes -= first.payload.len();
            self.queue.pop_front();
        }
        assert_eq!(self.sent_of_first, 0, "no more is sent than there was");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// PDUs that wait.
    pub(crate) fn pdus(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of data segments that wait.
    pub(crate) const fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Bytes sent since the start.
    pub(crate) const fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}

#[cfg(test)]
mod tests;
