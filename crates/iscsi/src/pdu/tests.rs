use super::*;
use proptest::prelude::*;
use zerocopy::big_endian::U32;

#[test]
fn a_scsi_command_is_laid_out_as_section_11_3_says() {
    let mut command = ScsiCommand::empty();
    command.flags = flags::FINAL | flags::READ;
    command.data_segment_len = U24::new(0x01_0203);
    command.itt = U32::new(0x1122_3344);
    command.expected_data_len = U32::new(0x5566_7788);
    command.cmd_sn = U32::new(0x99aa_bbcc);
    command.cdb[0] = 0x28;
    let bytes = command.bhs().to_bytes();
    assert_eq!(&bytes[..8], &[0x01, 0xc0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(&bytes[16..28], &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc]);
    assert_eq!(bytes[32], 0x28);
}

#[test]
fn sequence_numbers_of_responses_stand_where_section_11_says() {
    let mut data_in = DataIn::empty();
    data_in.stat_sn = U32::new(1);
    data_in.data_sn = U32::new(2);
    data_in.buffer_offset = U32::new(3);
    data_in.residual_count = U32::new(4);
    let bytes = data_in.bhs().to_bytes();
    assert_eq!((bytes[27], bytes[39], bytes[43], bytes[47]), (1, 2, 3, 4));
    let mut async_message = AsyncMessage::empty();
    async_message.event = 1;
    assert_eq!(async_message.bhs().to_bytes()[36], 1);
    let mut login = LoginResponse::empty();
    login.status_class = 2;
    assert_eq!(login.bhs().to_bytes()[36], 2);
    let mut logout = LogoutResponse::empty();
    logout.time2wait.set(7);
    assert_eq!(logout.bhs().to_bytes()[41], 7);
}

#[test]
fn additional_headers_whose_lengths_do_not_fit_are_malformed() {
    assert_eq!(AhsSummary::parse(&[]), Some(AhsSummary::default()));
    // A bidirectional expected read data length AHS: length 5, type 2, reserved byte, 4 bytes of length.
    let bidirectional = [0, 5, 2, 0, 0, 0, 16, 0];
    assert_eq!(AhsSummary::parse(&bidirectional).unwrap().bidirectional_read_len, Some(4096));
    assert_eq!(AhsSummary::parse(&bidirectional[..4]), None);
    assert!(AhsSummary::parse(&[0, 1, 1, 0]).unwrap().extended_cdb);
    assert_eq!(AhsSummary::parse(&[0xff, 0xff, 1, 0]), None);
    assert_eq!(AhsSummary::parse(&[0, 0, 0]), None);
}

proptest! {
    #[test]
    fn any_header_survives_its_view(bytes in prop::array::uniform32(any::<u8>()), tail in prop::array::uniform16(any::<u8>())) {
        let mut raw = [0; BHS_BYTES];
        raw[..32].copy_from_slice(&bytes);
        raw[32..].copy_from_slice(&tail);
        let bhs = Bhs::new(raw);
        prop_assert_eq!(bhs.view::<ScsiCommand>().bhs(), bhs);
        prop_assert_eq!(bhs.view::<TextResponse>().bhs(), bhs);
        prop_assert_eq!(bhs.to_bytes(), raw);
        prop_assert!(bhs.data_segment_len.get() <= U24::MAX);
    }

    #[test]
    fn three_byte_lengths_round_trip(value in 0..=U24::MAX) {
        prop_assert_eq!(U24::new(value).get(), value);
    }
}
