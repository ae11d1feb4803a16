use super::*;

fn figures(imbalance: f64, throughput: f64, p99_ms: u64) -> Figures {
    let p99 = Duration::from_millis(p99_ms);
    Figures { imbalance, shares: [0.5, 0.3, 0.2], throughput, p50: p99 / 4, p99 }
}

fn good() -> Outcome {
    let spot = HotSpot { extent: 420, server: 1, share: 0.7 };
    Outcome {
        seed: 1,
        balanced: true,
        offered: 2300.0,
        hot_spots: [spot, HotSpot { extent: 90, server: 0, share: 0.68 }],
        before: figures(2.1, 2000.0, 3000),
        after: figures(1.06, 2300.0, 8),
        after_shift: figures(1.08, 2299.0, 9),
        evened: Some(Duration::from_secs(31)),
        evened_again: Some(Duration::from_secs(29)),
        moved: Moved { completed: 40, under_way: 0, aborted: 0, bytes: 160 << 20 },
        totals: Totals { requests: 300_000, checked_blocks: 1_300_000, ..Totals::default() },
        verified_blocks: VOLUME_BLOCKS,
        time: Duration::from_secs(180),
    }
}

#[test]
fn a_good_run_has_no_failures_and_says_so_in_json() {
    let outcome = good();
    assert_eq!(outcome.failures(), Vec::<String>::new());
    let json: serde_json::Value = serde_json::from_str(&outcome.json()).unwrap();
    for field in [
        "seed",
        "servers",
        "imbalance_before",
        "imbalance_after",
        "imbalance_after_shift",
        "p99_before_ms",
        "p99_after_ms",
        "throughput_before",
        "throughput_after",
        "moves",
        "bytes_moved",
        "io_errors",
        "mismatches",
        "verified_blocks",
        "seconds",
    ] {
        assert!(json[field].is_number(), "{field}: {}", json[field]);
    }
    assert!(!outcome.json().contains('\n'));
}

#[test]
fn each_thing_that_does_not_hold_is_named() {
    let names: Vec<String> = ["s1", "s2", "s3"].map(str::to_owned).to_vec();
    type Spoil = fn(&mut Outcome);
    let spoil: [(Spoil, &str); 9] = [
        (|outcome| outcome.before.imbalance = 1.7, "imbalance before"),
        (|outcome| outcome.after.imbalance = 1.3, "imbalance after is"),
        (|outcome| outcome.after_shift.imbalance = 1.26, "imbalance after the shift"),
        (|outcome| outcome.after.p99 = Duration::from_secs(4), "p99"),
        (|outcome| outcome.after.throughput = 1900.0, "requests/s"),
        (|outcome| outcome.moved.bytes = 2 << 30, "of the volume was moved"),
        (|outcome| outcome.totals.errors = 1, "requests failed"),
        (|outcome| outcome.totals.mismatches = 1, "something else than was written"),
        (|outcome| outcome.verified_blocks -= 1, "read back"),
    ];
    for (spoil, word) in spoil {
        let mut outcome = good();
        spoil(&mut outcome);
        let failures = outcome.failures();
        assert!(failures.len() == 1 && failures[0].contains(word), "{word}: {failures:?}");
        assert!(outcome.words(&names).contains("NOT AS IT SHOULD BE"));
    }
}

#[test]
fn a_run_without_balancing_must_stay_uneven_and_right() {
    let mut outcome = good();
    outcome.balanced = false;
    assert_eq!(outcome.failures().len(), 2, "it got even without balancing");
    outcome.after = figures(2.0, 2000.0, 9000);
    outcome.after_shift = figures(1.9, 2000.0, 19_000);
    assert_eq!(outcome.failures(), Vec::<String>::new());
    outcome.totals.mismatches = 2;
    assert_eq!(outcome.failures().len(), 1);
}
