//! Running programs to their end.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Ran {
    /// The same, after asserting that it succeeded.
    ///
    /// # Panics
    /// If it did not, with everything that it printed.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The reason of a refusal: one line on standard error that names everything in `words`, nothing else printed,
    /// and this exit code.
    ///
    /// # Panics
    /// If it is not so, with everything that was printed.
    pub fn refusal(&self, code: i32, words: &[&str]) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let line = self.stderr.strip_prefix("evenkeel: ").and_then(|rest| rest.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("not a line of the program's: {self:?}"));
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        for word in words {
            assert!(line.contains(word), "'{word}' is missing in: {line}");
        }
        for word in ["panicked", "backtrace", "Err("] {
            assert!(!line.contains(word), "'{word}' in: {line}");
        }
        line
    }

    /// What it printed on standard output, as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

/// Runs a program for at most two minutes.
#[must_use]
pub fn run(program: &str, args: &[&str]) -> Ran {
    run_within(Duration::from_secs(120), program, args)
}

/// Runs a program; it is killed when the time is over.
///
/// # Panics
/// If it cannot be started (then it must be installed), or did not end in time.
#[must_use]
pub fn run_within(limit: Duration, program: &str, args: &[&str]) -> Ran {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}; run tools/setup.sh test"));
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let Some(status) = status else {
        panic!("{program} {args:?} did not end in {limit:?}\n{stdout}\n{stderr}")
    };
    Ran { code: status.code().unwrap_or(-1), stdout, stderr }
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
