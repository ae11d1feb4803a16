//! The rules hold within small bounds, and each of them is needed.

use evenkeel_model::{Bound, Case, Coverage, Limits, Outcome, Property, QUICK, Rule, Rules, Verdict};
use evenkeel_model::{search, walk};

/// Searches a quick bound whole with all rules: everything must hold, in at least `states` states, and the states must
/// have come across what the bound is for.
fn holds(name: &str, states: usize, needed: impl Fn(&Coverage) -> Vec<u64>) {
    let held = QUICK.iter().find(|held| held.bound.name == name).expect("a quick bound of that name");
    let Outcome { verdict, states: found, coverage, .. } =
        search(&held.bound, Rules::ALL, held.heals, Limits::default());
    match verdict {
        Verdict::Holds => {}
        Verdict::Cut => panic!("{name} was not searched whole: {found} states"),
        Verdict::Violated(violation) => panic!("{name}: all rules hold, and yet\n{violation}"),
    }
    assert!(found >= states, "{name}: {found} states are too few to mean anything, {states} were expected");
    assert!(coverage.acknowledged > 0 && coverage.reads > 0, "{name}: {coverage}");
    let needed = needed(&coverage);
    assert!(needed.iter().all(|count| *count > 0), "{name} does not come across what it is for: {coverage}");
}

#[test]
fn every_quick_bound_has_a_test() {
    let tested = [
        "fault",
        "crash",
        "marks",
        "slow-up",
        "two-writes",
        "two-writes-lost",
        "two-writes-apart",
        "move",
        "rebuild-gone",
        "switch",
        "switch-and-writes",
    ];
    assert_eq!(QUICK.iter().map(|held| held.bound.name).collect::<Vec<_>>(), tested);
}

#[test]
fn a_fault_loses_nothing() {
    holds("fault", 500_000, |coverage| vec![coverage.takeovers, coverage.became_up]);
}

#[test]
fn a_group_comes_back_from_every_crash() {
    holds("crash", 100_000, |coverage| vec![coverage.takeovers, coverage.became_up]);
}

#[test]
fn servers_that_suspect_each_other_lose_nothing() {
    holds("marks", 500_000, |coverage| vec![coverage.takeovers, coverage.became_up]);
}

#[test]
fn a_slow_transaction_to_up_loses_nothing() {
    holds("slow-up", 200_000, |coverage| vec![coverage.takeovers, coverage.became_up]);
}

#[test]
fn two_writes_in_flight_to_one_region_keep_their_order() {
    holds("two-writes", 200_000, |coverage| vec![coverage.takeovers, coverage.two_in_flight]);
}

#[test]
fn two_writes_in_flight_may_be_lost_with_their_owner() {
    holds("two-writes-lost", 40_000, |coverage| vec![coverage.takeovers, coverage.two_in_flight]);
}

#[test]
fn two_writes_in_flight_to_two_regions_lose_nothing() {
    holds("two-writes-apart", 400_000, |coverage| vec![coverage.takeovers, coverage.two_in_flight]);
}

#[test]
fn a_move_of_any_replica_loses_nothing() {
    holds("move", 600_000, |coverage| vec![coverage.moved, coverage.rebuilt, coverage.takeovers]);
}

#[test]
fn a_rebuild_in_the_place_of_a_replica_that_is_gone_loses_nothing() {
    holds("rebuild-gone", 100_000, |coverage| vec![coverage.rebuilt, coverage.takeovers]);
}

#[test]
fn an_owner_switch_loses_nothing() {
    holds("switch", 60_000, |coverage| vec![coverage.switched, coverage.takeovers, coverage.became_up]);
}

#[test]
fn an_owner_switch_with_writes_in_flight_loses_nothing() {
    holds("switch-and-writes", 30_000, |coverage| vec![coverage.switched, coverage.two_in_flight]);
}

/// What goes wrong without a rule, or what else the search says.
fn without(rule: Rule) -> String {
    let Case { bound, property } = Case::of(rule);
    let heals = property == Property::Heals;
    match search(&bound, Rules::ALL.without(rule), heals, Limits::default()).verdict {
        Verdict::Violated(violation) if violation.property == property => property.to_string(),
        Verdict::Violated(violation) => format!("without {rule} something else breaks first:\n{violation}"),
        Verdict::Holds | Verdict::Cut => format!("without {rule} everything holds in bound {}", bound.name),
    }
}

fn each_is_needed(rules: &[Rule]) {
    assert!(!rules.is_empty());
    for rule in rules.iter().copied() {
        assert_eq!(without(rule), Case::of(rule).property.to_string());
    }
}

/// The rules in two halves, so that two cores can share them.
const FIRST_HALF: usize = Rule::ALL.len() / 2;

#[test]
fn each_rule_of_membership_and_takeover_is_needed() {
    each_is_needed(&Rule::ALL[..FIRST_HALF]);
}

#[test]
fn each_rule_of_writes_and_moves_is_needed() {
    each_is_needed(&Rule::ALL[FIRST_HALF..]);
}

#[test]
fn a_timeline_tells_what_happens_without_the_last_up_rule() {
    let Case { bound, .. } = Case::of(Rule::LastUp);
    let outcome = search(&bound, Rules::ALL.without(Rule::LastUp), false, Limits::default());
    let Verdict::Violated(violation) = outcome.verdict else {
        panic!("nothing found: {outcome:?}");
    };
    let told = violation.to_string();
    assert!(told.contains(". A marks B down: revision 2\n"), "{told}");
    assert!(told.contains("finds nobody to catch up with, and becomes up\n"), "{told}");
    assert!(told.ends_with("=> an in-sync copy lacks an acknowledged write"), "{told}");
}

#[test]
fn a_search_that_reaches_a_limit_says_so() {
    let held = QUICK[0];
    let few = Limits { states: 1000, ..Limits::default() };
    let outcome = search(&held.bound, Rules::ALL, false, few);
    assert_eq!(outcome.verdict, Verdict::Cut);
    assert!((1000..1100).contains(&outcome.states), "{}", outcome.states);
    let small = Limits { bytes: 4 << 20, ..Limits::default() };
    let outcome = search(&held.bound, Rules::ALL, false, small);
    assert_eq!(outcome.verdict, Verdict::Cut);
    assert!(outcome.states > 1000, "{}", outcome.states);
}

#[test]
fn a_random_walk_finds_what_a_missing_rule_breaks_and_its_number_finds_it_again() {
    let bound = Case::of(Rule::ReadWaits).bound;
    let rules = Rules::ALL.without(Rule::ReadWaits);
    let found = walk(&bound, rules, 1, 60, |walked| walked.walks == 20_000);
    let (number, violation) = found.violation.expect("walks find the read of a write in flight");
    assert_eq!(violation.property, Property::ReadsAreCurrent);
    let again = walk(&bound, rules, number, 60, |walked| walked.walks == 1);
    assert_eq!(again.violation, Some((number, violation)));
}

#[test]
fn random_walks_with_all_rules_come_across_everything_and_find_nothing() {
    let bound = Bound {
        writes: 3,
        in_flight: 2,
        crashes: 1,
        marks: 1,
        moves: 1,
        switches: 1,
        warm: true,
        frees: true,
        forgets: true,
        ..Bound::QUIET
    };
    let walked = walk(&bound, Rules::ALL, 1, 120, |walked| walked.walks == 4000);
    assert_eq!(walked.violation, None);
    assert_eq!(walked.walks, 4000);
    assert!(walked.healed > 100, "{}", walked.healed);
    for (name, count) in walked.coverage.rows() {
        assert!(count > 0, "no walk came across {name}");
    }
}
