use crate::fixtures::{cdb, decode, good_data, unit};
use crate::logical_unit::LUN;
use crate::nexus::{NexusState, UnitAttention};
use crate::sense::Sense;

#[test]
fn without_anything_to_tell_there_is_no_sense() {
    let fixed = good_data(decode(&unit(), &[0x03, 0, 0, 0, 255, 0]));
    assert_eq!(fixed, [0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let descriptors = good_data(decode(&unit(), &[0x03, 1, 0, 0, 255, 0]));
    assert_eq!(descriptors, [0x72, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(good_data(decode(&unit(), &[0x03, 0, 0, 0, 4, 0])), [0x70, 0, 0, 0]);
}

#[test]
fn a_pending_unit_attention_is_given_as_data_and_cleared() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::CapacityChanged);
    let data = good_data(unit().decode(&mut nexus, LUN, &cdb(&[0x03, 0, 0, 0, 18, 0])));
    assert_eq!(Sense::parse(&data), Ok(UnitAttention::CapacityChanged.sense()));
    assert!(!nexus.is_pending());
}
