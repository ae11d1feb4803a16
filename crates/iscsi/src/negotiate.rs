//! Negotiation of the operational parameters (RFC 7143 sections 6.2 and 13): offers, answers and what was agreed, by
//! the rules of the table in [`crate::keys`]; the same code at both ends.

use crate::digest::Digests;
use crate::keys::{self, Key, KeyId, LENGTH_MAX, LENGTH_MIN, Rule};
use crate::text::TextWriter;
use snafu::{Snafu, ensure};

/// Bytes of a data segment that a side accepts unless it declares something else.
pub const DEFAULT_SEGMENT_BYTES: u32 = 8192;

/// What a side does about a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestPolicy {
    /// Never.
    Refuse,
    /// If the other side wants it.
    Allow,
    /// Always; a peer that cannot is refused.
    Require,
}

impl DigestPolicy {
    const fn offer(self) -> &'static str {
        match self {
            Self::Refuse => "None",
            Self::Allow => "None,CRC32C",
            Self::Require => "CRC32C",
        }
    }

    fn supports(self, value: &str) -> bool {
        match value {
            "None" => self != Self::Require,
            "CRC32C" => self != Self::Refuse,
            _ => false,
        }
    }
}

/// What a side wants and can do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// About HeaderDigest.
    pub header_digest: DigestPolicy,
    /// About DataDigest.
    pub data_digest: DigestPolicy,
    /// Wish for R2T before all unsolicited Data-Out (InitialR2T); it holds if one side wishes it.
    pub initial_r2t: bool,
    /// Consent to immediate data (ImmediateData); it needs both sides.
    pub immediate_data: bool,
    /// Bytes of a data segment that this side accepts: MaxRecvDataSegmentLength.
    pub max_receive_segment: u32,
    /// Bytes of a burst at most: MaxBurstLength.
    pub max_burst: u32,
    /// Bytes of unsolicited data of a command at most: FirstBurstLength.
    pub first_burst: u32,
    /// R2Ts of a command that may be open at once: MaxOutstandingR2T.
    pub max_outstanding_r2t: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_digest: DigestPolicy::Allow,
            data_digest: DigestPolicy::Allow,
            initial_r2t: false,
            immediate_data: true,
            max_receive_segment: 256 << 10,
            max_burst: 1 << 20,
            first_burst: 64 << 10,
            max_outstanding_r2t: 8,
        }
    }
}

impl Settings {
    /// # Panics
    /// If a length or number is outside of the range of its key.
    pub(crate) fn check(&self) {
        for length in [self.max_receive_segment, self.max_burst, self.first_burst] {
            assert!(
                (LENGTH_MIN..=LENGTH_MAX).contains(&length),
                "{length} is no length that can be negotiated"
            );
        }
        assert!(self.first_burst <= self.max_burst, "FirstBurstLength is above MaxBurstLength");
        assert!((1..=65535).contains(&self.max_outstanding_r2t), "MaxOutstandingR2T is 1 to 65535");
    }

    fn boolean(&self, id: KeyId) -> bool {
        match id {
            KeyId::InitialR2T => self.initial_r2t,
            KeyId::ImmediateData => self.immediate_data,
            // Data in order is all that error recovery level 0 needs, and what every initiator does.
            KeyId::DataPduInOrder | KeyId::DataSequenceInOrder => true,
            other => unreachable!("{other:?} is no boolean key"),
        }
    }

    fn number(&self, id: KeyId) -> u32 {
        match id {
            KeyId::MaxRecvDataSegmentLength => self.max_receive_segment,
            KeyId::MaxBurstLength => self.max_burst,
            KeyId::FirstBurstLength => self.first_burst,
            KeyId::MaxOutstandingR2T => self.max_outstanding_r2t,
            KeyId::MaxConnections | KeyId::ProtocolLevel => 1,
            KeyId::DefaultTime2Wait => 2,
            KeyId::DefaultTime2Retain | KeyId::ErrorRecoveryLevel => 0,
            other => unreachable!("{other:?} is no negotiated number"),
        }
    }

    fn supports(&self, key: &Key, value: &str) -> bool {
        match key.id {
            KeyId::HeaderDigest => self.header_digest.supports(value),
            KeyId::DataDigest => self.data_digest.supports(value),
            _ => matches!(key.rule, Rule::List(values) if values.contains(&value)),
        }
    }
}

/// What holds in a session and on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// Digests of PDUs in the full feature phase.
    pub digests: Digests,
    /// Unsolicited Data-Out PDUs are not allowed.
    pub initial_r2t: bool,
    /// Data in SCSI Command PDUs is allowed.
    pub immediate_data: bool,
    /// Bytes of a data segment that the other side accepts.
    pub max_send_segment: u32,
    /// Bytes of a data segment that this side declared to accept.
    pub max_receive_segment: u32,
    /// Bytes of a sequence of Data-In or solicited Data-Out PDUs at most.
    pub max_burst: u32,
    /// Bytes of unsolicited data of a command at most, immediate data included.
    pub first_burst: u32,
    /// R2Ts of a command that may be open at once.
    pub max_outstanding_r2t: u32,
    /// Seconds before a reconnect.
    pub time2wait: u32,
    /// Seconds that tasks outlive a connection.
    pub time2retain: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            digests: Digests::default(),
            initial_r2t: true,
            immediate_data: true,
            max_send_segment: DEFAULT_SEGMENT_BYTES,
            max_receive_segment: DEFAULT_SEGMENT_BYTES,
            max_burst: 262_144,
            first_burst: 65_536,
            max_outstanding_r2t: 1,
            time2wait: 2,
            time2retain: 20,
        }
    }
}

impl Parameters {
    fn set_boolean(&mut self, id: KeyId, value: bool) {
        match id {
            KeyId::InitialR2T => self.initial_r2t = value,
            KeyId::ImmediateData => self.immediate_data = value,
            _ => {}
        }
    }

    fn set_number(&mut self, id: KeyId, value: u32) {
        match id {
            KeyId::MaxRecvDataSegmentLength => self.max_send_segment = value,
            KeyId::MaxBurstLength => self.max_burst = value,
            KeyId::FirstBurstLength => self.first_burst = value,
            KeyId::MaxOutstandingR2T => self.max_outstanding_r2t = value,
            KeyId::DefaultTime2Wait => self.time2wait = value,
            KeyId::DefaultTime2Retain => self.time2retain = value,
            _ => {}
        }
    }

    fn set_choice(&mut self, id: KeyId, value: &str) {
        match id {
            KeyId::HeaderDigest => self.digests.header = value == "CRC32C",
            KeyId::DataDigest => self.digests.data = value == "CRC32C",
            _ => {}
        }
    }
}

/// A negotiation that cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum NegotiationError {
    /// A key came twice (RFC 7143 section 6.3).
    #[snafu(display("the key {name} was given twice"))]
    Repeated {
        /// The key.
        name: &'static str,
    },
    /// An answer is not one that the rule of its key allows.
    #[snafu(display("the answer {name}={value} breaks the rule of its key"))]
    BadAnswer {
        /// The key.
        name: &'static str,
        /// The answer.
        value: String,
    },
}

/// Values that are not values but say that there is none (RFC 7143 section 6.2).
pub const NO_VALUES: [&str; 3] = ["NotUnderstood", "Irrelevant", "Reject"];

/// One side's view of a login's negotiation.
#[derive(Debug)]
pub struct Negotiation {
    ours: Settings,
    agreed: Parameters,
    /// Bit n: the key with id n came.
    seen: u64,
    /// Whether this is a discovery session.
    discovery: bool,
    declared_segment: bool,
}

impl Negotiation {
    /// A negotiation in which nothing was said yet.
    #[must_use]
    pub fn new(ours: Settings, discovery: bool) -> Self {
        ours.check();
        Self { ours, agreed: Parameters::default(), seen: 0, discovery, declared_segment: false }
    }

    /// The kind of session is known.
    pub fn set_discovery(&mut self, discovery: bool) {
        self.discovery = discovery;
    }

    /// What holds by what was said so far.
    #[must_use]
    pub const fn agreed(&self) -> &Parameters {
        &self.agreed
    }

    /// Notes that a key came.
    ///
    /// # Errors
    /// If it came before.
    pub fn note(&mut self, key: &'static Key) -> Result<(), NegotiationError> {
        let bit = bit_of(key.id);
        ensure!(self.seen & bit == 0, RepeatedSnafu { name: key.name });
        self.seen |= bit;
        Ok(())
    }

    /// Declares what this side accepts in a data segment, once.
    pub fn declare_segment(&mut self, out: &mut TextWriter) {
        if !self.declared_segment {
            self.declared_segment = true;
            self.agreed.max_receive_segment = self.ours.max_receive_segment;
            out.push("MaxRecvDataSegmentLength", &self.ours.max_receive_segment.to_string());
        }
    }

    /// Answers an operational key of the other side. The caller has noted the key and deals with names, session types
    /// and the keys of the security stage itself.
    pub fn respond(&mut self, key: &'static Key, value: &str, out: &mut TextWriter) {
        if NO_VALUES.contains(&value) {
            return;
        }
        if self.is_irrelevant(key) {
            return out.push(key.name, "Irrelevant");
        }
        match key.rule {
            Rule::DeclaredText | Rule::TextRequest | Rule::Security => {}
            Rule::DeclaredNumber(low, high) => match number_within(value, low, high) {
                Some(number) => self.agreed.set_number(key.id, number),
                None => out.push(key.name, "Reject"),
            },
            Rule::List(_) => self.choose(key, value, out),
            Rule::And | Rule::Or => match keys::parse_boolean(value) {
                Some(theirs) => {
                    let ours = self.ours.boolean(key.id);
                    let both = if key.rule == Rule::And { ours && theirs } else { ours || theirs };
                    self.agreed.set_boolean(key.id, both);
                    out.push(key.name, keys::boolean(both));
                }
                None => out.push(key.name, "Reject"),
            },
            Rule::Minimum(low, high) | Rule::Maximum(low, high) => match number_within(value, low, high) {
                Some(theirs) => {
                    let result = self.combine(key, theirs);
                    self.agreed.set_number(key.id, result);
                    out.push(key.name, &result.to_string());
                }
                None => out.push(key.name, "Reject"),
            },
            Rule::Obsolete(answer) => out.push(key.name, answer),
        }
    }

    fn combine(&self, key: &Key, theirs: u32) -> u32 {
        let ours = self.ours.number(key.id);
        match (key.rule, key.id) {
            (Rule::Maximum(..), _) => ours.max(theirs),
            // FirstBurstLength must not be above MaxBurstLength (RFC 7143 section 13.14).
            (_, KeyId::FirstBurstLength) => ours.min(theirs).min(self.agreed.max_burst),
            _ => ours.min(theirs),
        }
    }

    fn choose(&mut self, key: &'static Key, offered: &str, out: &mut TextWriter) {
        match offered.split(',').find(|value| self.ours.supports(key, value)) {
            Some(value) => {
                self.agreed.set_choice(key.id, value);
                out.push(key.name, value);
            }
            None => out.push(key.name, "Reject"),
        }
    }

    fn is_irrelevant(&self, key: &Key) -> bool {
        let no_unsolicited_data = self.agreed.initial_r2t && !self.agreed.immediate_data;
        let decided = [KeyId::InitialR2T, KeyId::ImmediateData].iter().all(|id| self.seen & bit_of(*id) != 0);
        self.discovery && key.irrelevant_in_discovery
            || key.id == KeyId::FirstBurstLength && no_unsolicited_data && decided
    }

    /// Whether the digests that this side requires were agreed.
    #[must_use]
    pub fn is_sufficient(&self) -> bool {
        let met = |policy, agreed| policy != DigestPolicy::Require || agreed;
        met(self.ours.header_digest, self.agreed.digests.header)
            && met(self.ours.data_digest, self.agreed.digests.data)
    }

    /// The initiator's offer of all operational keys.
    pub fn offer(&mut self, out: &mut TextWriter) {
        out.push("HeaderDigest", self.ours.header_digest.offer());
        out.push("DataDigest", self.ours.data_digest.offer());
        self.declare_segment(out);
        let numbers = [KeyId::DefaultTime2Wait, KeyId::DefaultTime2Retain, KeyId::ErrorRecoveryLevel];
        for id in numbers {
            out.push(keys::by_id(id).name, &self.ours.number(id).to_string());
        }
        if self.discovery {
            return;
        }
        for key in keys::KEYS.iter().filter(|key| key.irrelevant_in_discovery) {
            match key.rule {
                Rule::And | Rule::Or => out.push(key.name, keys::boolean(self.ours.boolean(key.id))),
                Rule::Minimum(..) if key.id != KeyId::ProtocolLevel => {
                    out.push(key.name, &self.ours.number(key.id).to_string());
                }
                _ => {}
            }
        }
    }

    /// The initiator takes the answer to its offer, or a declaration of the target.
    ///
    /// # Errors
    /// If the answer is not one that the rule of the key allows.
    pub fn accept(&mut self, key: &'static Key, value: &str) -> Result<(), NegotiationError> {
        if NO_VALUES.contains(&value) {
            return Ok(());
        }
        let bad = || BadAnswerSnafu { name: key.name, value }.build();
        match key.rule {
            Rule::And | Rule::Or => {
                let answer = keys::parse_boolean(value).ok_or_else(bad)?;
                let forced = self.ours.boolean(key.id) == (key.rule == Rule::Or);
                ensure!(
                    !forced || answer == self.ours.boolean(key.id),
                    BadAnswerSnafu { name: key.name, value }
                );
                self.agreed.set_boolean(key.id, answer);
            }
            Rule::Minimum(low, high) => {
                let answer = number_within(value, low, high).ok_or_else(bad)?;
                ensure!(answer <= self.ours.number(key.id), BadAnswerSnafu { name: key.name, value });
                self.agreed.set_number(key.id, answer);
            }
            Rule::Maximum(low, high) => {
                let answer = number_within(value, low, high).ok_or_else(bad)?;
                ensure!(answer >= self.ours.number(key.id), BadAnswerSnafu { name: key.name, value });
                self.agreed.set_number(key.id, answer);
            }
            Rule::DeclaredNumber(low, high) => {
                let answer = number_within(value, low, high).ok_or_else(bad)?;
                self.agreed.set_number(key.id, answer);
            }
            Rule::List(_) => {
                ensure!(self.ours.supports(key, value), BadAnswerSnafu { name: key.name, value });
                self.agreed.set_choice(key.id, value);
            }
            Rule::DeclaredText | Rule::TextRequest | Rule::Security | Rule::Obsolete(_) => {}
        }
        Ok(())
    }
}

const fn bit_of(id: KeyId) -> u64 {
    1 << id as u32
}

fn number_within(value: &str, low: u32, high: u32) -> Option<u32> {
    keys::parse_number(value).filter(|number| (low..=high).contains(number))
}

#[cfg(test)]
mod tests;
