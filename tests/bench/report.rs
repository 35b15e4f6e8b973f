//! What was measured, as lines for people, as JSON for programs, as bars for the eye.

use crate::proc::Machine;
use crate::servers::Configuration;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// One thing that was measured on both servers, with all its runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What: `SET pipeline 16`.
    pub(crate) name: String,
    /// Of the figures.
    pub(crate) unit: &'static str,
    /// Ours, run by run.
    pub(crate) capstan: Vec<f64>,
    /// Theirs, run by run, each beside ours.
    pub(crate) redis: Vec<f64>,
    /// The figure that counts: a median of paired ratios, or of ours where the bound is absolute.
    pub(crate) result: f64,
    /// At most this is asked.
    pub(crate) bound: Option<f64>,
    /// More about it: latencies, operations a second.
    pub(crate) notes: Vec<String>,
}

impl Row {
    /// Whether it is within its bound.
    pub(crate) fn holds(&self) -> bool {
        self.bound.is_none_or(|bound| self.result <= bound)
    }
}

/// A whole run of the program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Which scenario.
    pub(crate) scenario: String,
    /// Where.
    pub(crate) machine: Machine,
    /// Of both servers.
    pub(crate) servers: Vec<Configuration>,
    /// The figures.
    pub(crate) rows: Vec<Row>,
}

/// Settings that are worth a line on the screen; all of them are in the JSON file.
const SHOWN: [&str; 12] = [
    "appendonly",
    "cluster-enabled",
    "cluster-node-timeout",
    "cluster-require-full-coverage",
    "databases",
    "hz",
    "io-threads",
    "lanes",
    "lazyfree-lazy-user-flush",
    "maxmemory",
    "save",
    "worker-threads",
];

impl Report {
    /// The table.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("\n== {} ==\nmachine: {}\n", self.scenario, self.machine);
        for server in &self.servers {
            let shown = server.settings.iter().filter(|(name, _)| SHOWN.contains(&name.as_str()));
            let settings: Vec<String> = shown.map(|(name, value)| format!("{name}={value:?}")).collect();
            let _ = writeln!(
                out,
                "{} {}: {}\n    {}",
                server.name,
                server.version,
                server.command,
                settings.join(" ")
            );
        }
        let figures = |all: &[f64]| all.iter().map(|f| short(*f)).collect::<Vec<_>>().join(" ");
        for row in &self.rows {
            let _ = writeln!(
                out,
                "{:<28} capstan [{}] redis [{}] {}",
                row.name,
                figures(&row.capstan),
                figures(&row.redis),
                row.unit
            );
            for note in &row.notes {
                let _ = writeln!(out, "{:<28}   {note}", "");
            }
        }
        out.push('\n');
        for row in &self.rows {
            let verdict = match row.bound {
                None => String::new(),
                Some(bound) if row.holds() => format!("at most {} asked: reached", short(bound)),
                Some(bound) => format!("at most {} asked: MISSED", short(bound)),
            };
            let _ = writeln!(out, "{:<28} {:>8}  {verdict}", row.name, short(row.result));
        }
        out
    }

    /// Writes `NAME.json` and `NAME.svg`.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        std::fs::write(dir.join(format!("{}.json", self.scenario)), json)?;
        std::fs::write(dir.join(format!("{}.svg", self.scenario)), self.svg())
    }

    /// A bar a row: its result, the bound as a line, every run's own ratio as a dot.
    fn svg(&self) -> String {
        let (left, width, step) = (230.0, 520.0, 34.0);
        let ratios = |row: &Row| -> Vec<f64> {
            let pairs = row.capstan.iter().zip(&row.redis);
            // Of nothing to nothing there is no ratio.
            pairs.map(|(a, b)| a / b).filter(|ratio| ratio.is_finite()).collect()
        };
        let worst =
            |row: &Row| ratios(row).into_iter().fold(row.bound.unwrap_or(0.0), f64::max).max(row.result);
        let top = self.rows.iter().map(worst).filter(|f| f.is_finite()).fold(1.0, f64::max);
        let x = |ratio: f64| left + width * (ratio / top).clamp(0.0, 1.0);
        let height = 50.0 + step * self.rows.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"22\">{}: Capstan beside Redis in the same run; less is better</text>\n",
            self.scenario
        );
        for (at, row) in self.rows.iter().enumerate() {
            let y = 40.0 + step * at as f64;
            let colour = if row.holds() { "#4a8f5b" } else { "#b5533c" };
            let _ = writeln!(out, "<text x=\"10\" y=\"{}\">{}</text>", y + 15.0, row.name);
            let _ = writeln!(
                out,
                "<rect x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"20\" fill=\"{colour}\"/>",
                x(row.result) - left
            );
            for ratio in ratios(row) {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"2.5\" fill=\"#222\"/>",
                    x(ratio),
                    y + 10.0
                );
            }
            if let Some(bound) = row.bound {
                let at = x(bound);
                let _ = writeln!(
                    out,
                    "<line x1=\"{at}\" x2=\"{at}\" y1=\"{}\" y2=\"{}\" stroke=\"#222\" stroke-dasharray=\"3\"/>",
                    y - 3.0,
                    y + 23.0
                );
            }
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                left + width + 12.0,
                y + 15.0,
                short(row.result)
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

/// Three digits or so.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        f if f >= 1000.0 => format!("{figure:.0}"),
        f if f >= 10.0 => format!("{figure:.1}"),
        _small => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: f64, bound: f64) -> Row {
        let (capstan, redis) = (vec![1.0, 2.0], vec![2.0, 4.0]);
        Row { name: "SET".into(), unit: "us", capstan, redis, result, bound: Some(bound), notes: vec![] }
    }

    #[test]
    fn a_missed_bound_is_said() {
        let rows = vec![row(0.5, 0.85), row(0.5, 0.4)];
        let report = Report { scenario: "ratios".into(), machine: Machine::look(), servers: vec![], rows };
        let text = report.text();
        assert!(text.contains("reached") && text.contains("MISSED"), "{text}");
        assert_eq!(report.svg().matches("<circle").count(), 4);
    }
}
