//! The result of a comparison: as text, and as a section of a document.

use std::time::Duration;

use super::Measured;
use crate::failure::Outcome;
use crate::statistics::{Spread, ratios};
use crate::table::{grouped, lines};

/// What was measured on, and how.
pub struct Setting {
    /// The machine.
    pub machine: String,
    /// The commit of the tree, where it is known.
    pub commit: Option<String>,
    /// Rounds.
    pub rounds: u64,
    /// Seconds of each side in each round.
    pub seconds: u64,
}

/// The rounds of one side.
struct Column {
    name: String,
    rounds: Vec<Measured>,
}

/// All rounds of all sides; the first side is the one that is compared.
pub struct Report {
    setting: Setting,
    sides: Vec<Column>,
    missing: Vec<&'static str>,
}

impl Report {
    /// A report without rounds.
    pub fn new(setting: Setting, names: impl Iterator<Item = String>, missing: Vec<&'static str>) -> Self {
        let column = |name| Column {
            name,
            rounds: Vec::new(),
        };
        Self {
            setting,
            sides: names.map(column).collect(),
            missing,
        }
    }

    /// Adds what a side did in a round.
    pub fn add(&mut self, side: usize, measured: Measured) {
        self.sides[side].rounds.push(measured);
    }

    /// Wrong where a side did nothing at all.
    pub fn outcome(&self) -> Outcome {
        let idle = |side: &Column| side.rounds.iter().any(|round| round.rate <= 0.0);
        if self.sides.iter().any(idle) {
            Outcome::Wrong
        } else {
            Outcome::Done
        }
    }

    /// Heading and rows: name, rate, ratio of the first side to it, latency.
    fn rows(&self) -> Vec<Vec<String>> {
        let first = self.sides.first().map(rates).unwrap_or_default();
        let heading = [
            "",
            "checkouts/s: median (min..max)",
            "Souk does: median of the rounds (min..max)",
            "a checkout: p50, p99",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for (at, side) in self.sides.iter().enumerate() {
            let rates = rates(side);
            let ratio = match at {
                0 => None,
                _ => ratios(&first, &rates),
            };
            rows.push(vec![
                side.name.clone(),
                Spread::of(&rates).map_or("-".to_owned(), whole),
                ratio.map_or(String::new(), |ratio| {
                    format!(
                        "{} ({}..{})",
                        share(ratio.median),
                        share(ratio.min),
                        share(ratio.max)
                    )
                }),
                latency(side).unwrap_or_default(),
            ]);
        }
        rows
    }

    fn remarks(&self) -> String {
        let Setting {
            machine,
            commit,
            rounds,
            seconds,
        } = &self.setting;
        let commit = commit
            .as_ref()
            .map_or("commit unknown".to_owned(), |commit| format!("commit {commit}"));
        let mut text = format!(
            "{rounds} rounds of {seconds} s for each side in turn, after one that warms up; {machine}; {commit}."
        );
        for name in &self.missing {
            text.push_str(&format!(" {name} was not installed, and is left out."));
        }
        text
    }

    /// The report for a terminal.
    pub fn text(&self) -> String {
        format!("{}\n{}\n", lines(&self.rows()), self.remarks())
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.remarks());
        for (at, row) in self.rows().iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if at == 0 {
                text.push_str(&format!("{}|\n", "|---".repeat(row.len())));
            }
        }
        text
    }
}

fn rates(side: &Column) -> Vec<f64> {
    side.rounds.iter().map(|round| round.rate).collect()
}

fn latency(side: &Column) -> Option<String> {
    let (halves, mosts): (Vec<_>, Vec<_>) = side.rounds.iter().filter_map(|round| round.latency).unzip();
    let median = |durations: &[Duration]| {
        let milliseconds: Vec<f64> = durations
            .iter()
            .map(|duration| duration.as_secs_f64() * 1e3)
            .collect();
        Spread::of(&milliseconds).map(|spread| spread.median)
    };
    Some(format!("{:.1} ms, {:.1} ms", median(&halves)?, median(&mosts)?))
}

fn whole(spread: Spread) -> String {
    format!(
        "{} ({}..{})",
        grouped(spread.median),
        grouped(spread.min),
        grouped(spread.max)
    )
}

/// A ratio with two digits that count.
fn share(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_compares_the_first_with_each_other() {
        let setting = Setting {
            machine: "2 cores".to_owned(),
            commit: Some("abc".to_owned()),
            rounds: 2,
            seconds: 4,
        };
        let names = ["Souk", "other"].map(str::to_owned).into_iter();
        let mut report = Report::new(setting, names, vec!["Redis"]);
        let measured = |rate, latency| Measured { rate, latency };
        let latency = Some((Duration::from_millis(8), Duration::from_millis(30)));
        for (souk, other) in [(200.0, 2_000.0), (300.0, 1_500.0)] {
            report.add(0, measured(souk, latency));
            report.add(1, measured(other, None));
        }
        let text = report.markdown();
        assert!(
            text.contains("| Souk | 250 (200..300) |  | 8.0 ms, 30.0 ms |"),
            "{text}"
        );
        assert!(
            text.contains("| other | 1,750 (1,500..2,000) | 0.15 (0.10..0.20) |  |"),
            "{text}"
        );
        assert!(
            text.contains("Redis was not installed") && text.contains("commit abc"),
            "{text}"
        );
        assert_eq!(report.outcome(), Outcome::Done);
    }
}
