//! Reservations: what a record says, then commands of several nexuses.

use crate::initiator::reservations::{FullStatus, HeldReservation, RegisteredKeys, persistent_reserve_in};
use crate::logical_unit::LUN;
use crate::opcodes::code;
use crate::reservations::record::{
    Hex, LatestRecord, NexusRecord, Record, RegistrationRecord, ReservationRecord, Spc2Record, Version,
};
use crate::reservations::state::ChangeKind;
use crate::reservations::{
    Access, InitiatorPort, Nexus, REGISTRATIONS_MAX, ReservationCommand, ReservationState, ReservationType,
    SessionId, Surroundings, attentions,
};
use crate::{Decoded, NexusState, Status};
use bytes::Bytes;
use std::sync::Arc;

const PORTS: [u16; 2] = [1, 2];

/// One of six nexuses: three initiators at two target ports.
pub(super) fn nexus(which: u8) -> Nexus {
    let name = format!("iqn.2026-01.io.evenkeel:{}", which / 2 % 3);
    let initiator = InitiatorPort::new(&name, [0x40, 0, 0, 0, 0, which / 2 % 3]);
    Nexus::new(initiator.expect("the name is well-formed"), PORTS[usize::from(which % 2)])
}

fn surroundings() -> Surroundings<'static> {
    Surroundings { session: SessionId { incarnation: 1, number: 1 }, ports: &PORTS, initiators: &[] }
}

/// Bytes one after the other; zeros behind the last.
struct Bits<'a>(&'a [u8]);

impl<'a> Bits<'a> {
    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn nexus(&mut self) -> NexusRecord {
        match self.u8() {
            0xff => NexusRecord { initiator: String::new(), isid: Hex([0; 6]), port: 1 },
            0xfe => NexusRecord { initiator: "i".repeat(300), isid: Hex([0; 6]), port: 1 },
            0xfd => NexusRecord { initiator: "iqn.a".to_owned(), isid: Hex([0; 6]), port: 0 },
            which => NexusRecord::from(&nexus(which)),
        }
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(read(self)) } else { None }
    }

    fn record(&mut self) -> Record {
        let count = self.u8() % 8;
        let registrations = (0..count).map(|_| {
            let NexusRecord { initiator, isid, port } = self.nexus();
            RegistrationRecord { initiator, isid, port, key: Hex([0, 0, 0, 0, 0, 0, 0, self.u8()]) }
        });
        let registrations = registrations.collect();
        let kinds = ReservationType::ALL;
        Record {
            version: Version,
            step: if self.u8() == 0xff { u64::MAX } else { 5 },
            generation: if self.flag() { u32::MAX } else { 0 },
            aptpl: self.flag(),
            registrations,
            reservation: self.optional(|bits| ReservationRecord {
                kind: kinds[usize::from(bits.u8()) % kinds.len()],
                holder: bits.optional(Bits::nexus),
            }),
            spc2: self.optional(|bits| Spc2Record { nexus: bits.nexus(), incarnation: 1, number: 2 }),
            latest: self.optional(|bits| LatestRecord {
                by: bits.optional(Bits::nexus),
                kind: if bits.flag() { ChangeKind::Preempted } else { ChangeKind::Registered },
            }),
        }
    }
}

/// Bytes as a record of reservations (if the first is odd), then as commands that change them: for each a byte that says
/// which nexus sends it, the operation code as a choice, service action, scope and type, length of the parameter list, and
/// the list.
///
/// # Panics
/// If a state comes out that cannot be, or that initiators cannot read.
pub fn fuzz_reservations(data: &[u8]) {
    let mut bits = Bits(data);
    let mut state = ReservationState::default();
    if bits.flag() {
        let Ok(read) = ReservationState::try_from(bits.record()) else { return };
        state = read;
    }
    check(&state);
    while !bits.0.is_empty() {
        let from = nexus(bits.u8());
        let Some(command) = read_command(&mut bits, &from) else { continue };
        state = carry_out(&command, state, &from);
    }
}

fn read_command(bits: &mut Bits<'_>, from: &Nexus) -> Option<ReservationCommand> {
    let opcodes = [code::PERSISTENT_RESERVE_OUT, code::RESERVE_6, code::RELEASE_6, code::RELEASE_10];
    // Most are those with a parameter list.
    let opcode = opcodes[usize::from(bits.u8().saturating_sub(0xf0)) % opcodes.len()];
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    if opcode == code::PERSISTENT_RESERVE_OUT {
        (cdb[1], cdb[2], cdb[8]) = (bits.u8() % 8, bits.u8(), bits.u8());
    }
    let unit = super::unit(0);
    let mut state = NexusState::default();
    state.set_name(from.clone());
    let decoded = match unit.decode(&mut state, LUN, &cdb) {
        Decoded::NeedsData { len, then } => {
            let mut list = bits.take(len as usize).to_vec();
            list.resize(len as usize, 0);
            unit.with_data(then, Bytes::from(list), len)
        }
        decoded => decoded,
    };
    match decoded {
        Decoded::Reserve(command) => Some(command),
        Decoded::Immediate(response) => {
            assert!(response.status == Status::CheckCondition, "refused with a reason");
            None
        }
        other => panic!("{other:?}"),
    }
}

/// A command that comes first of all.
pub(super) fn check_first(command: &ReservationCommand) {
    carry_out(command, ReservationState::default(), &nexus(0));
}

fn carry_out(command: &ReservationCommand, state: ReservationState, from: &Nexus) -> ReservationState {
    let change = match command.apply(&state, from, &surroundings()) {
        Ok(change) => change,
        Err(response) => {
            assert!(response.data_in.is_empty() && response.status != Status::Good, "refused");
            return state;
        }
    };
    assert!(
        change.aborts.iter().all(|nexus| state.is_registered(nexus)),
        "only registered nexuses are preempted"
    );
    let Some(after) = change.state else {
        assert!(change.aborts.is_empty(), "no change aborts nothing");
        return state;
    };
    assert_eq!(after.step(), state.step() + 1, "a change is one step");
    let counted = after.generation().wrapping_sub(state.generation());
    assert!(counted <= 1, "a change counts once at most");
    for (told, _) in attentions(&state, &after) {
        assert!(told != *from && state.is_registered(&told), "those are told that something was taken from");
    }
    check(&after);
    after
}

/// What holds of every state.
fn check(state: &ReservationState) {
    assert!(state.registrations().len() <= REGISTRATIONS_MAX, "registrations are bounded");
    assert!(state.registrations().all(|(_, key)| key != 0), "keys are not zero");
    if let Some(reservation) = state.reservation() {
        let holder =
            reservation.holder.as_ref().or_else(|| state.registrations().next().map(|(nexus, _)| nexus));
        let holder = holder.expect("a reservation is held");
        assert!(state.is_holder(holder) && state.is_registered(holder), "a holder is registered");
        assert!(state.check(holder, Access::Write).is_ok(), "a holder may write");
    }
    let alone = state.spc2().is_none() || state.reservation().is_none() && state.registrations().len() == 0;
    assert!(alone, "RESERVE goes with nothing else");
    let read = ReservationState::try_from(Record::from(state.clone()));
    assert_eq!(read.as_ref(), Ok(state), "a state reads back from its record");
    if state.spc2().is_none() {
        check_answers(state);
    }
}

/// Initiators read what there is.
fn check_answers(state: &ReservationState) {
    let mut nexus = NexusState::default();
    nexus.set_reservations(Arc::new(state.clone()));
    if nexus.reservations().step() != state.step() {
        return;
    }
    let unit = super::unit(0);
    let mut ask = |service_action| match unit.decode(
        &mut nexus,
        LUN,
        &persistent_reserve_in(service_action, u16::MAX).cdb,
    ) {
        Decoded::Immediate(response) => response.data_in.into_bytes(),
        other => panic!("{other:?}"),
    };
    let keys = RegisteredKeys::parse(&ask(code::READ_KEYS)).expect("keys are listed");
    assert_eq!(keys.keys.len(), state.registrations().len(), "every key is listed");
    let held = HeldReservation::parse(&ask(code::READ_RESERVATION)).expect("a reservation is described");
    assert_eq!(held.held.map(|(_, kind)| kind), state.reservation().map(|held| held.kind), "as it is");
    let status = FullStatus::parse(&ask(code::READ_FULL_STATUS)).expect("registrations are described");
    assert_eq!(status.registrations.len(), state.registrations().len(), "every registration is described");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_record_and_commands_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz_reservations(&bytes);
        }
    }
}
