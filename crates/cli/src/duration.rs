//! Durations as people write them.

use std::time::Duration;

/// Longest duration that is taken: a year. Anything above is a mistake in the unit.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads `500ms`, `30s`, `5m`, `2h` or a plain number of seconds.
///
/// # Errors
/// One line that says what would be right; the argument parser adds the value and the flag.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number with an optional unit, for example 500ms, 30s, 5m or 2h".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let unit_ms = match text[split..].trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let duration = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wrong)?);
    if duration > DURATION_MAX { Err("a year is the longest that is taken".to_owned()) } else { Ok(duration) }
}

/// The duration in the unit that suits it: `350ms`, `4.2s`, `75s`, `12m`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..10_000 if ms % 1000 >= 100 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        1000..600_000 => format!("{}s", ms / 1000),
        600_000..36_000_000 => format!("{}m", ms / 60_000),
        _ => format!("{}h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("30", 30_000), ("5m", 300_000), ("2h", 7_200_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1.5s", "99999999999999999999", "18446744073709551615h", "9000h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_unit_that_suits_them() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (4250, "4.2s"),
            (75_000, "75s"),
            (720_000, "12m"),
            (36_000_000, "10h"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
        }
    }
}
