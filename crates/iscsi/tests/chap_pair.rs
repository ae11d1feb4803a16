//! CHAP between the crate's own initiator and target.

mod pair;

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::chap::{Account, Algorithm, Challenge, Credentials, RANDOM_BYTES, Secret};
use evenkeel_iscsi::initiator::{Chap, Connection, Event, Failure};
use evenkeel_iscsi::target::{Authenticated, Authentication};
use pair::{Pair, initiator_config};
use std::sync::Arc;

fn account(name: &str, secret: &str) -> Account {
    let secret = Secret::new(secret.as_bytes().to_vec()).expect("a secret is long enough");
    Account::new(name, secret).expect("a name can be sent")
}

fn credentials(initiator: &str, target: Option<&str>) -> Arc<Credentials> {
    let target = target.map(|secret| account("array", secret));
    Arc::new(Credentials::new(account("host", initiator), target).expect("the secrets differ"))
}

fn run(demanded: Authentication, chap: Option<Chap>, chunk_max: usize) -> Pair {
    let mut pair = Pair::new(7, Settings::default(), initiator_config(Settings::default()));
    if let Some(chap) = chap {
        pair.initiator = Connection::with_chap(initiator_config(Settings::default()), chap);
    }
    pair.ports.authentication = demanded;
    pair.chunk_max = chunk_max;
    pair.run();
    pair
}

fn chap(initiator: &str, target: Option<&str>) -> Chap {
    Chap::new(credentials(initiator, target), Challenge::new([0x21; RANDOM_BYTES]))
}

const HOST: &str = "secret of the host";
const ARRAY: &str = "secret of the array";

fn demanded() -> Authentication {
    Authentication::Chap(credentials(HOST, Some(ARRAY)))
}

#[test]
fn both_sides_prove_themselves_by_each_algorithm_however_the_stream_is_cut() {
    for algorithm in Algorithm::ALL {
        for (target, proven) in [(None, Authenticated::Initiator), (Some(ARRAY), Authenticated::Both)] {
            for chunk_max in [1, 7, 1 << 20] {
                let chap = Chap { algorithms: vec![algorithm], ..chap(HOST, target) };
                let mut pair = run(demanded(), Some(chap), chunk_max);
                assert!(matches!(pair.events.pop_front(), Some(Event::LoggedIn)), "{:?}", pair.events);
                assert_eq!(pair.target.info().facts.authenticated, proven);
            }
        }
    }
}

#[test]
fn an_initiator_that_cannot_prove_itself_is_refused() {
    for chap in [None, Some(chap(ARRAY, None)), Some(chap("another secret", Some(ARRAY)))] {
        let mut pair = run(demanded(), chap, 1 << 20);
        let event = pair.events.pop_front();
        assert!(matches!(event, Some(Event::LoginRefused { status, .. }) if status.0 == 0x0201), "{event:?}");
        assert!(pair.initiator.is_closed() && pair.target.is_finished());
    }
}

#[test]
fn an_initiator_gives_up_a_target_that_does_not_prove_itself() {
    let is_given_up = |mut pair: Pair| {
        let event = pair.events.pop_front();
        let failed = matches!(event, Some(Event::Closed(Failure::Authentication(_))));
        assert!(failed && pair.initiator.is_closed(), "{event:?}");
        assert!(!pair.target.info().full_feature);
    };
    is_given_up(run(demanded(), Some(chap(HOST, Some("not the array's secret"))), 1 << 20));
    // The target asks for no proof, so it never comes to its own: the initiator does not offer to go without.
    let refused = run(Authentication::None, Some(chap(HOST, Some(ARRAY))), 1 << 20).events.pop_front();
    assert!(matches!(refused, Some(Event::LoginRefused { status, .. }) if status.0 == 0x0201), "{refused:?}");
}

#[test]
fn an_initiator_that_could_prove_itself_also_gets_in_where_nothing_is_asked() {
    let mut pair = run(Authentication::None, Some(chap(HOST, None)), 1 << 20);
    assert!(matches!(pair.events.pop_front(), Some(Event::LoggedIn)), "{:?}", pair.events);
    assert_eq!(pair.target.info().facts.authenticated, Authenticated::Nobody);
}
