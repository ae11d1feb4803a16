//! Sizes as people write them. Binary: 1G = 1GiB = 2^30 bytes.

const UNITS: [(&str, u32); 6] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("PiB", 50), ("B", 0)];

/// Reads `4GiB`, `4G`, `512k`, `1.5T` or a plain number of bytes.
///
/// # Errors
/// One line that names the value and what would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("size '{text}': write a number with an optional unit, for example 512MiB, 4G or 1.5T");
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        "p" | "pib" => 50,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits_ok = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits_ok(whole) || !digits_ok(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let value = format!("{whole}{fraction}").parse::<u128>().map_err(|_| wrong())?;
    let bytes = value.checked_mul(1 << shift).ok_or_else(wrong)? / scale;
    u64::try_from(bytes).map_err(|_| wrong())
}

/// Reads a rate: a size with an optional `/s`. Bytes per second.
///
/// # Errors
/// As [`parse_size`], and for a rate of zero.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_size(text.trim().trim_end_matches("/s"))? {
        0 => Err(format!("rate '{text}': must be above zero, for example 1MiB/s")),
        rate => Ok(rate),
    }
}

/// A size in the largest unit that leaves it at 1 or above, with up to two decimals.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let fits = |shift: u32| shift == 0 || bytes >> shift > 0;
    let (name, shift) =
        UNITS.iter().filter(|(_, shift)| fits(*shift)).max_by_key(|(_, shift)| *shift).unwrap_or(&UNITS[5]);
    let hundredths = (u128::from(bytes) * 100) >> shift;
    match hundredths % 100 {
        0 => format!("{}{name}", hundredths / 100),
        rest if rest % 10 == 0 => format!("{}.{}{name}", hundredths / 100, rest / 10),
        rest => format!("{}.{rest:02}{name}", hundredths / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_with_and_without_ib() {
        for (text, bytes) in [
            ("1G", 1 << 30),
            ("1GiB", 1 << 30),
            ("4k", 4096),
            ("1.5T", 3 << 39),
            ("512", 512),
            ("0.5 MiB", 1 << 19),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_named_in_the_error() {
        for text in ["", "G", "1X", "-1G", "1..2G", "99999999P", "1.1234567G", "1e3"] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
        assert_eq!(parse_rate("1MiB/s"), Ok(1 << 20));
        assert!(parse_rate("0/s").is_err());
    }

    #[test]
    fn sizes_are_shown_in_their_largest_unit() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 30, "1GiB"),
            (3 << 29, "1.5GiB"),
            (4100, "4KiB"),
            (1100, "1.07KiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
