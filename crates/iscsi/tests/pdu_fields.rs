//! Every field of every PDU, over all of its values: it stands where RFC 7143 chapter 11 puts it, big-endian, and is read
//! back from there; everything between the fields stays zero.

use evenkeel_iscsi::pdu::{
    AsyncMessage, BHS_BYTES, Bhs, DataIn, DataOut, Isid, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, NopIn, NopOut, PduHeader, R2t, Reject, ScsiCommand, ScsiResponse, SnackRequest,
    TaskManagementRequest, TaskManagementResponse, TextRequest, TextResponse, U24,
};
use proptest::prelude::*;

fn bytes<const N: usize>(raw: &[u8; BHS_BYTES], at: usize) -> [u8; N] {
    raw[at..at + N].try_into().expect("a field lies within the header")
}

/// Sets a field to the number or the bytes that stand at its place in `raw`.
macro_rules! put {
    ($to:expr, u8, $raw:expr, $at:expr) => {
        $to = $raw[$at]
    };
    ($to:expr, u16, $raw:expr, $at:expr) => {
        $to = u16::from_be_bytes(bytes(&$raw, $at)).into()
    };
    ($to:expr, u24, $raw:expr, $at:expr) => {{
        let [high, middle, low] = bytes(&$raw, $at);
        $to = U24::new(u32::from_be_bytes([0, high, middle, low]))
    }};
    ($to:expr, u32, $raw:expr, $at:expr) => {
        $to = u32::from_be_bytes(bytes(&$raw, $at)).into()
    };
    ($to:expr, u64, $raw:expr, $at:expr) => {
        $to = u64::from_be_bytes(bytes(&$raw, $at)).into()
    };
    ($to:expr, isid, $raw:expr, $at:expr) => {
        $to = Isid(bytes(&$raw, $at))
    };
    ($to:expr, cdb, $raw:expr, $at:expr) => {
        $to = bytes(&$raw, $at)
    };
}

/// The bytes that a field stands for.
macro_rules! get {
    ($from:expr, u8) => {
        vec![$from]
    };
    ($from:expr, u24) => {
        $from.get().to_be_bytes()[1..].to_vec()
    };
    ($from:expr, isid) => {
        $from.0.to_vec()
    };
    ($from:expr, cdb) => {
        $from.to_vec()
    };
    ($from:expr, $number:ident) => {
        $from.get().to_be_bytes().to_vec()
    };
}

macro_rules! layouts {
    ($($test:ident: $kind:ident { $($field:ident $form:ident $at:literal),* $(,)? })*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $test(raw in prop::collection::vec(any::<u8>(), BHS_BYTES)) {
                    let raw: [u8; BHS_BYTES] = raw.try_into().expect("as long as a header");
                    let mut header = $kind::empty();
                    prop_assert_eq!(&header.bhs().to_bytes()[1..], &[0; BHS_BYTES - 1][..]);
                    let mut expected = header.bhs().to_bytes();
                    $(
                        put!(header.$field, $form, raw, $at);
                        let field = get!(header.$field, $form);
                        prop_assert!(
                            expected[$at..$at + field.len()].iter().all(|byte| *byte == 0) || $at == 0,
                            "{} overlaps another field", stringify!($field)
                        );
                        expected[$at..$at + field.len()].copy_from_slice(&raw[$at..$at + field.len()]);
                    )*
                    let encoded = header.bhs().to_bytes();
                    prop_assert_eq!(encoded, expected);
                    let bhs = Bhs::new(encoded);
                    let decoded = *bhs.view::<$kind>();
                    $(
                        let field = get!(decoded.$field, $form);
                        prop_assert_eq!(&field[..], &raw[$at..$at + field.len()], "{}", stringify!($field));
                    )*
                    // What a peer puts into reserved bytes changes no field.
                    let full = Bhs::new(raw);
                    let decoded = *full.view::<$kind>();
                    $(
                        let field = get!(decoded.$field, $form);
                        prop_assert_eq!(&field[..], &raw[$at..$at + field.len()], "{}", stringify!($field));
                    )*
                    prop_assert_eq!(decoded.bhs(), full);
                }
            )*
        }
    };
}

layouts! {
    scsi_command_is_laid_out_as_in_section_11_3: ScsiCommand {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16,
        expected_data_len u32 20, cmd_sn u32 24, exp_stat_sn u32 28, cdb cdb 32,
    }
    scsi_response_is_laid_out_as_in_section_11_4: ScsiResponse {
        opcode u8 0, flags u8 1, response u8 2, status u8 3, total_ahs_len u8 4, data_segment_len u24 5, itt u32 16,
        snack_tag u32 20, stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32, exp_data_sn u32 36,
        bidirectional_residual_count u32 40, residual_count u32 44,
    }
    task_management_request_is_laid_out_as_in_section_11_5: TaskManagementRequest {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16,
        referenced_task_tag u32 20, cmd_sn u32 24, exp_stat_sn u32 28, ref_cmd_sn u32 32, exp_data_sn u32 36,
    }
    task_management_response_is_laid_out_as_in_section_11_6: TaskManagementResponse {
        opcode u8 0, flags u8 1, response u8 2, total_ahs_len u8 4, data_segment_len u24 5, itt u32 16,
        stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32,
    }
    data_out_is_laid_out_as_in_section_11_7: DataOut {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        exp_stat_sn u32 28, data_sn u32 36, buffer_offset u32 40,
    }
    data_in_is_laid_out_as_in_section_11_7: DataIn {
        opcode u8 0, flags u8 1, status u8 3, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16,
        ttt u32 20, stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32, data_sn u32 36, buffer_offset u32 40,
        residual_count u32 44,
    }
    r2t_is_laid_out_as_in_section_11_8: R2t {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32, r2t_sn u32 36, buffer_offset u32 40,
        desired_data_len u32 44,
    }
    async_message_is_laid_out_as_in_section_11_9: AsyncMessage {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, stat_sn u32 24,
        exp_cmd_sn u32 28, max_cmd_sn u32 32, event u8 36, vendor_code u8 37, parameter_1 u16 38, parameter_2 u16 40,
        parameter_3 u16 42,
    }
    text_request_is_laid_out_as_in_section_11_10: TextRequest {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        cmd_sn u32 24, exp_stat_sn u32 28,
    }
    text_response_is_laid_out_as_in_section_11_11: TextResponse {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32,
    }
    login_request_is_laid_out_as_in_section_11_12: LoginRequest {
        opcode u8 0, flags u8 1, version_max u8 2, version_min u8 3, total_ahs_len u8 4, data_segment_len u24 5,
        isid isid 8, tsih u16 14, itt u32 16, cid u16 20, cmd_sn u32 24, exp_stat_sn u32 28,
    }
    login_response_is_laid_out_as_in_section_11_13: LoginResponse {
        opcode u8 0, flags u8 1, version_max u8 2, version_active u8 3, total_ahs_len u8 4, data_segment_len u24 5,
        isid isid 8, tsih u16 14, itt u32 16, stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32,
        status_class u8 36, status_detail u8 37,
    }
    logout_request_is_laid_out_as_in_section_11_14: LogoutRequest {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, itt u32 16, cid u16 20, cmd_sn u32 24,
        exp_stat_sn u32 28,
    }
    logout_response_is_laid_out_as_in_section_11_15: LogoutResponse {
        opcode u8 0, flags u8 1, response u8 2, total_ahs_len u8 4, data_segment_len u24 5, itt u32 16,
        stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32, time2wait u16 40, time2retain u16 42,
    }
    snack_request_is_laid_out_as_in_section_11_16: SnackRequest {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        exp_stat_sn u32 28, beg_run u32 40, run_length u32 44,
    }
    reject_is_laid_out_as_in_section_11_17: Reject {
        opcode u8 0, flags u8 1, reason u8 2, total_ahs_len u8 4, data_segment_len u24 5, itt u32 16, stat_sn u32 24,
        exp_cmd_sn u32 28, max_cmd_sn u32 32, data_sn u32 36,
    }
    nop_out_is_laid_out_as_in_section_11_18: NopOut {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        cmd_sn u32 24, exp_stat_sn u32 28,
    }
    nop_in_is_laid_out_as_in_section_11_19: NopIn {
        opcode u8 0, flags u8 1, total_ahs_len u8 4, data_segment_len u24 5, lun u64 8, itt u32 16, ttt u32 20,
        stat_sn u32 24, exp_cmd_sn u32 28, max_cmd_sn u32 32,
    }
}
