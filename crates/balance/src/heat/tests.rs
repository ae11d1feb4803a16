use super::*;
use crate::filter::HalfLives;
use evenkeel_types::VolumeId;
use std::time::Duration;

const EVEN: Filtered<f64> = Filtered { fast: 1.0, slow: 1.0 };

fn extent(index: u32) -> ExtentId {
    ExtentId { volume: VolumeId(7), index }
}

fn charge(table: &mut HeatTable, index: u32, seconds: f64) {
    table.charge(extent(index), Access::Read, (index % 32 * 131_072, 4096), |_| {
        Load([0.0, 0.0, 0.0, seconds, 0.0])
    });
}

fn tick(table: &mut HeatTable) {
    table.tick(HalfLives::default().step(Duration::from_secs(1)), 1.0);
}

#[test]
fn heat_comes_near_a_steady_load_and_halves_in_a_half_life() {
    let mut table = HeatTable::default();
    for _ in 0..60 {
        charge(&mut table, 1, 0.2);
        tick(&mut table);
    }
    let steady = table.get(extent(1)).unwrap().heat;
    assert!((steady.fast.sum() - 0.2).abs() < 1e-3 && (steady.slow.sum() - 0.2).abs() < 5e-3, "{steady:?}");
    (0..3).for_each(|_| tick(&mut table));
    assert!((table.get(extent(1)).unwrap().heat.fast.sum() - 0.1).abs() < 1e-3);
}

#[test]
fn what_is_left_alone_is_forgotten() {
    let mut table = HeatTable::default();
    (0..1000).for_each(|index| charge(&mut table, index, 0.001));
    (0..200).for_each(|_| tick(&mut table));
    assert_eq!(table.len(), 0);
    assert!(table.get(extent(5)).is_none());
}

#[test]
fn the_table_is_bounded_and_keeps_the_hottest() {
    let mut table = HeatTable::default();
    let more = EXTENTS_TRACKED_MAX as u32 + 1000;
    (0..more).for_each(|index| charge(&mut table, index, if index % 2 == 0 { 0.002 } else { 0.001 }));
    assert_eq!(table.len(), EXTENTS_TRACKED_MAX);
    tick(&mut table);
    assert_eq!(table.len(), EXTENTS_TRACKED_MAX / 2);
    assert!(table.iter().all(|heat| heat.extent.index % 2 == 0));
    charge(&mut table, more, 0.001);
    assert!(table.get(extent(more)).is_some());
}

#[test]
fn every_extent_is_found_after_others_were_forgotten() {
    let mut table = HeatTable::default();
    (0..5000).for_each(|index| charge(&mut table, index, 0.001));
    (0..5000).step_by(3).for_each(|index| table.forget(extent(index)));
    for index in 0..5000 {
        assert_eq!(table.get(extent(index)).is_some(), index % 3 != 0, "{index}");
    }
}

#[test]
fn a_scan_is_in_use_for_a_tick_and_a_hot_extent_for_all() {
    let mut table = HeatTable::default();
    charge(&mut table, 1, 0.5);
    for _ in 0..8 {
        charge(&mut table, 2, 0.01);
        tick(&mut table);
    }
    assert_eq!(table.get(extent(1)).unwrap().ticks_in_use(), 1);
    assert_eq!(table.get(extent(2)).unwrap().ticks_in_use(), 8);
}

#[test]
fn a_new_load_counts_at_once_and_a_past_one_no_longer() {
    let mut table = HeatTable::default();
    for _ in 0..2 {
        charge(&mut table, 1, 0.2);
        tick(&mut table);
    }
    let heat = table.get(extent(1)).unwrap();
    assert_eq!(heat.estimate(EVEN), heat.heat.fast);
}
