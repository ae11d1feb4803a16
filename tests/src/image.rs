//! Disk images with content that no mistake reproduces by chance.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Writes `bytes` pseudo-random bytes, with a hole of zeros in every fourth mebibyte so that thin places occur too.
///
/// # Panics
/// If the file cannot be written.
pub fn random_image(path: &Path, bytes: u64, seed: u64) {
    let mut out = BufWriter::new(std::fs::File::create(path).expect("the image can be created"));
    let mut state = seed | 1;
    let mut piece = vec![0u8; 1 << 20];
    for n in 0..bytes.div_ceil(1 << 20) {
        let len = (bytes - (n << 20)).min(1 << 20) as usize;
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        if n % 4 == 3 {
            piece[..512 << 10].fill(0);
        }
        out.write_all(&piece[..len]).expect("the image can be written");
    }
    out.flush().expect("the image can be written");
}

/// Asserts that two files are equal.
///
/// # Panics
/// If they differ, with the first offset.
pub fn compare_files(a: &Path, b: &Path) {
    let open = |path: &Path| BufReader::new(std::fs::File::open(path).expect("the image can be opened"));
    let len = |path: &Path| std::fs::metadata(path).expect("the image exists").len();
    assert_eq!(len(a), len(b), "sizes of {} and {}", a.display(), b.display());
    let (mut one, mut two) = (open(a), open(b));
    let (mut x, mut y) = (vec![0u8; 1 << 16], vec![0u8; 1 << 16]);
    let mut at = 0u64;
    loop {
        let n = one.read(&mut x).expect("the image can be read");
        two.read_exact(&mut y[..n]).expect("the image can be read");
        if n == 0 {
            return;
        }
        if let Some(first) = (0..n).find(|i| x[*i] != y[*i]) {
            panic!("{} and {} differ at byte {}", a.display(), b.display(), at + first as u64);
        }
        at += n as u64;
    }
}
