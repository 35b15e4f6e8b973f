//! Two plots without any library: bars, one a kill, and lines over time. Pure: numbers in, SVG out.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
/// A colour for each shard; then they begin again.
const COLOURS: [&str; 6] = ["#3366aa", "#cc6633", "#339966", "#993366", "#777733", "#336677"];

fn colour(shard: usize) -> &'static str {
    COLOURS[shard % COLOURS.len()]
}

/// A round number that is not less.
fn ceiling(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

struct Plot {
    svg: String,
    top: f64,
}

impl Plot {
    fn new(title: &str, unit: &str, most: f64) -> Self {
        let mut plot = Self { svg: String::new(), top: ceiling(most) };
        let _ = write!(
            plot.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
            escaped(title)
        );
        for step in 0..=4 {
            let value = plot.top * f64::from(step) / 4.0;
            let y = plot.y(value);
            let _ = write!(
                plot.svg,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let _ = writeln!(plot.svg, "<text x=\"6\" y=\"{TOP}\">{}</text>", escaped(unit));
        plot
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / self.top).min(1.0))
    }

    fn label(&mut self, x: f64, text: &str) {
        let y = HEIGHT - BOTTOM + 16.0;
        let _ = writeln!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escaped(text)
        );
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One bar for each value, coloured by its shard, and a line across at the median.
pub(crate) fn bars(title: &str, bars: &[(usize, f64)], median: Option<f64>) -> String {
    let most = bars.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let mut plot = Plot::new(title, "ms", most);
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    for (at, (shard, value)) in bars.iter().enumerate() {
        let (x, y) = (LEFT + step * (at as f64 + 0.15), plot.y(*value));
        let _ = writeln!(
            plot.svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>kill {}, shard {shard}: {value} ms</title></rect>",
            step * 0.7,
            plot.y(0.0) - y,
            colour(*shard),
            at + 1
        );
        plot.label(x + step * 0.35, &(at + 1).to_string());
    }
    if let Some(median) = median {
        let y = plot.y(median);
        let _ = writeln!(
            plot.svg,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>\n\
             <text x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">median {median:.1}</text>",
            y - 4.0
        );
    }
    plot.end()
}

/// Operations a second of each shard over time, and a mark at each instant of a fault (in seconds).
pub(crate) fn rates(title: &str, shards: &[Vec<f64>], seconds_each: f64, marks: &[(usize, f64)]) -> String {
    let most = shards.iter().flatten().copied().fold(1.0, f64::max);
    let mut plot = Plot::new(title, "1/s", most);
    let spans = shards.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let whole = spans as f64 * seconds_each;
    let x = |seconds: f64| LEFT + (WIDTH - LEFT) * seconds / whole;
    for (shard, at) in marks {
        let (x, bottom) = (x(*at), HEIGHT - BOTTOM);
        let _ = writeln!(
            plot.svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{}\" stroke-dasharray=\"2 3\"/>",
            colour(*shard)
        );
    }
    for (shard, values) in shards.iter().enumerate() {
        let point =
            |(at, value): (usize, &f64)| format!("{:.1},{:.1}", x(at as f64 * seconds_each), plot.y(*value));
        let points: Vec<String> = values.iter().enumerate().map(point).collect();
        let _ = writeln!(
            plot.svg,
            "<polyline fill=\"none\" stroke=\"{}\" points=\"{}\"/>",
            colour(shard),
            points.join(" ")
        );
    }
    for quarter in 0..=4 {
        let seconds = whole * f64::from(quarter) / 4.0;
        plot.label(x(seconds).min(WIDTH - 20.0), &format!("{seconds:.0} s"));
    }
    plot.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        assert_eq!([0.7, 3.0, 240.0, 1001.0].map(ceiling), [1.0, 5.0, 250.0, 2000.0]);
    }

    #[test]
    fn every_value_is_drawn_and_texts_are_escaped() {
        let svg = bars("a < b", &[(0, 100.0), (1, 200.0), (2, 50.0)], Some(100.0));
        assert_eq!(svg.matches("<title>").count(), 3);
        assert!(svg.contains("a &lt; b") && svg.contains("median 100.0") && svg.ends_with("</svg>\n"));
        let svg = rates("r", &[vec![1.0, 2.0], vec![3.0]], 0.5, &[(0, 0.5)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
    }
}
