//! Both sides against each other, in all combinations of parameters.

mod pair;

use evenkeel_iscsi::initiator::{Event, Transfer};
use evenkeel_iscsi::pdu::{TaskFunction, TaskResponse};
use evenkeel_iscsi::target::Action;
use evenkeel_iscsi::{DigestPolicy, Settings};
use evenkeel_scsi::Status;
use evenkeel_types::{BlockError, Bytes};
use pair::{Choices, DISK_BYTES, Pair, read16, write16};
use proptest::prelude::*;

fn settings() -> impl Strategy<Value = Settings> {
    let digest = || prop_oneof![Just(DigestPolicy::Allow), Just(DigestPolicy::Require)];
    let segment = prop_oneof![Just(512u32), Just(1000), Just(8192), Just(65536), Just(262_144)];
    let burst = prop_oneof![Just(4096u32), Just(8193), Just(65536), Just(1 << 20)];
    let first = prop_oneof![Just(512u32), Just(4096), Just(65536)];
    let flags = (any::<bool>(), any::<bool>(), digest(), digest());
    (flags, segment, burst, first, prop_oneof![Just(1u32), Just(4)]).prop_map(
        |((initial_r2t, immediate_data, header_digest, data_digest), segment, max_burst, first, r2ts)| {
            Settings {
                header_digest,
                data_digest,
                initial_r2t,
                immediate_data,
                max_receive_segment: segment,
                max_burst,
                first_burst: first.min(max_burst),
                max_outstanding_r2t: r2ts,
            }
        },
    )
}

/// Writes and reads at random places, several at a time where they do not touch; compares with a copy of the disk.
fn exchange(pair: &mut Pair, rounds: usize) {
    let mut model = vec![0u8; DISK_BYTES];
    let mut choices = Choices::new(pair.choices.below(usize::MAX) as u64);
    for round in 0..rounds {
        let mut writes = Vec::new();
        for lane in 0..4usize {
            let lane_bytes = DISK_BYTES / 4;
            let size_class = [1, 8, 64, 1000][choices.below(4)];
            let len = 512 * (1 + choices.below(size_class));
            let offset = lane * lane_bytes + 512 * choices.below((lane_bytes - len) / 512);
            let data: Vec<u8> = (0..len).map(|n| (n * 7 + round * 31 + lane) as u8).collect();
            model[offset..offset + len].copy_from_slice(&data);
            let payload = Bytes::from(data).into();
            writes.push((pair.submit(write16(offset, len), Transfer::Out(payload)), offset, len));
        }
        pair.run();
        for (id, offset, len) in writes {
            let done = pair.done(id);
            assert_eq!((done.status, done.overflow, done.underflow), (Some(Status::Good), 0, 0));
            let before = offset.saturating_sub(512 * choices.below(8));
            let len = (len + 512 * choices.below(16)).min(DISK_BYTES - before);
            let read = pair.read(before, len);
            assert_eq!(read.status, Some(Status::Good));
            assert!(read.data[..] == model[before..before + len], "what was written is read");
        }
    }
    assert!(pair.disk.all_aligned, "writes lie in memory as they lie in the volume");
    assert!(pair.disk.bytes == model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_is_read_whatever_was_agreed(
        target in settings(), initiator in settings(), seed in any::<u64>(), small in any::<bool>(),
    ) {
        let mut pair = Pair::logged_in(seed, target, initiator);
        pair.chunk_max = if small { 3000 } else { 300_000 };
        exchange(&mut pair, 2);
        pair.initiator.logout().unwrap();
        pair.run();
        prop_assert!(matches!(pair.events.pop_front(), Some(Event::LoggedOut)));
        prop_assert!(pair.target.is_finished());
    }
}

#[test]
fn streams_cut_into_single_bytes_are_understood() {
    let mut pair = Pair::logged_in(3, Settings::default(), Settings::default());
    pair.chunk_max = 1;
    assert_eq!(pair.write(4096, &[5; 1024]).status, Some(Status::Good));
    assert_eq!(&pair.read(4096, 1024).data[..], &[5; 1024]);
}

#[test]
fn many_reads_larger_than_the_output_bound_all_end() {
    let mut pair = Pair::logged_in(9, Settings::default(), Settings::default());
    let len = 4 << 20;
    let ids: Vec<_> = (0..12).map(|_| pair.submit(read16(0, len), Transfer::In(len as u32))).collect();
    pair.run();
    for id in ids {
        assert_eq!(pair.done(id).data.len(), len);
    }
}

#[test]
fn many_writes_larger_than_the_buffer_bound_all_end() {
    let strict = Settings { initial_r2t: true, immediate_data: false, ..Settings::default() };
    let mut pair = Pair::logged_in(9, strict.clone(), strict);
    let len = 6 << 20;
    let data = Bytes::from(vec![3u8; len]);
    let submit = |pair: &mut Pair| pair.submit(write16(0, len), Transfer::Out(data.clone().into()));
    let ids: Vec<_> = (0..8).map(|_| submit(&mut pair)).collect();
    pair.run();
    for id in ids {
        assert_eq!(pair.done(id).status, Some(Status::Good));
    }
}

#[test]
fn a_reset_ends_the_commands_before_it_and_none_behind_it() {
    let mut pair = Pair::logged_in(5, Settings::default(), Settings::default());
    pair.hold_operations = true;
    let before = pair.submit(read16(0, 512), Transfer::In(512));
    pair.run();
    let reset = pair.initiator.manage(TaskFunction::LogicalUnitReset, 0, None).unwrap();
    let attention = pair.submit([0; 16], Transfer::None);
    let behind = pair.submit(read16(0, 512), Transfer::In(512));
    pair.run();
    assert_eq!(pair.done(attention).status, Some(Status::CheckCondition), "the reset is told");
    let (task, _) = pair.pending.remove(0);
    assert_eq!(pair.cancelled, [task]);
    pair.target.handle_completion(pair.now, task, Err(BlockError::Aborted));
    let Some(Action::ManageOthers { id, .. }) = pair.actions.pop() else { panic!("{:?}", pair.actions) };
    pair.target.handle_others_managed(pair.now, id);
    pair.run();
    assert!(matches!(pair.events.pop_front(), Some(Event::Aborted(id)) if id == before));
    let last = pair.events.pop_front();
    assert!(matches!(last, Some(Event::Managed(id, _, TaskResponse::FunctionComplete)) if id == reset));
    pair.hold_operations = false;
    pair.run();
    assert_eq!(pair.done(behind).status, Some(Status::Good));
}

#[test]
fn a_discovery_session_lists_targets() {
    let config = evenkeel_iscsi::initiator::InitiatorConfig {
        target_name: None,
        ..pair::initiator_config(Settings::default())
    };
    let mut pair = Pair::new(1, Settings::default(), config);
    pair.run();
    assert!(matches!(pair.events.pop_front(), Some(Event::LoggedIn)));
    pair.initiator.send_targets("All").unwrap();
    pair.run();
    let Some(Event::Text(_, found)) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert_eq!(found[0], ("TargetName".to_owned(), pair::TARGET.to_owned()));
    assert_eq!(found.len(), 3);
}

#[test]
fn a_refused_login_tells_the_initiator_why_and_where_to_go() {
    let config = evenkeel_iscsi::initiator::InitiatorConfig {
        target_name: Some("iqn.2026-01.test:moved".to_owned()),
        ..pair::initiator_config(Settings::default())
    };
    let mut pair = Pair::new(1, Settings::default(), config);
    pair.ports.elsewhere =
        evenkeel_iscsi::target::Lookup::Moved { address: "10.0.0.9:3260".to_owned(), permanent: false };
    pair.run();
    let Some(Event::LoginRefused { status, address }) = pair.events.pop_front() else { panic!() };
    assert_eq!((status.0, address.as_deref()), (0x0101, Some("10.0.0.9:3260")));
    assert!(pair.initiator.is_closed() && pair.target.is_finished());
}

#[test]
fn the_initiator_answers_a_question_for_a_sign_of_life() {
    let mut pair = Pair::logged_in(1, Settings::default(), Settings::default());
    pair.target.probe(pair.now);
    pair.run();
    pair.now = pair.now + std::time::Duration::from_secs(4);
    pair.initiator.ping(Bytes::from_static(b"here")).unwrap();
    pair.run();
    assert!(matches!(pair.events.pop_front(), Some(Event::Pong(_, data)) if &data[..] == b"here"));
    assert!(pair.closed.is_none());
}
