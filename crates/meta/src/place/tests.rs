use super::*;
use std::collections::BTreeMap;

fn place(servers: &[(u32, u32, u32)]) -> Place {
    let placed = |(server, weight, domain): &(u32, u32, u32)| PlacedServer {
        server: ServerId(*server),
        weight: *weight,
        domain: *domain,
    };
    Place::new(servers.iter().map(placed).collect()).unwrap()
}

fn equal(servers: u32) -> Place {
    place(&(1..=servers).map(|n| (n, 1, n)).collect::<Vec<_>>())
}

/// How many of the runs each server owns.
fn shares(place: &Place, runs: u32) -> BTreeMap<ServerId, u32> {
    let mut shares = BTreeMap::new();
    for run in 0..runs {
        *shares.entry(place.locate(0x5eed, run, 1)[0]).or_insert(0) += 1;
    }
    shares
}

fn assert_near(found: u32, expected: f64, tolerance: f64, what: &str) {
    let deviation = (f64::from(found) / expected - 1.0).abs();
    assert!(deviation < tolerance, "{what}: {found} instead of {expected:.0}");
}

/// The vectors of docs/routing.md. They are part of the format: no version of the program may give another answer.
#[test]
fn the_published_vectors_hold() {
    let three = equal(3);
    let six = place(&[(1, 100, 0), (2, 100, 0), (3, 200, 1), (4, 200, 1), (7, 400, 2), (9, 50, 3)]);
    let located = |place: &Place, seed, run, replicas| -> Vec<u32> {
        place.locate(seed, run, replicas).iter().map(|server| server.0).collect()
    };
    let document = include_str!("../../../../docs/routing.md");
    let mut checked = 0;
    for line in document.lines().filter(|line| line.starts_with("| three |") || line.starts_with("| six |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let place = if cells[0] == "three" { &three } else { &six };
        let seed = u64::from_str_radix(cells[1].trim_start_matches("0x"), 16).unwrap();
        let expected: Vec<u32> = cells[4].split(' ').map(|server| server.parse().unwrap()).collect();
        let found = located(place, seed, cells[2].parse().unwrap(), cells[3].parse().unwrap());
        assert_eq!(found, expected, "{line}");
        checked += 1;
    }
    assert_eq!(checked, 16);
    assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    assert_eq!(mix(0x0123_4567_89ab_cdef), 0x157a_3807_a48f_aa9d);
    assert_eq!(neg_log2(0x0123_4567_89ab_cdef), 0x0007_d053_f6d2_608a);
    assert_eq!(neg_log2(0xc000_0000_0000_0000), 0x6a3f_e5c6_042a);
    assert_eq!(neg_log2(u64::MAX), 1);
}

#[test]
fn the_logarithm_is_that_of_real_numbers_and_never_0() {
    let one = (1u64 << LOG_FRACTION_BITS) as f64;
    for n in 0..10_000u64 {
        let x = mix(n) >> (n % 64);
        let expected = 64.0 - ((x | 1) as f64).log2();
        let found = neg_log2(x) as f64 / one;
        assert!((found - expected).abs() < 1e-9, "{x:#x}: {found} instead of {expected}");
    }
    assert!(neg_log2(u64::MAX) > 0);
    assert!(neg_log2(u64::MAX) <= neg_log2(u64::MAX - 2));
    assert_eq!(neg_log2(0), 64 << LOG_FRACTION_BITS);
}

#[test]
fn equal_servers_get_equal_shares() {
    const RUNS: u32 = 48_000;
    for servers in [2, 3, 5, 16] {
        for (server, share) in shares(&equal(servers), RUNS) {
            assert_near(share, f64::from(RUNS / servers), 0.05, &format!("{server} of {servers}"));
        }
    }
}

#[test]
fn shares_are_proportional_to_weights() {
    let shares = shares(&place(&[(1, 1000, 1), (2, 2000, 2), (3, 4000, 3)]), 70_000);
    for (server, expected) in [(1, 10_000.0), (2, 20_000.0), (3, 40_000.0)] {
        assert_near(shares[&ServerId(server)], expected, 0.03, &format!("weight of server {server}"));
    }
}

#[test]
fn a_further_server_takes_its_share_and_moves_nothing_else() {
    const RUNS: u32 = 10_000;
    let (before, after) = (equal(4), equal(5));
    let mut moved = 0;
    for run in 0..RUNS {
        let (old, new) = (before.locate(7, run, 1)[0], after.locate(7, run, 1)[0]);
        if old != new {
            assert_eq!(new, ServerId(5));
            moved += 1;
        }
    }
    assert_near(moved, f64::from(RUNS / 5), 0.06, "moved runs");
}

#[test]
fn replicas_lie_in_distinct_domains() {
    let place = place(&[(1, 5, 0), (2, 5, 0), (3, 5, 0), (4, 1, 1), (5, 1, 1), (6, 9, 2)]);
    let domain = |server: &ServerId| place.servers().iter().find(|p| p.server == *server).unwrap().domain;
    for run in 0..2000 {
        let three = place.locate(1, run, 3);
        let mut domains: Vec<u32> = three.iter().map(domain).collect();
        domains.sort_unstable();
        assert_eq!(domains, [0, 1, 2]);
        // Fewer replicas are a beginning of more.
        assert_eq!(three[..2], place.locate(1, run, 2)[..]);
        assert_eq!(three[..1], place.locate(1, run, 1)[..]);
    }
}

/// The straightforward way to say what `locate` computes in one pass.
#[test]
fn locating_is_sorting_by_cost_and_taking_the_first_of_each_domain() {
    for n in 0..3000u64 {
        let servers: Vec<(u32, u32, u32)> = (1..=(n % 9 + 1) as u32)
            .map(|s| (s, (mix(n ^ u64::from(s)) % 50) as u32 + 1, (mix(n + u64::from(s)) % 4) as u32))
            .collect();
        let place = place(&servers);
        let (seed, run) = (mix(n), n as u32);
        let key = mix(mix(seed) ^ u64::from(run));
        let mut costs: Vec<Cost> = place.servers().iter().map(|placed| Cost::of(key, placed)).collect();
        costs.sort_by(
            |a, b| if a.is_below(b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater },
        );
        for replicas in 1..=3u8 {
            let mut expected: Vec<PlacedServer> = Vec::new();
            for cost in &costs {
                let new = expected.iter().all(|placed| placed.domain != cost.placed.domain);
                if new && expected.len() < usize::from(replicas) {
                    expected.push(cost.placed);
                }
            }
            let expected: Vec<ServerId> = expected.iter().map(|placed| placed.server).collect();
            assert_eq!(place.locate(seed, run, replicas)[..], expected[..]);
        }
    }
}

#[test]
fn with_too_few_domains_there_are_fewer_replicas() {
    assert_eq!(place(&[(1, 1, 0), (2, 1, 0)]).locate(1, 1, 3).len(), 1);
    assert_eq!(place(&[(1, 1, 0), (2, 1, 0)]).domains(), 1);
}

#[test]
fn impossible_places_are_refused_also_when_read() {
    assert_eq!(Place::new(Vec::new()), Err(PlaceError::Count { count: 0 }));
    let server = |n| PlacedServer { server: ServerId(n), weight: 1, domain: 0 };
    assert_eq!(Place::new(vec![server(4), server(4)]), Err(PlaceError::Server { server: ServerId(4) }));
    let many: Vec<PlacedServer> = (1..=257).map(server).collect();
    assert_eq!(Place::new(many), Err(PlaceError::Count { count: 257 }));
    assert!(serde_json::from_str::<Place>(r#"[{"server":1,"weight":0,"domain":0}]"#).is_err());
    let good: Place =
        serde_json::from_str(r#"[{"server":2,"weight":1,"domain":0},{"server":1,"weight":3,"domain":0}]"#)
            .unwrap();
    assert_eq!(good.servers()[0].server, ServerId(1));
}
