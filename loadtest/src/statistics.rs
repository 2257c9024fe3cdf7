//! Medians and spreads of rounds.

/// A median with the least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { min, median, max })
    }
}

/// The spread of the ratios of each round: what both sides did within one round shared the machine's condition. Not the
/// ratio of the medians, which may stem from different rounds.
pub fn ratios(ones: &[f64], others: &[f64]) -> Option<Spread> {
    let ratios: Vec<f64> = ones
        .iter()
        .zip(others)
        .filter(|(_, other)| **other > 0.0)
        .map(|(one, other)| one / other)
        .collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(Spread::of(&[]), None);
        let of = |values: &[f64]| Spread::of(values).unwrap();
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Spread {
                min: 1.0,
                median: 2.0,
                max: 3.0
            }
        );
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    /// The machine is half as fast in every other round: the rates spread widely, the ratios not at all.
    #[test]
    fn ratios_are_of_each_round() {
        let (souk, other) = ([100.0, 50.0, 90.0], [1_000.0, 500.0, 900.0]);
        let spread = ratios(&souk, &other).unwrap();
        assert!(
            [spread.min, spread.median, spread.max]
                .iter()
                .all(|ratio| (ratio - 0.1).abs() < 1e-9)
        );
        // A yardstick that did nothing in a round gives no ratio.
        assert_eq!(ratios(&[1.0], &[0.0]), None);
        assert_eq!(ratios(&[1.0, 3.0], &[0.0, 1.0]).unwrap().median, 3.0);
    }

    /// The ratio of the medians would be 1.
    #[test]
    fn the_ratio_of_medians_is_another_thing() {
        let spread = ratios(&[1.0, 2.0, 3.0], &[2.0, 3.0, 1.0]).unwrap();
        assert!((spread.median - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!((spread.min, spread.max), (0.5, 3.0));
    }
}
