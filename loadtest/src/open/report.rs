//! The result of an open loop: as a table, and as JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::Tally;
use super::memory::Memory;
use super::shopper::Journey;
use crate::failure::Failure;
use crate::table::{grouped, lines};

/// The quantiles that are shown, by name.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One run at a constant rate.
pub struct Run {
    /// The rate in per cent of the peak.
    pub percent: u64,
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
    peak: f64,
    crowd: Option<usize>,
    /// The runs in their order.
    pub runs: Vec<Run>,
}

impl Report {
    /// A report without runs. `crowd` is the number of shoppers that reached the peak.
    pub fn new(journey: Journey, nodes: usize, peak: f64, crowd: Option<usize>) -> Self {
        Self {
            journey,
            nodes,
            peak,
            crowd,
            runs: Vec::new(),
        }
    }

    /// The first failure of each run that has one.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().filter_map(|run| run.tally.failure.as_deref())
    }

    /// The report as a table.
    pub fn text(&self) -> String {
        let from = match self.crowd {
            Some(crowd) => format!("closed loop of {crowd} shoppers"),
            None => "as given".to_owned(),
        };
        let (unit, nodes) = (self.journey.unit(), self.nodes);
        let mut text = format!(
            "peak: {} {unit}/s on {nodes} nodes ({from})\n\n",
            grouped(self.peak)
        );
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
            "peak_per_second": self.peak,
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

fn heading() -> Vec<String> {
    let mut cells = vec![
        "load",
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
        "offered_per_second": run.rate,
        "goodput_per_second": tally.goodput(),
        "seconds": tally.took.as_secs_f64(),
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
