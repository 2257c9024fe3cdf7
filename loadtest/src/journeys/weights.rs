//! How often shoppers make each journey: the file of weights, and its defaults.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use strum::VariantNames as _;
use toml::{Table, Value};

use super::scenario::{Journey, Scenario};
use crate::failure::Failure;

/// The documented defaults.
const DEFAULTS: &str = include_str!("../../weights.toml");
/// The section of the pauses.
const PAUSE: &str = "pause";
/// Largest weight, and longest pause in milliseconds.
const LARGEST: i64 = 1_000_000;

/// The weights of one scenario.
#[derive(Clone, Debug)]
pub struct Weights {
    journeys: Vec<Journey>,
    index: WeightedIndex<u64>,
    pause: (Duration, Duration),
}

impl Weights {
    /// The weights of `scenario`: the defaults, with the sections of `file` in their place.
    ///
    /// # Errors
    /// [`Failure::Usage`] with all faults of the file.
    pub fn load(file: Option<&Path>, scenario: Scenario) -> Result<Self, Failure> {
        let Some(file) = file else {
            return Self::parse("", scenario)
                .map_err(|faults| Failure::Plain(format!("the default weights: {}", faults.join("; "))));
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::failed(format!("{} can't be read", file.display()), error))?;
        Self::parse(&text, scenario)
            .map_err(|faults| Failure::Usage(format!("{}: {}", file.display(), faults.join("; "))))
    }

    /// The weights by the text of a file, or all that is wrong with it.
    fn parse(text: &str, scenario: Scenario) -> Result<Self, Vec<String>> {
        let own: Table = text.parse().map_err(|error| vec![format!("no TOML: {error}")])?;
        let mut sections: Table = DEFAULTS
            .parse()
            .map_err(|error| vec![format!("no TOML: {error}")])?;
        let own_names: Vec<String> = own.keys().cloned().collect();
        sections.extend(own);
        let mut faults = Vec::new();
        let mut scenarios = BTreeMap::new();
        let mut pause = (Duration::ZERO, Duration::ZERO);
        for (name, section) in &sections {
            match (name.as_str(), section) {
                (_, Value::Table(section)) if name == PAUSE => pause = read_pause(section, &mut faults),
                (_, Value::Table(section)) if Scenario::VARIANTS.contains(&name.as_str()) => {
                    scenarios.insert(name.as_str(), read_weights(name, section, &mut faults));
                }
                (_, Value::Table(_)) => faults.push(format!(
                    "[{name}] is no scenario; there are {}",
                    Scenario::VARIANTS.join(", ")
                )),
                _ => faults.push(format!("{name} stands outside of a section")),
            }
        }
        let weights = scenarios.remove(scenario.name()).unwrap_or_default();
        let (journeys, shares): (Vec<_>, Vec<_>) = weights.into_iter().unzip();
        match WeightedIndex::new(shares) {
            Ok(index) if faults.is_empty() => Ok(Self {
                journeys,
                index,
                pause,
            }),
            // Named above where the section is the file's.
            Err(_) if !own_names.iter().any(|name| name == scenario.name()) => {
                faults.push(format!("[{}] is missing", scenario.name()));
                Err(faults)
            }
            _ => Err(faults),
        }
    }

    /// The next journey of a shopper.
    pub fn draw(&self, random: &mut impl Rng) -> Journey {
        self.journeys[self.index.sample(random)]
    }

    /// Whether any shopper makes this journey.
    pub fn has(&self, wanted: impl Fn(Journey) -> bool) -> bool {
        self.journeys.iter().any(|journey| wanted(*journey))
    }

    /// The shortest and the longest pause between two journeys.
    pub fn pause(&self) -> (Duration, Duration) {
        self.pause
    }
}

fn read_weights(name: &str, section: &Table, faults: &mut Vec<String>) -> Vec<(Journey, u64)> {
    let before = faults.len();
    let mut weights = Vec::new();
    for (key, value) in section {
        let Ok(journey) = key.parse::<Journey>() else {
            faults.push(format!(
                "{name}.{key} is no journey; there are {}",
                Journey::VARIANTS.join(", ")
            ));
            continue;
        };
        match value.as_integer() {
            Some(0) => {}
            Some(weight @ 1..=LARGEST) => weights.push((journey, weight.unsigned_abs())),
            _ => faults.push(format!("{name}.{key} must be an integer between 0 and {LARGEST}")),
        }
    }
    if weights.is_empty() && faults.len() == before {
        faults.push(format!("[{name}] has no journey with a weight above 0"));
    }
    weights
}

fn read_pause(section: &Table, faults: &mut Vec<String>) -> (Duration, Duration) {
    for key in section
        .keys()
        .filter(|key| !["least", "most"].contains(&key.as_str()))
    {
        faults.push(format!("{PAUSE}.{key} is not known; there are least and most"));
    }
    let mut milliseconds = |key: &str| match section.get(key).and_then(Value::as_integer) {
        Some(value @ 0..=LARGEST) => Some(Duration::from_millis(value.unsigned_abs())),
        _ => {
            faults.push(format!(
                "{PAUSE}.{key} must be an integer between 0 and {LARGEST}"
            ));
            None
        }
    };
    match (milliseconds("least"), milliseconds("most")) {
        (Some(least), Some(most)) if least > most => {
            faults.push(format!("{PAUSE}.least must not be above {PAUSE}.most"));
            (least, least)
        }
        (Some(least), Some(most)) => (least, most),
        _ => (Duration::ZERO, Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn every_scenario_has_default_weights() {
        for scenario in Scenario::iter() {
            Weights::parse("", scenario).unwrap();
        }
    }

    #[test]
    fn journeys_come_as_often_as_they_weigh() {
        let weights = Weights::parse(
            "[steady]\nbrowse = 3\nsearch = 1\ncome-back = 0\n",
            Scenario::Steady,
        )
        .unwrap();
        let mut random = StdRng::seed_from_u64(7);
        let drawn: Vec<_> = (0..10_000).map(|_| weights.draw(&mut random)).collect();
        let browsed = drawn
            .iter()
            .filter(|journey| **journey == Journey::Browse)
            .count();
        assert!((7_300..7_700).contains(&browsed), "{browsed}");
        assert!(!weights.has(|journey| journey == Journey::ComeBack));
    }

    #[test]
    fn a_file_replaces_the_sections_that_it_has() {
        let text = "[steady]\nbrowse = 1\n[pause]\nleast = 5\nmost = 5\n";
        let steady = Weights::parse(text, Scenario::Steady).unwrap();
        assert!(!steady.has(|journey| journey != Journey::Browse));
        assert_eq!(
            steady.pause(),
            (Duration::from_millis(5), Duration::from_millis(5))
        );
        assert!(
            Weights::parse(text, Scenario::Zipf)
                .unwrap()
                .has(|journey| journey == Journey::Search)
        );
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let text = "stray = 1\n[steady]\nbrows = 1\nsearch = -1\nfill-cart = 1.5\n[rush]\nbrowse = 1\n\
                    [zipf]\nbrowse = 0\n[pause]\nleast = 9\nmost = 2\nmean = 3\n";
        let faults = Weights::parse(text, Scenario::Steady).unwrap_err();
        let named = |part: &str| {
            assert!(
                faults.iter().any(|fault| fault.contains(part)),
                "{part}: {faults:#?}"
            )
        };
        for part in [
            "stray stands outside",
            "steady.brows is no journey",
            "steady.search must be an integer",
            "steady.fill-cart must be an integer",
            "[rush] is no scenario",
            "[zipf] has no journey",
            "pause.mean is not known",
            "pause.least must not be above",
        ] {
            named(part);
        }
        assert_eq!(faults.len(), 8, "{faults:#?}");
        assert!(Weights::parse("[steady", Scenario::Steady).unwrap_err()[0].starts_with("no TOML"));
    }
}
