use super::*;

const CAPACITY: Capacity = Capacity {
    disk_read_iops: 1000.0,
    disk_write_iops: 1000.0,
    disk_mib_s: None,
    net_mib_s: 100.0,
    cpu_cores: 4.0,
};

fn disk(utilisation: f64) -> Parts {
    Parts { owner: Load([0.0, 0.0, 0.0, utilisation, 0.0]), ..Parts::default() }
}

fn front_end(cpu: f64, disk: f64) -> Parts {
    Parts {
        front_end: Load([cpu, 0.0, 0.0, 0.0, 0.0]),
        owner: Load([0.0, 0.0, 0.0, disk, 0.0]),
        copy: Load::ZERO,
    }
}

/// Servers with the given loads on both filters.
fn steady(parts: &[Parts]) -> Vec<Sample> {
    let both = |parts: &Parts| Filtered { fast: *parts, slow: *parts };
    (1..)
        .map(ServerId)
        .zip(parts)
        .map(|(server, p)| Sample { server, capacity: CAPACITY, utilisation: both(p) })
        .collect()
}

struct Bench {
    judge: Judge,
    second: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(Weights::default())
    }

    fn with(weights: Weights) -> Self {
        Self { judge: Judge::new(Thresholds::default(), weights), second: 0 }
    }

    /// Shows the same samples for some seconds; the standing of the first server afterwards.
    fn show(&mut self, samples: &[Sample], seconds: u64) -> Standing {
        for _ in 0..seconds {
            self.second += 1;
            self.judge.step(Time(self.second * 1_000_000_000), samples);
        }
        self.judge.judgement(ServerId(1)).standing
    }

    fn disks(&mut self, loads: &[f64], seconds: u64) -> Standing {
        let parts: Vec<_> = loads.iter().copied().map(disk).collect();
        self.show(&steady(&parts), seconds)
    }
}

#[test]
fn claim_06_the_ratio_decides_on_both_sides_of_1_10() {
    // The mean of three is 0.40; 0.439 is under 1.10 times that, 0.441 over it.
    assert_eq!(Bench::new().disks(&[0.439, 0.38, 0.381], 60), Standing::Even);
    assert_eq!(Bench::new().disks(&[0.441, 0.38, 0.379], 60), Standing::Disproportionate);
}

#[test]
fn claim_06_the_floor_decides_on_both_sides_of_0_30() {
    assert_eq!(Bench::new().disks(&[0.299, 0.05, 0.05], 60), Standing::Idle);
    assert_eq!(Bench::new().disks(&[0.301, 0.05, 0.05], 60), Standing::Disproportionate);
}

#[test]
fn claim_06_time_decides_on_both_sides_of_five_seconds() {
    // The first sight opens the wait, so six looks a second apart are five seconds.
    assert_eq!(Bench::new().disks(&[0.6, 0.3, 0.3], 5), Standing::Watched);
    assert_eq!(Bench::new().disks(&[0.6, 0.3, 0.3], 6), Standing::Disproportionate);
}

#[test]
fn claim_06_an_urgent_server_waits_less() {
    assert_eq!(Bench::new().disks(&[0.95, 0.3, 0.3], 3), Standing::Watched);
    assert_eq!(Bench::new().disks(&[0.95, 0.3, 0.3], 4), Standing::Urgent);
}

#[test]
fn claim_06_both_filters_must_be_over() {
    let high_on: [fn(&mut Filtered<Parts>); 2] = [|of| of.fast = disk(0.9), |of| of.slow = disk(0.9)];
    for raise in high_on {
        let mut samples = steady(&[disk(0.4), disk(0.4), disk(0.4)]);
        raise(&mut samples[0].utilisation);
        let mut bench = Bench::new();
        assert!((0..60).all(|_| bench.show(&samples, 1) == Standing::Even));
    }
}

#[test]
fn claim_06_hysteresis_keeps_acting_down_to_1_07() {
    let mut bench = Bench::new();
    assert_eq!(bench.disks(&[0.50, 0.35, 0.35], 10), Standing::Disproportionate);
    assert_eq!(bench.disks(&[0.435, 0.38, 0.385], 1), Standing::Disproportionate, "1.0875 times the mean");
    assert_eq!(bench.disks(&[0.425, 0.387, 0.388], 1), Standing::Even, "1.0625 times the mean");
    assert_eq!(bench.disks(&[0.435, 0.38, 0.385], 60), Standing::Even, "below the way in again");
}

#[test]
fn claim_06_a_pause_begins_the_wait_anew() {
    let mut bench = Bench::new();
    bench.disks(&[0.6, 0.3, 0.3], 4);
    bench.disks(&[0.4, 0.4, 0.4], 1);
    assert_eq!(bench.disks(&[0.6, 0.3, 0.3], 5), Standing::Watched);
}

#[test]
fn claim_06_nothing_is_done_when_all_are_idle() {
    let mut bench = Bench::new();
    assert_eq!(bench.disks(&[0.2, 0.01, 0.01], 100), Standing::Idle);
    assert_eq!(bench.disks(&[0.0, 0.0, 0.0], 100), Standing::Idle);
}

#[test]
fn claim_06_nothing_is_done_when_all_are_equally_loaded() {
    let mut bench = Bench::new();
    assert_eq!(bench.disks(&[0.97, 0.98, 0.96], 100), Standing::Even);
    assert_eq!(bench.disks(&[5.0, 5.0, 5.0], 100), Standing::Even);
}

#[test]
fn claim_06_nothing_is_done_when_the_load_swings() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.disks(&[0.8, 0.2, 0.2], 3);
        bench.disks(&[0.1, 0.6, 0.6], 3);
    }
    assert_eq!(bench.judge.judgement(ServerId(1)).crossings, 3);
    assert_eq!(bench.disks(&[0.8, 0.2, 0.2], 60), Standing::Swinging);
    assert!(!Standing::Swinging.gives() && !Standing::Swinging.takes());
    assert_eq!(bench.disks(&[0.8, 0.2, 0.2], 70), Standing::Disproportionate, "the swinging is over");
}

#[test]
fn one_shift_is_not_swinging() {
    let mut bench = Bench::new();
    bench.disks(&[0.8, 0.2, 0.2], 10);
    bench.disks(&[0.4, 0.4, 0.4], 10);
    bench.disks(&[0.2, 0.8, 0.2], 10);
    assert_eq!(bench.judge.judgement(ServerId(1)).crossings, 1);
    assert_eq!(bench.judge.judgement(ServerId(2)).standing, Standing::Disproportionate);
}

#[test]
fn portal_work_alone_is_named_as_such() {
    let samples = steady(&[front_end(0.8, 0.1), front_end(0.2, 0.1), front_end(0.2, 0.1)]);
    assert_eq!(Bench::new().show(&samples, 10), Standing::FrontEnd);
    let samples = steady(&[front_end(0.2, 0.8), front_end(0.2, 0.1), front_end(0.2, 0.1)]);
    assert_eq!(Bench::new().show(&samples, 10), Standing::Disproportionate);
}

#[test]
fn a_term_forced_to_zero_judges_nobody() {
    let cpu = Parts { owner: Load([0.8, 0.0, 0.0, 0.0, 0.0]), ..Parts::default() };
    let by_cpu = steady(&[cpu, disk(0.0), disk(0.0)]);
    let by_disk = steady(&[disk(0.8), disk(0.0), disk(0.0)]);
    let (storage, server) = (Weights { storage: 1.0, server: 0.0 }, Weights { storage: 0.0, server: 1.0 });
    assert!(Bench::with(Weights::default()).show(&by_cpu, 10).gives());
    assert!(Bench::with(Weights::default()).show(&by_disk, 10).gives());
    assert!(Bench::with(server).show(&by_cpu, 10).gives() && Bench::with(storage).show(&by_disk, 10).gives());
    assert_eq!(Bench::with(storage).show(&by_cpu, 10), Standing::Idle);
    assert_eq!(Bench::with(server).show(&by_disk, 10), Standing::Idle);
}

#[test]
fn a_lone_server_is_never_over_its_share() {
    assert_eq!(Bench::new().disks(&[0.99], 60), Standing::Even);
}

#[test]
fn a_server_that_was_away_is_judged_from_the_beginning() {
    let mut bench = Bench::new();
    bench.disks(&[0.6, 0.3, 0.3], 10);
    bench.show(&steady(&[disk(0.6), disk(0.3), disk(0.3)])[1..], 1);
    assert_eq!(bench.judge.judgement(ServerId(1)).standing, Standing::Unknown);
    assert_eq!(bench.disks(&[0.6, 0.3, 0.3], 3), Standing::Watched);
}

#[test]
fn capacity_sets_the_share() {
    // Half the utilisation on a server of twice the capacity is the same work; both at 0.5 are even.
    let mut samples = steady(&[disk(0.5), disk(0.5)]);
    samples[0].capacity.disk_read_iops = 2000.0;
    assert_eq!(Bench::new().show(&samples, 60), Standing::Even);
    samples[0].utilisation = Filtered { fast: disk(0.7), slow: disk(0.7) };
    samples[1].utilisation = Filtered { fast: disk(0.1), slow: disk(0.1) };
    assert_eq!(Bench::new().show(&samples, 60), Standing::Disproportionate);
}
