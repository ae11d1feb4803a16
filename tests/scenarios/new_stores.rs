//! What a new store leaves on the disk before its server is there.

use evenkeel_tests::{Group, run_within};
use std::path::Path;
use std::time::Duration;

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// Bytes in a new file become durable with a flush of the file, its name only with a flush of its folder. What the
/// program asks of the kernel is the only witness short of a power failure.
#[test]
fn the_names_of_a_new_store_and_of_its_folders_are_made_durable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().canonicalize().expect("the folder is there");
    let (data, trace, occupied) = (folder.join("data"), folder.join("trace"), folder.join("occupied"));
    // The second server refuses its store, and so the process ends when the store of the first has been made.
    std::fs::write(&occupied, [1; 4096]).expect("a file can be written");
    // Addresses that no other test uses: the processes differ.
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{c}.{d}", 150 + b);
    let mut config = format!("data = \"{}\"\napi = \"{host}:8260\"\n", data.display());
    for (name, port, store) in
        [("s1", 1, "size = \"256MiB\"".to_owned()), ("s2", 2, format!("store = \"{}\"", occupied.display()))]
    {
        config += &format!(
            "[[server]]\nname = \"{name}\"\nportal = \"{host}:326{port}\"\npeer = \"{host}:726{port}\"\n{store}\n"
        );
    }
    let file = folder.join("evenkeel.toml");
    std::fs::write(&file, config).expect("the file can be written");
    let calls = "trace=mkdir,mkdirat,ftruncate,fsync";
    let program = Group::program();
    let args =
        ["-f", "-y", "-e", calls, "-o", text(&trace), text(&program), "serve", "--config", text(&file)];
    let ran = run_within(Duration::from_secs(60), "strace", &args);
    if ran.stderr.contains("ptrace") {
        println!("skipped: programs cannot be traced here: {}", ran.stderr.trim());
        return;
    }
    let _ = ran.refusal(1, &[text(&occupied), "not blank"]);
    let trace = std::fs::read_to_string(&trace).expect("a trace");
    let made_then_synced = |made: &str, folder: &Path| {
        let mut calls = trace.lines().skip_while(|call| !call.contains(made));
        let is_made = calls.next().is_some();
        is_made
            && calls.any(|call| call.contains("fsync(") && call.contains(&format!("<{}>", folder.display())))
    };
    let own = data.join("s1");
    for (made, within) in [
        (format!("\"{}\"", data.display()), &folder),
        (format!("\"{}\"", own.display()), &data),
        (format!("<{}>", own.join("store").display()), &own),
    ] {
        assert!(made_then_synced(&made, within), "{made} is not durable in {}:\n{trace}", within.display());
    }
}
