//! The result of an open loop: as a table, and as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::Tally;
use super::memory::Memory;
use super::shopper::Journey;
use crate::failure::Failure;
use crate::statistics::Spread;
use crate::table::{grouped, lines};

/// The quantiles that are shown, by name.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One run at a constant rate.
pub struct Run {
    /// The rate in per cent of the peak.
    pub percent: u64,
    /// The peak of its round, a second.
    pub peak: f64,
    /// Arrivals a second.
    pub rate: f64,
    /// What came of them.
    pub tally: Tally,
    /// The memory of the nodes, where the operator's interface is known.
    pub memory: Option<Memory>,
}

/// All runs.
pub struct Report {
    journey: Journey,
    nodes: usize,
    crowd: Option<usize>,
    /// The runs in their order.
    pub runs: Vec<Run>,
}

impl Report {
    /// A report without runs. `crowd` is the number of shoppers that reached the peak.
    pub fn new(journey: Journey, nodes: usize, crowd: Option<usize>) -> Self {
        Self {
            journey,
            nodes,
            crowd,
            runs: Vec::new(),
        }
    }

    /// The first failure of each run that has one.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().filter_map(|run| run.tally.failure.as_deref())
    }

    /// The runs of each rate.
    fn by_rate(&self) -> BTreeMap<u64, Vec<&Run>> {
        let mut rates: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            rates.entry(run.percent).or_default().push(run);
        }
        rates
    }

    /// The report as a table.
    pub fn text(&self) -> String {
        let from = match self.crowd {
            Some(crowd) => format!("closed loop of {crowd} shoppers"),
            None => "as given".to_owned(),
        };
        let peaks = self.runs.iter().map(|run| run.peak);
        let mut text = format!(
            "peak: {} {}/s on {} nodes ({from})\n",
            spread(peaks, grouped),
            self.journey.unit(),
            self.nodes
        );
        for (percent, runs) in self.by_rate() {
            let parts = runs.iter().map(|run| run.tally.goodput() / run.peak);
            text.push_str(&format!(
                "{percent} %: goodput {} of the peak of its round",
                spread(parts, |part| format!("{part:.2}"))
            ));
            let accepted = runs.iter().filter(|run| run.tally.accepted > 0);
            let p99s: Vec<f64> = accepted
                .map(|run| run.tally.quantile(0.99).as_secs_f64() * 1e3)
                .collect();
            if !p99s.is_empty() {
                text.push_str(&format!(", p99 {} ms", spread(p99s, grouped)));
            }
            text.push('\n');
        }
        text.push('\n');
        let mut rows = vec![heading()];
        rows.extend(self.runs.iter().map(row));
        text.push_str(&lines(&rows));
        text.push_str("\nCounts are arrivals; latencies are of what was accepted, from the scheduled start, in ms; memory is of all nodes, in MB\n");
        if self.runs.iter().any(|run| run.memory.is_none()) {
            text.push_str("Memory was not measured: the operator's interface is not known (--operator)\n");
        }
        text
    }

    fn json(&self) -> Value {
        let runs: Vec<_> = self.runs.iter().map(json_of).collect();
        json!({
            "journey": self.journey.unit(),
            "nodes": self.nodes,
            "peak_shoppers": self.crowd,
            "runs": runs,
        })
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// [`Failure`] where the file can't be written.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        std::fs::write(file, format!("{:#}\n", self.json()))
            .map_err(|error| Failure::failed(format!("{} can't be written", file.display()), error))
    }
}

/// The median with the least and the greatest.
fn spread(values: impl IntoIterator<Item = f64>, shown: impl Fn(f64) -> String) -> String {
    let values: Vec<f64> = values.into_iter().collect();
    match Spread::of(&values) {
        Some(spread) => format!(
            "{} ({}..{})",
            shown(spread.median),
            shown(spread.min),
            shown(spread.max)
        ),
        None => "-".to_owned(),
    }
}

fn heading() -> Vec<String> {
    let mut cells = vec![
        "load",
        "peak/s",
        "offered/s",
        "goodput/s",
        "offered",
        "accepted",
        "pending",
        "refused",
        "failed",
        "missed",
    ];
    cells.extend(QUANTILES.map(|(name, _)| name));
    cells.extend(["max", "MB before", "most", "after"]);
    cells.into_iter().map(str::to_owned).collect()
}

fn row(run: &Run) -> Vec<String> {
    let tally = &run.tally;
    let mut cells = vec![
        format!("{} %", run.percent),
        grouped(run.peak),
        grouped(run.rate),
        grouped(tally.goodput()),
    ];
    let counts = [
        tally.offered(),
        tally.accepted,
        tally.pending,
        tally.refused,
        tally.failed,
        tally.missed,
    ];
    cells.extend(counts.map(|count| grouped(count as f64)));
    if tally.accepted == 0 {
        cells.extend(std::iter::repeat_n("-".to_owned(), QUANTILES.len() + 1));
    } else {
        cells.extend(QUANTILES.map(|(_, part)| milliseconds(tally.quantile(part))));
        cells.push(milliseconds(tally.longest()));
    }
    match run.memory {
        Some(memory) => {
            cells.extend([memory.before, memory.most, memory.after].map(|bytes| grouped(bytes as f64 / 1e6)))
        }
        None => cells.extend(["-", "-", "-"].map(str::to_owned)),
    }
    cells
}

fn json_of(run: &Run) -> Value {
    let tally = &run.tally;
    let mut latencies = serde_json::Map::new();
    if tally.accepted > 0 {
        for (name, part) in QUANTILES {
            latencies.insert(name.to_owned(), (tally.quantile(part).as_secs_f64() * 1e3).into());
        }
        latencies.insert("max".to_owned(), (tally.longest().as_secs_f64() * 1e3).into());
    }
    json!({
        "percent_of_peak": run.percent,
        "peak_per_second": run.peak,
        "offered_per_second": run.rate,
        "goodput_per_second": tally.goodput(),
        "seconds": tally.length().as_secs_f64(),
        "offered": tally.offered(),
        "accepted": tally.accepted,
        "pending": tally.pending,
        "refused": tally.refused,
        "failed": tally.failed,
        "missed": tally.missed,
        "first_failure": tally.failure,
        "latency_ms": latencies,
        "resident_bytes": run.memory,
    })
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}
