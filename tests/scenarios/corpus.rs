//! Every input that the fuzzers keep (`fuzz/corpus`) goes through the same entry points again. What was found once, and
//! everything that reaches code of its own, is thus run by every test run, without libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};

/// What the program may take at most while it runs the corpus of one target, in KiB.
const MEMORY_KIB_MAX: u64 = 256 << 10;
/// Bytes of one input at most: the corpus is part of every checkout.
const INPUT_BYTES_MAX: usize = 4096;
/// Inputs of one target at most.
const INPUTS_MAX: usize = 600;

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a folder's entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The most memory that this process ever took, in KiB.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak size");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

fn run_corpus(target: &str, entry: fn(&[u8])) {
    let dir = fuzz_dir().join("corpus").join(target);
    let names = names_in(&dir);
    assert!(!names.is_empty(), "{target} has no corpus");
    assert!(names.len() <= INPUTS_MAX, "{target} has {} inputs: minimise them", names.len());
    for name in &names {
        let input = fs::read(dir.join(name)).expect("an input is a file");
        assert!(input.len() <= INPUT_BYTES_MAX, "{target}/{name} has {} bytes", input.len());
        // What panics below is found by the name.
        eprintln!("fuzz/corpus/{target}/{name}");
        entry(&input);
    }
    let peak = peak_memory_kib();
    assert!(peak <= MEMORY_KIB_MAX, "{target}: {peak} KiB of memory");
}

macro_rules! corpus {
    ($($target:ident: $entry:path, $fact:ident;)*) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];

        $(
            #[test]
            fn $fact() {
                run_corpus(stringify!($target), $entry);
            }
        )*
    };
}

corpus! {
    iscsi_target: evenkeel_iscsi::fuzz::fuzz_target_bytes, no_pdu_of_an_initiator_harms_a_target;
    iscsi_initiator: evenkeel_iscsi::fuzz::fuzz_initiator_bytes, no_pdu_of_a_target_harms_an_initiator;
    iscsi_login: evenkeel_iscsi::fuzz::fuzz_login, nobody_gets_in_without_the_proof_that_is_demanded;
    iscsi_login_answers: evenkeel_iscsi::fuzz::fuzz_login_answers, no_target_is_used_without_the_proof_that_is_demanded;
    iscsi_header: evenkeel_iscsi::fuzz::fuzz_pdu, any_header_is_its_bytes;
    text_keys: evenkeel_iscsi::fuzz::fuzz_text_keys, any_login_text_is_answered_well;
    scsi_cdb: evenkeel_scsi::fuzz::fuzz_cdb, any_command_is_answered_within_its_limits;
    scsi_answer: evenkeel_scsi::fuzz::fuzz_answer, any_answer_to_a_command_is_read_or_refused;
    scsi_reservations: evenkeel_scsi::fuzz::fuzz_reservations, any_record_and_command_of_reservations_is_possible_or_refused;
    peer_frames: evenkeel_peer::fuzz::fuzz_frames, any_bytes_of_a_peer_are_frames_or_an_error;
    peer_messages: evenkeel_peer::fuzz::fuzz_messages, any_message_of_a_peer_reads_back_or_is_refused;
    store_journal: evenkeel_store::fuzz::fuzz_journal, any_journal_is_replayed_or_refused;
    store_superblock: evenkeel_store::fuzz::fuzz_superblock, any_superblock_opens_or_is_refused;
    store_pages: evenkeel_store::fuzz::fuzz_pages, any_metadata_page_is_used_or_refused;
}

#[test]
fn every_fuzz_target_has_a_corpus_and_a_test() {
    let mut targets: Vec<_> = TARGETS.iter().map(|target| (*target).to_owned()).collect();
    targets.sort();
    assert_eq!(names_in(&fuzz_dir().join("corpus")), targets);
    let files: Vec<_> = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names_in(&fuzz_dir().join("fuzz_targets")), files);
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
    }
}
