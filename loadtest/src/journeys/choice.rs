//! Which product a shopper chooses.

use rand::Rng;
use rand::distr::Distribution;
use rand_distr::Zipf;

use crate::failure::Failure;

/// How products are chosen: by their index in the catalogue.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Each as often as any other.
    Uniform(usize),
    /// By Zipf's law: the one of rank r in proportion to r to the power of minus the exponent.
    Zipf(Zipf<f64>),
}

impl Choice {
    /// Zipf's law over `products` products.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the exponent is none.
    pub fn zipf(products: usize, exponent: f64) -> Result<Self, Failure> {
        Zipf::new(products as f64, exponent)
            .map(Self::Zipf)
            .map_err(|error| Failure::Usage(format!("--exponent {exponent}: {error}")))
    }

    /// The index of a product.
    pub fn draw(&self, random: &mut impl Rng) -> usize {
        match self {
            Self::Uniform(products) => random.random_range(0..*products),
            // Ranks begin with 1.
            Self::Zipf(zipf) => zipf.sample(random) as usize - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const PRODUCTS: usize = 1_000;
    const DRAWS: usize = 200_000;

    fn counts(choice: &Choice) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(11);
        let mut counts = vec![0; PRODUCTS];
        for _ in 0..DRAWS {
            counts[choice.draw(&mut random)] += 1;
        }
        counts
    }

    #[test]
    fn zipf_has_the_frequencies_of_its_law() {
        for exponent in [0.8, 1.0, 1.5] {
            let counts = counts(&Choice::zipf(PRODUCTS, exponent).unwrap());
            let weight = |rank: usize| (rank as f64).powf(-exponent);
            let sum: f64 = (1..=PRODUCTS).map(weight).sum();
            for rank in [1, 2, 3, 10, 30] {
                let expected = DRAWS as f64 * weight(rank) / sum;
                let found = counts[rank - 1] as f64;
                // Six standard deviations of a count.
                assert!(
                    (found - expected).abs() < 6.0 * expected.sqrt(),
                    "{exponent}, {rank}: {found}, {expected}"
                );
            }
            // The last rank is drawn as well, and nothing beyond.
            assert!(counts[PRODUCTS / 2..].iter().sum::<usize>() > 0);
        }
    }

    #[test]
    fn uniform_prefers_nothing() {
        let counts = counts(&Choice::Uniform(PRODUCTS));
        assert!(counts.iter().all(|count| (100..320).contains(count)));
    }

    #[test]
    fn an_exponent_must_be_one() {
        assert!(Choice::zipf(PRODUCTS, -1.0).is_err());
        assert!(Choice::zipf(PRODUCTS, f64::NAN).is_err());
    }
}
