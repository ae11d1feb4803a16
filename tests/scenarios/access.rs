//! Who may use which volume: refused logins get status 0202h, and discovery lists only what may be used.

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::initiator::Event;
use evenkeel_iscsi::pdu::{AsyncEvent, LoginStatus};
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, GroupOptions, Initiator, initiator_config, run};
use std::collections::BTreeMap;
use std::time::Duration;

const ALICE: &str = "iqn.2026-01.example.host:alice";
const BOB: &str = "iqn.2026-01.example.host:bob";
const CAROL: &str = "iqn.2026-01.example.host:carol";
const PREFIX: &str = "iqn.2026-01.io.evenkeel:evenkeel:";

/// Volumes and who may use them.
const VOLUMES: [(&str, &[&str]); 5] = [
    ("for-all", &["any"]),
    ("for-alice", &[ALICE]),
    ("for-bob", &[BOB]),
    ("for-both", &[ALICE, BOB]),
    ("for-nobody", &[]),
];

fn group() -> Group {
    let group = Group::start(GroupOptions::servers(2).store_size("256MiB"));
    for (name, allowed) in VOLUMES {
        let mut args = vec!["volume", "create", name, "--size", "8MiB", "-o", "json"];
        allowed.iter().for_each(|who| args.extend(["--allow", who]));
        let made = group.evenkeel(&args).ok().json();
        assert_eq!(made["iqn"], format!("{PREFIX}{name}"));
        assert_eq!(made["allow"].as_array().expect("a list").len(), allowed.len(), "{made}");
    }
    group
}

fn may(name: &str, who: &str) -> bool {
    let (_, allowed) = VOLUMES.iter().find(|(volume, _)| *volume == name).expect("a volume");
    allowed.contains(&"any") || allowed.contains(&who)
}

fn log_in(portal: &str, who: &str, target: &str) -> Result<Initiator, LoginStatus> {
    Initiator::log_in(portal, initiator_config(who, Some(target), Settings::default()))
}

#[test]
fn a_login_succeeds_for_those_who_may_and_gets_status_0202_for_all_others() {
    let group = group();
    for portal in [group.portal(1), group.portal(2)] {
        for (name, _) in VOLUMES {
            for who in [ALICE, BOB, CAROL] {
                let status = log_in(&portal, who, &format!("{PREFIX}{name}")).err();
                let expected = (!may(name, who)).then_some(LoginStatus(0x0202));
                assert_eq!(status, expected, "{who} to {name} at {portal}");
            }
        }
        // A name with another case, or the start of an allowed one, is another name.
        for who in ["iqn.2026-01.example.host:alic", "iqn.2026-01.example.host:alice2"] {
            assert_eq!(log_in(&portal, who, &format!("{PREFIX}for-alice")).err(), Some(LoginStatus(0x0202)));
        }
        for target in
            [format!("{PREFIX}v9"), "iqn.2026-01.io.evenkeel:barn:for-all".into(), "iqn.1999-01.x:y".into()]
        {
            assert_eq!(log_in(&portal, ALICE, &target).err(), Some(LoginStatus(0x0203)), "{target}");
        }
    }
    let sessions = group.evenkeel(&["session", "list", "-o", "json"]).ok().json();
    let rows = sessions["sessions"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["volume"] != "for-nobody"), "{sessions}");
}

#[test]
fn discovery_lists_only_what_one_may_use_each_with_all_portals() {
    let group = group();
    let portals: Vec<String> = [1, 2].map(|server| format!("{},{server}", group.portal(server))).into();
    for portal in [group.portal(1), group.portal(2)] {
        for who in [ALICE, BOB, CAROL] {
            let config = initiator_config(who, None, Settings::default());
            let mut discovery = Initiator::log_in(&portal, config).expect("discovery is for all");
            let found: BTreeMap<String, Vec<String>> = discovery.discover().into_iter().collect();
            let expected: BTreeMap<String, Vec<String>> = VOLUMES
                .iter()
                .filter(|(name, _)| may(name, who))
                .map(|(name, _)| (format!("{PREFIX}{name}"), portals.clone()))
                .collect();
            assert_eq!(found, expected, "{who} at {portal}");
        }
    }
}

#[test]
fn an_initiator_of_others_finds_and_uses_only_what_it_may() {
    let group = group();
    let discover = format!("iscsi://{}", group.portal(2));
    for (who, count) in [(ALICE, 3), (BOB, 3), (CAROL, 1)] {
        let listed = run("iscsi-ls", &["-i", who, &discover]).ok().stdout;
        let targets: Vec<&str> = listed.lines().filter(|line| line.contains("Target:")).collect();
        for (name, _) in VOLUMES {
            let listed = targets.iter().any(|line| line.contains(&format!("{PREFIX}{name} ")));
            assert_eq!(listed, may(name, who), "{name} for {who}: {targets:?}");
        }
        // Each target once for each portal.
        assert_eq!(targets.len(), count * 2, "{who}: {targets:?}");
        for (name, _) in VOLUMES {
            let ran = run("iscsi-inq", &["-i", who, &group.url(1, &format!("{PREFIX}{name}"))]);
            assert_eq!(ran.code == 0, may(name, who), "{name} for {who}: {ran:?}");
            let refused = (ran.stderr + &ran.stdout).contains("Authorization failure");
            assert_eq!(refused, !may(name, who), "{name} for {who}");
        }
    }
}

#[test]
fn a_deleted_volume_ends_its_sessions_and_is_not_found_any_more() {
    let group = group();
    let target = format!("{PREFIX}for-alice");
    let mut session = log_in(&group.portal(1), ALICE, &target).expect("alice may");
    let other = format!("{PREFIX}for-both");
    let mut spared = log_in(&group.portal(1), ALICE, &other).expect("alice may");
    let _ = group.evenkeel(&["volume", "delete", "for-alice"]).ok();
    let mut told = false;
    while let Some(event) = session.event(Duration::from_secs(30)) {
        told |= matches!(event, Event::Async { event: AsyncEvent::SessionDrop, .. });
    }
    assert!(told, "the initiator hears that its session is dropped");
    for server in [1, 2] {
        assert_eq!(log_in(&group.portal(server), ALICE, &target).err(), Some(LoginStatus(0x0203)));
    }
    let attentions = 4;
    let good = (0..attentions).any(|_| spared.ask(&request::test_unit_ready()).status == Some(Status::Good));
    assert!(good, "the session of another volume goes on");
}
