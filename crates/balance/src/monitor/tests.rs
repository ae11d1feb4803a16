use super::*;
use crate::charge::{Access, Direction};
use crate::judge::Standing;
use crate::resource::Resource;
use evenkeel_types::VolumeId;

const CAPACITY: Capacity = Capacity {
    disk_read_iops: 1000.0,
    disk_write_iops: 1000.0,
    disk_mib_s: None,
    net_mib_s: 100.0,
    cpu_cores: 1.0,
};

fn extent(index: u32) -> ExtentId {
    ExtentId { volume: VolumeId(1), index }
}

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

fn monitor(id: u32) -> Monitor {
    let mut monitor = Monitor::new(at(0), ServerId(id), Incarnation(1), CAPACITY, MonitorOptions::default());
    monitor.set_members((1..=3).map(|id| (ServerId(id), Membership::Up)));
    monitor
}

fn read(index: u32, n: u32) -> Charge {
    let offset = n.wrapping_mul(2_654_435_761) % 1024 * 4096;
    Charge::Extent { extent: extent(index), access: Access::Read, offset, bytes: 4096, remote: false }
}

/// Charges so many random reads a second, for some seconds from `from`.
fn busy(monitor: &mut Monitor, from: u64, seconds: u64, reads: u32) -> Report {
    let mut report = None;
    for second in from..from + seconds {
        (0..reads).for_each(|n| monitor.charge(&read(n % 10, n + second as u32 * 7919)));
        report = Some(monitor.tick(at(second + 1)));
    }
    report.unwrap()
}

#[test]
fn offered_load_counts_also_beyond_what_the_server_can_do() {
    let report = busy(&mut monitor(1), 0, 30, 2000);
    let utilisation = report.utilisation.fast.owner.of(Resource::DiskRead);
    assert!((1.8..=2.05).contains(&utilisation), "{utilisation}");
}

#[test]
fn a_young_monitor_makes_up_for_the_time_it_has_not_seen() {
    let report = busy(&mut monitor(1), 0, 2, 500);
    let disk = report.utilisation.map(|parts| parts.owner.of(Resource::DiskRead));
    assert!((0.45..=0.52).contains(&disk.fast) && (0.45..=0.52).contains(&disk.slow), "{disk:?}");
    assert_eq!(report.uptime_ms, 2000);
}

#[test]
fn extents_and_totals_add_up() {
    let report = busy(&mut monitor(1), 0, 20, 800);
    let of_extents = report.hot.iter().fold(Load::ZERO, |sum, hot| sum + hot.heat);
    let share = of_extents.of(Resource::DiskRead) / report.utilisation.fast.owner.of(Resource::DiskRead);
    assert!((0.97..=1.03).contains(&share), "{share}");
}

#[test]
fn front_end_owner_and_copy_work_are_told_apart() {
    let mut monitor = monitor(1);
    monitor.charge(&Charge::FrontEnd { read_bytes: 65536, write_bytes: 0, digest: true, forwarded: true });
    monitor.charge(&read(1, 1));
    monitor.charge(&Charge::Copy { direction: Direction::Out, bytes: 65536 });
    let parts = monitor.tick(at(1)).utilisation.fast;
    assert!(parts.front_end.of(Resource::NetOut) > 0.0 && parts.front_end.of(Resource::DiskRead) == 0.0);
    assert!(parts.owner.of(Resource::DiskRead) > 0.0 && parts.owner.of(Resource::NetOut) == 0.0);
    assert!(parts.copy.of(Resource::DiskRead) > 0.0 && parts.copy.of(Resource::NetOut) > 0.0);
    assert_eq!(parts.offered(), parts.front_end + parts.owner);
}

#[test]
fn the_list_of_hot_extents_is_bounded_and_sorted() {
    let mut monitor = monitor(1);
    for index in 0..200 {
        (0..=index).for_each(|n| monitor.charge(&read(index, n)));
    }
    let report = monitor.tick(at(1));
    assert_eq!(report.hot.len(), HOT_EXTENTS_MAX);
    assert!(report.hot.windows(2).all(|pair| pair[0].heat.sum() >= pair[1].heat.sum()));
    assert!(report.hot.iter().all(|hot| hot.extent.index >= 130), "the hottest are in it");
    assert_eq!(monitor.extents_tracked(), 200);
}

#[test]
fn a_report_fits_the_wire_and_comes_back_the_same() {
    let mut monitor = monitor(1);
    (0..100).for_each(|index| monitor.charge(&read(index, index)));
    let report = monitor.tick(at(1));
    let bytes = postcard::to_allocvec(&report).unwrap();
    assert!(bytes.len() < 4096, "{} bytes", bytes.len());
    let back: Report = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(
        (back.server, back.sequence, back.hot.len()),
        (report.server, report.sequence, report.hot.len())
    );
    assert!(back.is_sane());
    let gap = back.hot[0].heat.sum() - report.hot[0].heat.sum();
    assert!(gap.abs() < 1e-6);
}

#[test]
fn old_repeated_and_reordered_reports_change_nothing() {
    let (mut here, mut there) = (monitor(1), monitor(2));
    let first = there.tick(at(1));
    let second = busy(&mut there, 1, 1, 500);
    assert_eq!(here.handle_report(at(2), ServerId(2), second.clone()), ReportVerdict::Taken);
    let before = here.table(at(3));
    assert_eq!(here.handle_report(at(3), ServerId(2), first), ReportVerdict::Old);
    assert_eq!(here.handle_report(at(3), ServerId(2), second), ReportVerdict::Old);
    assert_eq!(here.table(at(3)), before);
}

#[test]
fn a_restarted_servers_reports_are_new_though_their_count_begins_again() {
    let mut here = monitor(1);
    let old = busy(&mut monitor(2), 0, 9, 10);
    assert_eq!(here.handle_report(at(9), ServerId(2), old.clone()), ReportVerdict::Taken);
    let mut restarted = Monitor::new(at(9), ServerId(2), Incarnation(2), CAPACITY, MonitorOptions::default());
    assert_eq!(here.handle_report(at(10), ServerId(2), restarted.tick(at(10))), ReportVerdict::Taken);
    assert_eq!(here.handle_report(at(10), ServerId(2), old), ReportVerdict::Old);
}

#[test]
fn reports_of_strangers_and_senseless_ones_are_refused() {
    let mut here = monitor(1);
    let report = monitor(2).tick(at(1));
    assert_eq!(here.handle_report(at(1), ServerId(3), report.clone()), ReportVerdict::Foreign);
    let stranger = monitor(9).tick(at(1));
    assert_eq!(here.handle_report(at(1), ServerId(9), stranger), ReportVerdict::Foreign);
    let senseless: [fn(&mut Report); 5] = [
        |report| *report.utilisation.fast.owner.of_mut(Resource::Cpu) = f64::NAN,
        |report| *report.utilisation.slow.owner.of_mut(Resource::Cpu) = -1.0,
        |report| report.capacity.cpu_cores = 0.0,
        |report| report.leaving = Load([f64::INFINITY; 5]),
        |report| {
            let hot = HotExtent {
                extent: extent(0),
                heat: Load::ZERO,
                pattern: Pattern::default(),
                bytes: 0,
                ticks_in_use: 0,
            };
            report.hot = vec![hot; HOT_EXTENTS_MAX + 1];
        },
    ];
    for break_it in senseless {
        let mut broken = report.clone();
        break_it(&mut broken);
        assert_eq!(here.handle_report(at(1), ServerId(2), broken), ReportVerdict::Senseless);
    }
    assert_eq!(here.handle_report(at(1), ServerId(2), report), ReportVerdict::Taken);
}

#[test]
fn a_silent_peer_is_stale_after_three_seconds_and_unknown_to_the_judge() {
    let (mut here, mut there) = (monitor(1), monitor(2));
    here.handle_report(at(1), ServerId(2), there.tick(at(1)));
    here.tick(at(1));
    let line = |here: &Monitor, now| here.table(now)[1].clone();
    assert!(!line(&here, at(4)).is_stale);
    let later = line(&here, at(4) + Duration::from_millis(1));
    assert!(later.is_stale && later.standing == Standing::Unknown && later.report_age_ms == Some(3001));
    let never = here.table(at(4))[2].clone();
    assert!(never.is_stale && never.report_age_ms.is_none() && never.standing == Standing::Unknown);
}

#[test]
fn every_server_prints_the_same_table_of_the_same_reports() {
    let mut monitors = [monitor(1), monitor(2), monitor(3)];
    for second in 1..20 {
        for n in 0..900 {
            monitors[if n % 3 == 0 { n as usize / 3 % 3 } else { 0 }].charge(&read(n, n + second));
        }
        let reports: Vec<_> = monitors.iter_mut().map(|m| m.tick(at(u64::from(second)))).collect();
        for monitor in &mut monitors {
            for report in &reports {
                monitor.handle_report(at(u64::from(second)), report.server, report.clone());
            }
        }
    }
    let now = at(20);
    monitors.iter_mut().for_each(|m| m.judge_group(now));
    let mut tables = monitors.iter().map(|m| m.table(now));
    let first = tables.next().unwrap();
    assert!(first[0].combined.fast > 1.5 * first[1].combined.fast);
    assert_eq!(first[0].standing, Standing::Disproportionate);
    tables.for_each(|table| {
        for (a, b) in table.iter().zip(&first) {
            assert_eq!((a.combined, a.utilisation, a.mean), (b.combined, b.utilisation, b.mean));
        }
    });
}

#[test]
fn an_extent_that_left_takes_its_heat_along() {
    let mut monitor = monitor(1);
    busy(&mut monitor, 0, 5, 500);
    monitor.move_out_began(extent(3));
    let report = monitor.tick(at(6));
    assert!(report.moves_out == 1 && report.leaving.of(Resource::DiskRead) > 0.0);
    monitor.move_out_ended(extent(3), MoveOutcome::Failed);
    assert!(monitor.heat_of(extent(3)) != Load::ZERO);
    monitor.move_out_began(extent(3));
    monitor.move_out_ended(extent(3), MoveOutcome::Completed);
    assert_eq!(monitor.heat_of(extent(3)), Load::ZERO);
    let report = monitor.tick(at(7));
    assert!(report.moves_out == 0 && report.hot.iter().all(|hot| hot.extent != extent(3)));
}

#[test]
fn members_that_left_are_forgotten() {
    let mut here = monitor(1);
    here.handle_report(at(1), ServerId(2), monitor(2).tick(at(1)));
    here.set_members([(ServerId(1), Membership::Up), (ServerId(3), Membership::Down)]);
    let servers: Vec<_> = here.table(at(1)).iter().map(|line| line.server.0).collect();
    assert_eq!(servers, [1, 3]);
}

#[test]
fn a_second_tick_at_the_same_moment_changes_no_rate() {
    let mut monitor = monitor(1);
    let before = busy(&mut monitor, 0, 5, 500);
    let again = monitor.tick(at(5));
    assert_eq!(again.utilisation, before.utilisation);
    assert!(again.is_newer_than(&before));
}
