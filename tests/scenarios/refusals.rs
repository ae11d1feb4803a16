//! Bad input to `evenkeel serve`: one line on standard error that names the value and what to do, the right exit code,
//! and nothing done.

use evenkeel_tests::{Group, GroupOptions, Ran, SUPERBLOCK_COPIES, StoppedStore, run_within};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

/// Wrong usage or configuration.
const USAGE: i32 = 2;
/// Not done.
const FAILED: i32 = 1;

fn evenkeel(args: &[&str]) -> Ran {
    let program = Group::program();
    run_within(Duration::from_secs(60), program.to_str().expect("a readable path"), args)
}

fn small(servers: u16) -> GroupOptions {
    GroupOptions::servers(servers).store_size("256MiB")
}

/// A group that has served and was stopped.
fn stopped(options: GroupOptions) -> Group {
    let mut group = Group::start(options);
    assert_eq!(group.stop().0, 0);
    group
}

/// The control: what was refused before starts now.
fn starts(group: &mut Group) {
    group.spawn();
    group.wait();
    assert_eq!(group.stop().0, 0);
}

#[test]
fn a_taken_port_is_named_whichever_it_is() {
    let mut group = stopped(small(2));
    let api = group.api_port();
    for (port, what) in [
        (group.portal(2), "portal of s2"),
        (format!("127.0.0.1:{}", group.peer_port(1)), "peer port of s1"),
        (format!("127.0.0.1:{api}"), "api"),
    ] {
        let taken = TcpListener::bind(&port).expect("the group has given its ports up");
        let ran = group.start_in_vain();
        let _ = ran.refusal(FAILED, &[what, &port, "in use", "choose another port"]);
        drop(taken);
    }
    starts(&mut group);
}

#[test]
fn a_data_folder_that_cannot_be_one_is_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("file"), "").expect("a file");
    for (data, advice) in
        [("no/parent", "make its parent first"), ("file", "no folder"), ("file/below", "folder")]
    {
        let ran = evenkeel(&["serve", "--data", &at(data), "--store-size", "256MiB"]);
        let _ = ran.refusal(FAILED, &[&format!("'{}'", at(data)), advice]);
    }
    assert!(!Path::new(&at("no")).exists());
}

/// A configuration that is sound but for its folder, which nobody can make: nothing is ever started by it.
const SOUND: &str = r#"
group = "lab"
iqn_prefix = "iqn.2026-01.io.evenkeel"
data = "/dev/null/evenkeel"
api = "127.0.0.1:8260"
[disk]
engine = "auto"
[balance]
storage_weight = 1.0
[[server]]
name = "s1"
portal = "127.0.0.1:3260"
peer = "127.0.0.1:7260"
size = "1GiB"
journal = "64MiB"
[server.capacity]
disk_read_iops = 1000
disk_write_iops = 500
net_mib_s = 100
cpu_cores = 0.5
"#;

#[test]
fn a_configuration_is_refused_with_file_and_value() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("evenkeel.toml");
    let name = file.to_str().expect("a readable path");
    let load = |text: &str| {
        std::fs::write(&file, text).expect("the file can be written");
        evenkeel(&["serve", "--config", name])
    };
    for (from, to, words) in [
        ("group", "colour = 1\ngroup", &["colour", "line 2", "expected one of"][..]),
        ("[disk]\n", "[disk]\nspeed = 1\n", &["speed", "line 7", "expected"]),
        ("\"auto\"", "\"warp\"", &["warp", "auto"]),
        ("\"lab\"", "\"The Lab\"", &["'The Lab'", "a-z"]),
        ("\"iqn.2026", "\"2026", &["'2026-01.io.evenkeel'", "iqn."]),
        ("127.0.0.1:8260", "0.0.0.0:8260", &["'0.0.0.0:8260'", "loopback"]),
        ("127.0.0.1:8260", "127.0.0.1", &["line 5", "socket address"]),
        ("127.0.0.1:3260", "127.0.0.1:0", &["127.0.0.1:0", "port"]),
        ("127.0.0.1:7260", "127.0.0.1:3260", &["'127.0.0.1:3260'", "already the address of portal of s1"]),
        ("127.0.0.1:3260", "127.0.0.1:99999", &["line 12", "socket address"]),
        ("127.0.0.1:7260", "10.0.0.11:7260", &["'10.0.0.11:7260'", "evenkeel group init"]),
        ("[disk]\n", "[peer]\ndata = \"rot13\"\n[disk]\n", &["rot13", "encrypted", "plain"]),
        ("\"s1\"", "\"\"", &["server name ''", "a-z"]),
        ("\"1GiB\"", "\"much\"", &["'much'", "512MiB"]),
        ("\"1GiB\"", "\"1MiB\"", &["'1MiB'", "at least 256MiB"]),
        ("\"64MiB\"", "\"17GiB\"", &["'17GiB'", "1MiB to 16GiB"]),
        ("= 1.0", "= -1.0", &["storage_weight -1", "from 0"]),
        ("= 1000", "= 0", &["capacity of s1", "above zero"]),
        ("cpu_cores = 0.5", "", &["cpu_cores", "missing"]),
        ("[[server]]", "[[server", &["line 10"]),
        ("peer = \"127.0.0.1:7260\"\n", "", &["peer", "missing"]),
    ] {
        let text = SOUND.replacen(from, to, 1);
        assert_ne!(text, SOUND, "{from} is in the sound configuration");
        let ran = load(&text);
        let words: Vec<&str> = if text.contains("[[server]]") { words.to_vec() } else { vec![name] };
        let _ = ran.refusal(USAGE, &words);
    }
    std::fs::write(&file, [0xff, 0xfe, 0]).expect("the file can be written");
    let _ = evenkeel(&["serve", "--config", name]).refusal(USAGE, &[name]);
    let missing = folder.path().join("other.toml");
    let missing = missing.to_str().expect("a readable path");
    let _ = evenkeel(&["serve", "--config", missing]).refusal(USAGE, &[missing, "existing file"]);
    // The control: the sound one is read to its end, and refused only for its folder.
    let _ = load(SOUND).refusal(FAILED, &["/dev/null/evenkeel", "folder"]);
}

#[test]
fn a_flag_is_refused_with_its_value() {
    for (flag, value, words) in [
        ("--portal", "nonsense", &["'nonsense'", "--portal"][..]),
        ("--portal", "127.0.0.1:0", &["--portal", "port 0"]),
        ("--api", "0.0.0.0:8260", &["'0.0.0.0:8260'", "loopback"]),
        ("--api", "[::]:8260", &["[::]:8260", "loopback"]),
        ("--peer-port", "99999", &["'99999'", "--peer-port"]),
        ("--peer-data", "rot13", &["'rot13'", "encrypted or plain"]),
        ("--servers", "0", &["0 servers", "1 to 16"]),
        ("--servers", "17", &["17 servers", "1 to 16"]),
        ("--servers", "-1", &["-1"]),
        ("--servers", "three", &["'three'", "--servers"]),
        ("--store-size", "much", &["'much'", "512MiB"]),
        ("--store-size", "-1G", &["-1"]),
        ("--store-size", "1KiB", &["'1KiB'", "at least 256MiB"]),
        ("--journal-size", "100", &["'100'", "1MiB to 16GiB"]),
        ("--disk-engine", "warp", &["'warp'", "uring"]),
        ("--direct", "maybe", &["'maybe'", "true"]),
        ("--balance", "sometimes", &["'sometimes'", "false"]),
        ("--storage-weight", "nan", &["storage_weight NaN", "from 0"]),
        ("--server-weight", "heavy", &["'heavy'", "--server-weight"]),
        ("--group", "The Lab", &["'The Lab'", "a-z"]),
        ("--iqn-prefix", "eui.1", &["'eui.1'", "iqn."]),
        ("--domain", "", &["domain"]),
        ("--log", "====", &["'===='", "--log"]),
        ("--colour", "1", &["--colour"]),
    ] {
        let ran = evenkeel(&["serve", "--data", "/dev/null/evenkeel", flag, value]);
        let _ = ran.refusal(USAGE, words);
    }
}

#[test]
fn a_store_that_does_not_fit_is_refused_and_not_left_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let sizes = ["--store-size", "256MiB", "--journal-size", "300MiB"];
    let ports = free_group_ports(1);
    let args = [&["serve", "--data", data.to_str().expect("a readable path")][..], &ports_of(&ports), &sizes]
        .concat();
    let _ = evenkeel(&args).refusal(FAILED, &["s1/store", "268435456 bytes", "larger disk"]);
    assert!(!data.join("s1/store").exists(), "a store of the wrong size would be taken for the server's");
}

/// Ports that were free a moment ago: those of a group that has ended.
fn free_group_ports(servers: u16) -> [String; 3] {
    let group = stopped(small(servers));
    [group.portal(1), group.peer_port(1).to_string(), format!("127.0.0.1:{}", group.api_port())]
}

fn ports_of(ports: &[String; 3]) -> [&str; 6] {
    ["--portal", &ports[0], "--peer-port", &ports[1], "--api", &ports[2]]
}

#[test]
fn one_damaged_copy_of_the_superblock_is_mended_and_two_are_refused() {
    let mut group = stopped(small(2));
    let store = StoppedStore::open(&group.store(2));
    let mended = |group: &Group| group.log_since_start().contains("mended a damaged copy of the superblock");
    for intact in SUPERBLOCK_COPIES {
        for copy in SUPERBLOCK_COPIES {
            store.flip_bit(copy + 100);
        }
        let ran = group.start_in_vain();
        let _ = ran.refusal(FAILED, &["s2/store", "both copies of the superblock are damaged", "restore"]);
        store.flip_bit(intact + 100);
        starts(&mut group);
        assert!(mended(&group), "{}", group.log());
        starts(&mut group);
        assert!(!mended(&group), "{}", group.log());
    }
}

#[test]
fn a_store_of_another_group_server_or_format_is_refused_with_both_names() {
    let mut group = stopped(small(2));
    let other = stopped(small(2).flag("--group barn"));
    let (mine, kept) = (group.store(2), group.folder().join("kept"));
    std::fs::rename(&mine, &kept).expect("the store can be put away");
    std::fs::copy(other.store(2), &mine).expect("the store can be copied");
    let _ = group.start_in_vain().refusal(FAILED, &["s2/store", "\"barn#", "\"evenkeel#", "right disk"]);
    // Another group of the same name is another group.
    let namesake = stopped(small(2));
    std::fs::copy(namesake.store(2), &mine).expect("the store can be copied");
    let _ = group.start_in_vain().refusal(FAILED, &["s2/store", "\"evenkeel#", "right disk"]);
    std::fs::copy(group.store(1), &mine).expect("the store can be copied");
    let _ = group.start_in_vain().refusal(FAILED, &["s2/store", "server s1", "expected s2"]);
    std::fs::rename(&kept, &mine).expect("the store can be put back");
    let store = StoppedStore::open(&mine);
    store.set_format_version(2);
    let _ = group.start_in_vain().refusal(FAILED, &["s2/store", "format 2", "newer evenkeel"]);
    store.set_format_version(1);
    starts(&mut group);
}

#[test]
fn an_old_copy_of_a_store_is_refused_and_the_present_one_is_not() {
    let mut group = stopped(small(2));
    let (mine, old, kept) = (group.store(1), group.folder().join("old"), group.folder().join("kept"));
    std::fs::copy(&mine, &old).expect("the store can be copied");
    starts(&mut group);
    std::fs::rename(&mine, &kept).expect("the store can be put away");
    std::fs::rename(&old, &mine).expect("the copy can be put there");
    // However often it is tried: the old copy does not catch up by being opened.
    for _ in 0..3 {
        let _ = group
            .start_in_vain()
            .refusal(FAILED, &["s1/store", "at start 1", "start 2 is on record", "old copy"]);
    }
    std::fs::rename(&kept, &mine).expect("the store can be put back");
    starts(&mut group);
}

#[test]
fn a_store_that_is_gone_or_no_store_is_refused_and_not_made_anew() {
    let mut group = stopped(small(2));
    let (mine, kept) = (group.store(1), group.folder().join("kept"));
    std::fs::rename(&mine, &kept).expect("the store can be put away");
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "missing", "restore"]);
    assert!(!mine.exists());
    std::fs::write(&mine, vec![0x55; 8 << 20]).expect("a file can be written");
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "no store", "5555555555555555"]);
    std::fs::write(&mine, "").expect("a file can be written");
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "no store"]);
    std::fs::remove_file(&mine).expect("the file can be removed");
    std::fs::create_dir(&mine).expect("a folder");
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store"]);
    std::fs::remove_dir(&mine).expect("the folder can be removed");
    std::fs::rename(&kept, &mine).expect("the store can be put back");
    let whole = StoppedStore::open(&mine);
    whole.set_len(200 << 20);
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "209715200 bytes", "truncated"]);
    whole.set_len(256 << 20);
    starts(&mut group);
}

#[test]
fn a_second_process_is_kept_from_the_folder_and_from_each_store() {
    let group = Group::start(small(1));
    let ports = free_group_ports(1);
    let data = group.data();
    let data = data.to_str().expect("a readable path");
    let args = [&["serve", "--data", data][..], &ports_of(&ports)].concat();
    let _ = evenkeel(&args).refusal(FAILED, &[data, "in use by another process", "stop"]);
    // Another folder, but the same store.
    let file = group.folder().join("second.toml");
    let text = format!(
        "data = \"{}\"\napi = \"{}\"\n[[server]]\nname = \"s1\"\nportal = \"{}\"\npeer = \"127.0.0.1:{}\"\nstore = \"{}\"\n",
        group.folder().join("second").display(),
        ports[2],
        ports[0],
        ports[1],
        group.store(1).display()
    );
    std::fs::write(&file, text).expect("the file can be written");
    let ran = evenkeel(&["serve", "--config", file.to_str().expect("a readable path")]);
    let _ = ran.refusal(FAILED, &["s1/store", "another process uses it", "stop that process"]);
    let ran = evenkeel(&["check", data]);
    let _ = ran.refusal(FAILED, &["s1/store", "another process uses it"]);
    // The first process did not notice.
    assert_eq!(group.evenkeel(&["wait"]).code, 0);
}

#[test]
fn another_number_of_servers_is_refused_on_a_folder_that_has_them() {
    let mut group = stopped(small(2));
    let data = group.data();
    let ports = free_group_ports(3);
    for count in ["1", "3"] {
        let args = [
            &["serve", "--data", data.to_str().expect("a readable path"), "--servers", count][..],
            &ports_of(&ports),
        ];
        let _ =
            evenkeel(&args.concat()).refusal(FAILED, &["s1, s2 (2)", &format!("({count})"), "same servers"]);
    }
    assert!(!data.join("s3").exists());
    starts(&mut group);
}
