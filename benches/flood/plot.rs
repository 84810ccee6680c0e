//! Draws the cost over the number of sockets, both on logarithmic axes.
use std::fmt::Write;

/// The line of one command.
pub struct Line {
    pub name: String,
    /// Number of sockets and milliseconds, in ascending order.
    pub points: Vec<(f64, f64)>,
}

/// Edges of the plot area.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 476.0;
/// Position of the line labels, and the distance between them.
const LABEL_X: f64 = 598.0;
const LABEL_SPACING: f64 = 38.0;

/// Style sheet with colors that are distinguishable with color blindness (Okabe and Ito), and
/// lighter ones for dark backgrounds.
const STYLE: &str = "\
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.soft { fill: #57606a }
.paper { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1 }
.fine { stroke: #eaeef2; stroke-width: 1 }
.lead { stroke: #8c959f; stroke-width: 1; fill: none }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.c0 { stroke: #0072b2 } .d0 { fill: #0072b2 } .line.c0 { stroke-width: 3.5 }
.c1 { stroke: #57606a } .d1 { fill: #57606a } .line.c1 { stroke-dasharray: 7 4 }
.c2 { stroke: #009e73 } .d2 { fill: #009e73 }
.c3 { stroke: #d55e00 } .d3 { fill: #d55e00 }
.c4 { stroke: #b5569b } .d4 { fill: #b5569b }
.n0 { font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.soft { fill: #9198a1 }
.paper { fill: #0d1117 }
.grid { stroke: #30363d }
.fine { stroke: #1c2128 }
.lead { stroke: #6e7681 }
.c0 { stroke: #56b4e9 } .d0 { fill: #56b4e9 }
.c1 { stroke: #b1bac4 } .d1 { fill: #b1bac4 }
.c2 { stroke: #2ccf9f } .d2 { fill: #2ccf9f }
.c3 { stroke: #ff8f3f } .d3 { fill: #ff8f3f }
.c4 { stroke: #e39bc9 } .d4 { fill: #e39bc9 }
}
";

/// A logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Creates an axis of whole decades that contains `values`.
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = values.fold(0.0, f64::max).log10().ceil().max(low + 1.0);
        Self { low, high, from, to }
    }

    fn position(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// Returns the values of the grid lines, and whether each is a decade.
    fn ticks(&self) -> impl Iterator<Item = (f64, bool)> {
        let (low, high) = (self.low as i32, self.high as i32);
        let within = |decade| (2..10).map(move |i| (f64::from(i) * 10f64.powi(decade), false));
        (low..=high).flat_map(move |decade| {
            let rest = within(decade).filter(move |_| decade < high);
            std::iter::once((10f64.powi(decade), true)).chain(rest)
        })
    }
}

/// Returns the plot as SVG. The first line is emphasized.
pub fn svg(title: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::new(all().map(|it| it.0), LEFT, RIGHT);
    let y = Axis::new(all().map(|it| it.1), BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 540\" role=\"img\" \
         aria-label=\"{title}\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"900\" height=\"540\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"34\">{title}</text>\n"
    );
    grid(&mut svg, &x, &y);
    let label_positions = label_positions(lines, &y);
    // Draw the first line last, on top of the others.
    for (index, (line, label_y)) in lines.iter().zip(label_positions).enumerate().rev() {
        draw(&mut svg, index, line, label_y, (&x, &y));
    }
    svg + "</svg>\n"
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    for (is_fine, class) in [(true, "fine"), (false, "grid")] {
        for (value, _) in x.ticks().filter(|&(_, is_decade)| is_decade != is_fine) {
            let position = x.position(value);
            writeln!(svg, "<path class=\"{class}\" d=\"M{position:.1} {TOP}V{BOTTOM}\"/>").unwrap();
        }
        for (value, _) in y.ticks().filter(|&(_, is_decade)| is_decade != is_fine) {
            let position = y.position(value);
            writeln!(svg, "<path class=\"{class}\" d=\"M{LEFT} {position:.1}H{RIGHT}\"/>").unwrap();
        }
    }
    for (value, _) in x.ticks().filter(|it| it.1) {
        let (position, below, text) = (x.position(value), BOTTOM + 22.0, format_sockets(value));
        writeln!(
            svg,
            "<text class=\"soft\" x=\"{position:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>"
        )
        .unwrap();
    }
    for (value, _) in y.ticks().filter(|it| it.1) {
        let (position, left, text) = (y.position(value) + 4.5, LEFT - 10.0, format_duration(value));
        writeln!(
            svg,
            "<text class=\"soft\" x=\"{left}\" y=\"{position:.1}\" text-anchor=\"end\">{text}</text>"
        )
        .unwrap();
    }
    let (middle, below) = ((LEFT + RIGHT) / 2.0, BOTTOM + 48.0);
    writeln!(
        svg,
        "<text class=\"soft\" x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">sockets</text>"
    )
    .unwrap();
}

fn draw(svg: &mut String, index: usize, line: &Line, label_y: f64, (x, y): (&Axis, &Axis)) {
    let points: Vec<_> =
        line.points.iter().map(|&(n, ms)| (x.position(n), y.position(ms))).collect();
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    writeln!(svg, "<path class=\"line c{index}\" d=\"M{}\"/>", path.join("L")).unwrap();
    for (x, y) in &points {
        writeln!(svg, "<circle class=\"d{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>").unwrap();
    }
    let (Some((last_x, last_y)), Some((_, ms))) = (points.last(), line.points.last()) else {
        return;
    };
    let (from, to, name) = (last_x + 7.0, LABEL_X - 6.0, line.name.replace('&', "&amp;"));
    writeln!(svg, "<path class=\"lead\" d=\"M{from:.1} {last_y:.1}L{to} {label_y:.1}\"/>").unwrap();
    let (above, below, cost) = (label_y - 2.0, label_y + 14.0, format_duration(*ms));
    writeln!(svg, "<text class=\"n{index}\" x=\"{LABEL_X}\" y=\"{above:.1}\">{name}</text>")
        .unwrap();
    writeln!(svg, "<text class=\"soft\" x=\"{LABEL_X}\" y=\"{below:.1}\">{cost}</text>").unwrap();
}

/// Returns the vertical position of each line's label, close to the end of the line.
fn label_positions(lines: &[Line], y: &Axis) -> Vec<f64> {
    let end = |line: &Line| line.points.last().map_or(BOTTOM, |&(_, ms)| y.position(ms));
    let mut order: Vec<_> = (0..lines.len()).collect();
    order.sort_by(|&a, &b| end(&lines[a]).total_cmp(&end(&lines[b])));
    let mut label_positions = vec![0.0; lines.len()];
    let endpoints: f64 = lines.iter().map(end).sum();
    // Center the labels at the mean of the line ends.
    let all = LABEL_SPACING * (lines.len() - 1) as f64;
    let first = (endpoints / lines.len() as f64 - all / 2.0).max(TOP);
    for (index, line) in order.into_iter().enumerate() {
        label_positions[line] = first + LABEL_SPACING * index as f64;
    }
    label_positions
}

fn format_sockets(n: f64) -> String {
    match n {
        1e6.. => format!("{:.0} million", n / 1e6),
        _ => crate::report::grouped(n as usize).replace(' ', "\u{202f}"),
    }
}

/// Formats a duration with up to three digits.
fn format_duration(ms: f64) -> String {
    match ms {
        9_950.0.. => format!("{:.0} s", ms / 1000.0),
        1_000.0.. => format!("{:.2} s", ms / 1000.0).replace(".00 ", " "),
        9.95.. => format!("{ms:.0} ms"),
        1.0.. => format!("{ms:.1} ms").replace(".0 ", " "),
        _ => format!("{ms} ms"),
    }
}
