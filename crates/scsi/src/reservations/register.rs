//! REGISTER, REGISTER AND IGNORE EXISTING KEY, and REGISTER AND MOVE (SPC-4 clauses 5.13.7, 5.13.8 and 5.13.11.2.3).

use super::command::{
    Change, Register, RegisterAndMove, Surroundings, conflict, field, insufficient_resources,
    invalid_parameter, verify_key,
};
use super::name::{InitiatorPort, Nexus};
use super::state::{ChangeKind, REGISTRATIONS_MAX, Reservation, ReservationState};
use super::transport_id::TransportId;
use crate::command::Response;
use crate::sense::Sense;
use std::collections::BTreeSet;

/// Where the service action of a CDB is.
const SERVICE_ACTION_FIELD: u16 = 1;

/// Registers, changes a key or ends a registration (SPC-4 tables 67 and 68).
pub(super) fn register(
    command: &Register,
    state: &ReservationState,
    nexus: &Nexus,
    surroundings: &Surroundings<'_>,
) -> Result<Change, Response> {
    let own_key = state.key_of(nexus);
    if command.key.is_some_and(|key| key != own_key.unwrap_or(0)) {
        return Err(conflict());
    }
    if own_key.is_some() && command.others.is_some() {
        return Err(invalid_parameter(field::FLAGS));
    }
    let mut ports = BTreeSet::from([nexus.port]);
    if command.all_ports {
        ports.extend(surroundings.ports.iter().copied().filter(|port| *port != 0));
    }
    let mut after = state.counted(nexus, ChangeKind::Registered);
    let mut touched = false;
    for port in &ports {
        let own = Nexus::new(nexus.initiator.clone(), *port);
        match state.key_of(&own) {
            None if command.new_key == 0 => {}
            // Whatever key was shown: the port may be younger than the registrations at the others.
            None => {
                after.registrations.insert(own, command.new_key);
                touched = true;
            }
            // As if the request had come through that port (SPC-4 clause 6.16.3).
            Some(key) if command.key.is_some_and(|shown| shown != key) => return Err(conflict()),
            Some(_) if command.new_key == 0 => {
                after.registrations.remove(&own);
                touched = true;
            }
            Some(_) => {
                after.registrations.insert(own, command.new_key);
                touched = true;
            }
        }
    }
    if !touched {
        return Ok(Change::none());
    }
    if command.new_key != 0
        && let Some(others) = &command.others
    {
        for initiator in initiators(others, state, surroundings)? {
            for port in &ports {
                let other = Nexus::new(initiator.clone(), *port);
                if state.is_registered(&other) {
                    return Err(invalid_parameter(field::MOVE_TRANSPORT_ID));
                }
                after.registrations.insert(other, command.new_key);
            }
        }
    }
    after.aptpl = command.aptpl;
    checked(after)
}

/// The initiator ports that TransportIDs name.
fn initiators(
    ids: &[TransportId],
    state: &ReservationState,
    surroundings: &Surroundings<'_>,
) -> Result<BTreeSet<InitiatorPort>, Response> {
    let mut named = BTreeSet::new();
    for id in ids {
        match id {
            TransportId::Port(port) => {
                named.insert(port.clone());
            }
            TransportId::Device(name) => {
                let registered = state.registrations().map(|(nexus, _)| &nexus.initiator);
                let known = registered.chain(surroundings.initiators).filter(|port| port.name() == name);
                let before = named.len();
                named.extend(known.cloned());
                if named.len() == before {
                    // It stands for ports that are known, and none is.
                    return Err(invalid_parameter(field::MOVE_TRANSPORT_ID));
                }
            }
        }
    }
    Ok(named)
}

/// Registers another nexus and makes it the holder of the reservation (SPC-4 table 70).
pub(super) fn register_and_move(
    command: &RegisterAndMove,
    state: &ReservationState,
    nexus: &Nexus,
    surroundings: &Surroundings<'_>,
) -> Result<Change, Response> {
    verify_key(state, nexus, command.key)?;
    let Some(reservation) = state.reservation() else {
        return Err(Sense::invalid_field_in_cdb(SERVICE_ACTION_FIELD, None).into());
    };
    if reservation.kind.is_held_by_all_registrants() || !state.is_holder(nexus) {
        return Err(conflict());
    }
    if command.new_key == 0 {
        return Err(invalid_parameter(field::SERVICE_ACTION_KEY));
    }
    let port = command.to.port;
    if port == 0 || port != nexus.port && !surroundings.ports.contains(&port) {
        return Err(invalid_parameter(field::MOVE_PORT));
    }
    if command.to.initiator == nexus.initiator {
        return Err(invalid_parameter(field::MOVE_TRANSPORT_ID));
    }
    let mut after = state.counted(nexus, ChangeKind::Moved);
    after.registrations.insert(command.to.clone(), command.new_key);
    after.reservation = Some(Reservation { kind: reservation.kind, holder: Some(command.to.clone()) });
    if command.unregister {
        after.registrations.remove(nexus);
    }
    after.aptpl = command.aptpl;
    checked(after)
}

fn checked(mut after: ReservationState) -> Result<Change, Response> {
    if after.registrations.len() > REGISTRATIONS_MAX {
        return Err(insufficient_resources());
    }
    after.release_if_unheld();
    Ok(Change::to(after))
}
