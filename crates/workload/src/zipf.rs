//! Zipf's law: the thing of rank r is asked for in proportion to 1 / r^s.

/// Zipf's law over a number of ranks.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// At rank r (from 0): the share of all ranks up to and with r.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Over `ranks` ranks, at least one, with this exponent.
    pub(crate) fn new(ranks: usize, exponent: f64) -> Self {
        assert!(ranks > 0, "there is something to choose from");
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|share| *share /= sum);
        Self { cumulative }
    }

    /// The rank, from 0, that a number from 0 up to, and without, 1 stands for.
    pub(crate) fn rank(&self, unit: f64) -> usize {
        self.cumulative.partition_point(|share| *share <= unit).min(self.cumulative.len() - 1)
    }

    /// The share of all requests that goes to a rank.
    pub(crate) fn share(&self, rank: usize) -> f64 {
        self.cumulative[rank] - if rank == 0 { 0.0 } else { self.cumulative[rank - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_first_rank_gets_twice_as_much_as_the_second_and_thrice_as_much_as_the_third() {
        let zipf = Zipf::new(1024, 1.0);
        let mut random = Random::new(1);
        let mut counts = [0u32; 1024];
        for _ in 0..1_000_000 {
            counts[zipf.rank(random.unit())] += 1;
        }
        let ratio = |rank: usize| f64::from(counts[0]) / f64::from(counts[rank]);
        assert!((1.95..2.05).contains(&ratio(1)) && (2.9..3.1).contains(&ratio(2)), "{:?}", &counts[..3]);
        assert!(counts.iter().all(|count| *count > 0));
    }

    #[test]
    fn shares_add_up_and_the_ends_of_the_range_are_ranks() {
        let zipf = Zipf::new(10, 1.0);
        let sum: f64 = (0..10).map(|rank| zipf.share(rank)).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert_eq!((zipf.rank(0.0), zipf.rank(0.999_999_999)), (0, 9));
        assert_eq!(Zipf::new(1, 1.0).rank(0.5), 0);
    }
}
