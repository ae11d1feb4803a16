//! A panic is a fault of the program: what the thread had in hand may be half done, and nobody can say what of it
//! others rely on. The process ends at once, and the next start finds what is durable.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;

/// From now on a panic in any thread or task of this process ends it, after one line that says where and why. Without
/// this a runtime catches the panic of a task, and the others go on beside half-done work.
pub(crate) fn end_the_process() {
    std::panic::set_hook(Box::new(|info| {
        // In one piece, so that other threads cannot write in between.
        let _ = std::io::stderr().write_all(report(info).as_bytes());
        std::process::abort();
    }));
}

fn report(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let why = info.payload_as_str().unwrap_or("no reason given").lines().collect::<Vec<_>>().join(" ");
    let mut report = format!(
        "evenkeel: panic in thread {name} at {place}: {why}; a fault of the program, the process ends\n"
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        report += &trace.to_string();
    }
    report
}

#[cfg(test)]
mod tests {
    use crate::{ServeConfig, process};
    use std::io::Read;
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// Set for the process that is to panic: where its data lies.
    const DATA: &str = "EVENKEEL_TEST_PANIC_DATA";
    /// A process that has not ended by then goes on for ever.
    const ENDS_WITHIN: Duration = Duration::from_secs(60);

    /// An address of loopback that other test processes have no ports on.
    fn own_address(port: u16) -> SocketAddr {
        let [_, b, c, d] = std::process::id().to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(127, 100 + b, c, d), port))
    }

    async fn planted() {
        panic!("planted\npanic");
    }

    /// Serves, and panics in a task once it does.
    fn serve_and_panic(data: &str) {
        let config = ServeConfig::equal_servers(
            data.as_ref(),
            1,
            own_address(3260),
            own_address(7260),
            own_address(8260),
        );
        let mut config = config;
        config.servers[0].size = Some("256MiB".to_owned());
        let api = config.api;
        std::thread::spawn(move || {
            while TcpStream::connect(api).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let tasks = tokio::task::LocalSet::new();
            let task = tasks.spawn_local(planted());
            // Here the runtime catches it, as it does in a server's thread.
            assert!(tasks.block_on(&runtime, task).is_err());
        });
        process::serve(config).unwrap();
    }

    #[test]
    fn a_panic_in_a_task_ends_the_serving_process_with_one_line() {
        if let Ok(data) = std::env::var(DATA) {
            return serve_and_panic(&data);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panics::tests::a_panic_in_a_task_ends_the_serving_process_with_one_line"])
            .arg("--nocapture")
            .env(DATA, folder.path().join("data"))
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if began.elapsed() > ENDS_WITHIN => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            child.kill().unwrap();
        }
        let mut printed = String::new();
        child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = status.unwrap_or_else(|| panic!("the process goes on: {printed}"));
        assert_eq!(status.signal(), Some(6), "it aborts: {printed}");
        let lines: Vec<&str> = printed.lines().filter(|line| line.contains("planted")).collect();
        assert!(lines.len() == 1 && lines[0].contains("planted panic; a fault"), "{printed}");
        assert!(
            lines[0].starts_with("evenkeel: panic in thread") && lines[0].contains("panics.rs:"),
            "{printed}"
        );
    }
}
