use super::*;
use proptest::prelude::*;

#[test]
fn fixed_format_has_the_bytes_of_the_standard() {
    let sense = Sense::invalid_field_in_cdb(2, Some(5));
    assert_eq!(
        sense.to_fixed(),
        [0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0x00, 0, 0xcd, 0x00, 0x02]
    );
    let sense =
        Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY).with_information(0x1234);
    assert_eq!(sense.to_fixed(), [0xf0, 0, 0x0e, 0, 0, 0x12, 0x34, 10, 0, 0, 0, 0, 0x1d, 0x00, 0, 0, 0, 0]);
}

#[test]
fn information_beyond_four_bytes_is_only_in_descriptor_format() {
    let sense = Sense::new(SenseKey::MediumError, AdditionalSense::UNRECOVERED_READ_ERROR)
        .with_information(0x1_0000_0000);
    let fixed = sense.to_fixed();
    assert_eq!(fixed[0], 0x70);
    assert_eq!(fixed[3..7], [0; 4]);
    let descriptors = sense.to_descriptor();
    assert_eq!(descriptors[..8], [0x72, 0x03, 0x11, 0x00, 0, 0, 0, 12]);
    assert_eq!(descriptors[8..], [0x00, 0x0a, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_field_pointer_into_the_parameter_list_is_told_apart_from_one_into_the_cdb() {
    let sense = Sense::invalid_field_in_parameter_list(0x0102);
    assert_eq!(sense.to_fixed()[15..], [0x80, 0x01, 0x02]);
    assert_eq!(Sense::parse(&sense.to_fixed()), Ok(sense));
}

#[test]
fn what_is_cut_or_foreign_is_an_error() {
    assert_eq!(Sense::parse(&[]), Err(SenseError::SenseTooShort { len: 0 }));
    assert_eq!(Sense::parse(&[0x70; 13]), Err(SenseError::SenseTooShort { len: 13 }));
    assert_eq!(Sense::parse(&[0x72; 7]), Err(SenseError::SenseTooShort { len: 7 }));
    assert_eq!(Sense::parse(&[0x7f; 20]), Err(SenseError::UnknownResponseCode { code: 0x7f }));
}

#[test]
fn sense_data_without_its_last_zeros_is_read() {
    let sense = Sense::new(SenseKey::UnitAttention, AdditionalSense::CAPACITY_CHANGED);
    assert_eq!(Sense::parse(&sense.to_fixed()[..14]), Ok(sense));
}

#[test]
fn unknown_descriptors_are_skipped() {
    let sense = Sense::invalid_field_in_cdb(1, None).with_information(9);
    let mut bytes = sense.to_descriptor();
    bytes.splice(8..8, [0x0b, 0x02, 0xaa, 0xbb]);
    bytes[7] += 4;
    assert_eq!(Sense::parse(&bytes), Ok(sense));
}

fn any_sense() -> impl Strategy<Value = Sense> {
    let field = (any::<bool>(), any::<u16>(), proptest::option::of(0u8..8));
    (0u8..16, any::<u8>(), any::<u8>(), proptest::option::of(any::<u64>()), proptest::option::of(field))
        .prop_map(|(key, code, qualifier, information, field)| {
            let key = SenseKey::from_low_nibble(key);
            let field = field.filter(|_| key == SenseKey::IllegalRequest);
            Sense {
                key,
                additional: AdditionalSense { code, qualifier },
                information,
                field: field.map(|(in_cdb, byte, bit)| FieldPointer { in_cdb, byte, bit }),
            }
        })
}

proptest! {
    #[test]
    fn both_formats_give_back_what_was_put_in(sense in any_sense()) {
        let descriptors = sense.to_descriptor();
        prop_assert!(descriptors.len() <= DESCRIPTOR_SENSE_BYTES_MAX);
        prop_assert_eq!(Sense::parse(&descriptors), Ok(sense));
        let information = sense.information.filter(|value| *value <= u32::MAX.into());
        let short = Sense { information, ..sense };
        prop_assert_eq!(Sense::parse(&sense.to_fixed()), Ok(short));
    }

    #[test]
    fn any_bytes_are_sense_data_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Sense::parse(&bytes);
    }

    #[test]
    fn any_descriptors_are_read_without_harm(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&[0x72, 5, 0x24, 0, 0, 0, 0, 255][..], &rest].concat();
        prop_assert!(Sense::parse(&bytes).is_ok());
    }
}
