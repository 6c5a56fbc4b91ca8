//! The report as one page that needs nothing else: the words, and plots drawn as SVG.

use std::fmt::Write as _;

use super::{Point, Report};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
const GRID: u32 = 4;
const COLOURS: [&str; 3] = ["#2563eb", "#dc2626", "#059669"];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1360px;padding:0 1rem;color:#1e293b}\
    h1{font-size:1.4rem}h2{font-size:1rem;margin:0 0 .3rem}pre{background:#f1f5f9;padding:1rem;border-radius:6px;overflow:auto}\
    .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(560px,1fr));gap:1.5rem}\
    svg{width:100%;height:auto;font:11px system-ui,sans-serif;fill:#64748b}figure{margin:0}\
    @media(prefers-color-scheme:dark){body{background:#0f172a;color:#e2e8f0}pre{background:#1e293b}}";

/// One line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let over_time = |name, value: fn(&Point) -> f64| Line {
        name,
        points: report
            .series
            .iter()
            .map(|point| (point.seconds, value(point)))
            .collect(),
    };
    let plots = [
        plot(
            "Connections bound",
            "s",
            &[over_time("open", |point| point.open as f64)],
        ),
        plot(
            "Replies and pushes a second",
            "s",
            &[over_time("a second", |point| point.rate)],
        ),
        plot(
            "Latency over time, ms",
            "s",
            &[
                over_time("p50", |point| point.p50),
                over_time("p99", |point| point.p99),
            ],
        ),
        plot(
            "Latency by fraction, ms (x is the number of nines)",
            "nines",
            &curves(report),
        ),
        plot(
            "Errors since the start",
            "s",
            &[over_time("errors", |point| point.errors as f64)],
        ),
    ];
    let words = escape(&report.to_string());
    let title = escape(&format!("loadgen {}", report.scenario));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<pre>{words}</pre>\n<div class=\"plots\">{}</div></body></html>\n",
        plots.concat()
    )
}

/// Fractions as nines: 0.9 is one, 0.999 is three.
fn curves(report: &Report) -> Vec<Line> {
    report
        .curves
        .iter()
        .map(|curve| Line {
            name: curve.name,
            points: curve
                .points
                .iter()
                .map(|(fraction, millis)| (-(1.0 - fraction).log10(), *millis))
                .collect(),
        })
        .collect()
}

/// A plot; nothing where there is nothing to be seen.
fn plot(title: &str, unit: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (right, top) = all().fold((0.0_f64, 0.0_f64), |(x, y), point| {
        (x.max(point.0), y.max(point.1))
    });
    if all().count() < 2 || top <= 0.0 || right <= 0.0 {
        return String::new();
    }
    let (left, top) = (
        all().fold(f64::MAX, |left, point| left.min(point.0)).min(right),
        rounded_up(top),
    );
    let span = (right - left).max(f64::MIN_POSITIVE);
    let x = |value: f64| LEFT + (value - left) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">",
        escape(title)
    );
    for step in 0..=GRID {
        let part = f64::from(step) / f64::from(GRID);
        let (value, at) = (top * part, y(top * part));
        let (moment, under) = (left + span * part, x(left + span * part));
        // Writing into a string does not fail.
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#94a3b8\" stroke-opacity=\".35\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{under:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} {unit}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            number(value),
            HEIGHT - BOTTOM + 16.0,
            number(moment),
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    for (number, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let at = LEFT + 90.0 * number as f64;
        let _ = write!(
            svg,
            "<text x=\"{at}\" y=\"{:.1}\" fill=\"{colour}\">— {}</text>",
            HEIGHT - 6.0,
            escape(line.name)
        );
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// The next of 1, 2, 5, 10, 20, …
fn rounded_up(value: f64) -> f64 {
    let scale = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * scale)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_for_each_series_and_stays_inside() {
        let line = |name| Line {
            name,
            points: vec![(0.0, 1.0), (1.0, 30.0), (2.0, 4.0)],
        };
        let svg = plot("A <title>", "s", &[line("p50"), line("p99")]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("A &lt;title&gt;") && !svg.contains("NaN"), "{svg}");
        assert_eq!(plot("empty", "s", &[]), "");
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (value, end) in [(0.03, 0.05), (1.0, 1.0), (1.2, 2.0), (4_100.0, 5_000.0)] {
            assert!((rounded_up(value) - end).abs() < end * 1e-9, "{value}");
        }
    }
}
