//! An ext4 file system in an image, made of a folder, without mounting anything: what hosts keep on volumes.

use crate::program::{Ran, run, run_within};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An image with an ext4 file system in it that holds a program, a media file and a database.
pub struct Filesystem {
    /// The image.
    pub image: PathBuf,
    /// The folder that the image was made of.
    files: PathBuf,
}

/// Rows of the database.
const ROWS: u32 = 8_000;
/// What the database is asked; one line of text.
const QUESTION: &str = "select count(*) || ' ' || sum(id) || ' ' || sum(length(text)) from notes";
/// Bytes of the media file.
const MEDIA_BYTES: u64 = 24 << 20;
/// Names of the files.
const FILES: [&str; 3] = ["program", "media", "database"];

impl Filesystem {
    /// Makes the files, and of them an image of this size in mebibytes.
    ///
    /// # Panics
    /// If one of the programs for it is missing or fails.
    #[must_use]
    pub fn make(folder: &Path, mebibytes: u32) -> Self {
        let files = folder.join("files");
        std::fs::create_dir(&files).expect("the folder of the files");
        // A program that needs nothing else and prints something: the one under test.
        std::fs::copy(crate::Group::program(), files.join(FILES[0])).expect("the program is copied");
        crate::random_image(&files.join(FILES[1]), MEDIA_BYTES, 3);
        let make = format!(
            "create table notes (id integer primary key, text text);
             with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS})
             insert into notes select i, hex(randomblob(100 + i % 400)) from n;
             create index by_text on notes (text);"
        );
        let _ = sqlite(&files.join(FILES[2]), &make);
        let image = folder.join("filesystem.raw");
        let _ =
            of_system("mkfs.ext4", &["-q", "-F", "-d", text(&files), text(&image), &format!("{mebibytes}M")])
                .ok();
        Self { image, files }
    }

    /// Asserts that an image holds the same files, sound and usable: the program runs, the media file is the same, the
    /// database passes its own check and answers the same.
    ///
    /// # Panics
    /// If not.
    pub fn check_files_in(&self, image: &Path, folder: &Path) {
        let _ = of_system("e2fsck", &["-fn", text(image)]).ok();
        for name in FILES {
            let (back, original) = (folder.join(name), self.files.join(name));
            let _ = std::fs::remove_file(&back);
            let _ =
                of_system("debugfs", &["-R", &format!("dump -p /{name} {}", text(&back)), text(image)]).ok();
            crate::compare_files(&original, &back);
        }
        let ran = run(text(&folder.join(FILES[0])), &["version"]).ok();
        assert!(ran.stdout.contains(env!("CARGO_PKG_VERSION")), "the program says {}", ran.stdout);
        let database = folder.join(FILES[2]);
        assert_eq!(sqlite(&database, "pragma integrity_check").trim(), "ok");
        let answer = sqlite(&database, QUESTION);
        assert!(answer.starts_with(&format!("{ROWS} ")), "the database says {answer}");
        assert_eq!(answer, sqlite(&self.files.join(FILES[2]), QUESTION));
    }
}

/// Carries out statements on a database; gives the first column of the last one's first row.
fn sqlite(database: &Path, statements: &str) -> String {
    const SCRIPT: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
*first, last = [statement for statement in sys.argv[2].split(';') if statement.strip()]
for statement in first:
    database.execute(statement)
row = database.execute(last).fetchone()
database.commit()
print(row[0] if row else '')
";
    run("python3", &["-c", SCRIPT, text(database), statements]).ok().stdout
}

/// Runs a program that may lie where only root's path leads.
fn of_system(program: &str, args: &[&str]) -> Ran {
    let places = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(program));
    let found = places.iter().find(|path| path.exists());
    run_within(Duration::from_secs(60), found.map_or(program, |path| text(path)), args)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}
