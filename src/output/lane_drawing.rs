//! Drawings of time lines in SVG, with a description of each for screen readers.
use std::fmt::Write;

use chrono::{DateTime, FixedOffset};

use crate::alert_log::time_line::{Axis, Cell, Lane};

use super::{
    html::Html,
    log_table::period_text,
    text,
    time_axis::{Tick, axis_seconds, ticks},
};

/// Maximum number of episodes of a lane that are described one by one.
const MAX_EPISODES: usize = 12;
/// Maximum position of a label on the axis in percent; a label after it would not fit.
const MAX_LABEL_PERCENT: i64 = 94;
/// Height of a lane in units of the drawing.
const LANE_HEIGHT: u64 = 50;
/// Minimum height of a bar: 2 of 24 pixels.
const MIN_BAR_HEIGHT: u64 = 4;

/// The logarithmic scale of the heights. Offenders differ by orders of magnitude.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Number of connections at the height 0, a power of ten.
    pub(super) lowest: u64,
    /// Number of connections at the full height, more than `lowest`.
    pub(super) highest: u64,
}

impl Scale {
    /// Returns the scale for these peaks and limits.
    fn new<'a>(cells: impl Iterator<Item = &'a Cell> + Clone) -> Self {
        let peaks = cells.clone().map(|cell| cell.peak);
        let highest = peaks.clone().max().unwrap_or(0).max(2);
        let limits = cells.filter_map(|cell| cell.limit).fold(f64::INFINITY, f64::min);
        let lowest_peak = peaks.min().unwrap_or(0);
        let mut lowest = 1;
        while lowest < lowest_peak / 10 && float(lowest * 10) < limits {
            lowest *= 10;
        }
        Self { lowest, highest }
    }

    /// Returns the number of connections at half of the height.
    pub(super) fn middle(self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is between `lowest` and `highest`"
        )]
        let middle = (float(self.lowest) * float(self.highest)).sqrt() as u64;
        middle
    }

    /// Returns the height of a number of connections; `None` if it is not in the drawing.
    fn height(self, connections: f64) -> Option<u64> {
        let [lowest, highest] = [self.lowest, self.highest].map(|it| libm::log(float(it)));
        let height = (libm::log(connections) - lowest) / (highest - lowest) * float(LANE_HEIGHT);
        if !(0.0..=float(LANE_HEIGHT)).contains(&height) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let height = (height + 0.5) as u64;
        Some(height)
    }
}

fn float(n: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a drawing needs few digits")]
    let float = n as f64;
    float
}

/// Draws the lanes of a page on the same axis and scale.
pub(super) struct LaneDrawing<'a> {
    axis: Axis,
    ticks: Vec<Tick>,
    /// Scale of the heights.
    pub(super) scale: Scale,
    to_local: &'a dyn Fn(i64) -> DateTime<FixedOffset>,
}

impl<'a> LaneDrawing<'a> {
    /// Creates a drawing whose scale fits these lanes and parts of them.
    pub(super) fn new(
        axis: Axis,
        lanes: &[Lane],
        to_local: &'a dyn Fn(i64) -> DateTime<FixedOffset>,
    ) -> Self {
        let scale = Scale::new(lanes.iter().flat_map(|lane| &lane.cells));
        Self { axis, ticks: ticks(axis, to_local), scale, to_local }
    }

    /// Returns the axis. It is not stretched like a lane, because that would distort its labels.
    pub(super) fn axis(&self) -> Html {
        let [start, end] = [self.axis.start, self.axis.start + axis_seconds(self.axis)];
        let title = format!("Time, {}", period_text(self.to_local, start, end));
        let mut parts = vec![Html::text_element("title", &title)];
        for Tick { seconds, label } in &self.ticks {
            let hundredths = i128::from(*seconds) * 10_000 / i128::from(axis_seconds(self.axis));
            let x = format!("{}.{:02}%", hundredths / 100, hundredths % 100);
            let line = [("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")];
            parts.push(Html::element("line", &line, []));
            if hundredths < i128::from(MAX_LABEL_PERCENT) * 100 {
                let place = [("x", x.as_str()), ("y", "60%"), ("dx", "3")];
                parts.push(Html::element("text", &place, [Html::text(label)]));
            }
        }
        Html::element("svg", &[("role", "img")], parts)
    }

    /// Returns a lane with a title and a description.
    pub(super) fn lane(&self, title: &str, lane: &Lane) -> Html {
        let view_box = format!("0 0 {} {LANE_HEIGHT}", self.axis.n_columns);
        let attributes =
            [("role", "img"), ("viewBox", view_box.as_str()), ("preserveAspectRatio", "none")];
        let mut parts = vec![
            Html::text_element("title", title),
            Html::text_element("desc", &self.description(lane)),
            path("grid", &self.grid_path()),
        ];
        let gaps = self.gap_path(lane);
        if !gaps.is_empty() {
            parts.push(path("gap", &gaps));
        }
        parts.extend(self.bars(lane));
        let limits = self.limit_path(lane);
        if !limits.is_empty() {
            parts.push(path("limit", &limits));
        }
        Html::element("svg", &attributes, parts)
    }

    /// Describes a lane in words.
    fn description(&self, lane: &Lane) -> String {
        let episodes = episodes(lane);
        let mut texts: Vec<_> = if episodes.len() <= MAX_EPISODES {
            episodes.iter().map(|cells| self.episode_text(cells)).collect()
        } else {
            let n_episodes = episodes.len();
            vec![format!("{n_episodes} times over the limit"), self.episode_text(&lane.cells)]
        };
        let gaps = lane.gaps.iter().take(MAX_EPISODES);
        texts.extend(gaps.map(|gap| {
            format!("no sample taken {}", period_text(self.to_local, gap.from, gap.to))
        }));
        texts.join("; ")
    }

    /// Returns `2026-11-10 02:10 to 02:50, 40 alerts, at most 480 connections`.
    fn episode_text(&self, cells: &[Cell]) -> String {
        let Axis { start, column_seconds, .. } = self.axis;
        let [first, last] = [cells.first(), cells.last()]
            .map(|cell| cell.map_or(start, |cell| start + cell.column * column_seconds));
        let peak = cells.iter().map(|cell| cell.peak).max().unwrap_or(0);
        format!(
            "{}, {}, at most {}",
            period_text(self.to_local, first, last + column_seconds),
            text::pluralize(cells.iter().map(|cell| cell.alerts).sum(), "alert", "alerts"),
            text::pluralize(peak, "connection", "connections")
        )
    }

    /// Returns the ticks of the axis as lines.
    fn grid_path(&self) -> String {
        let mut path = String::new();
        for Tick { seconds, .. } in &self.ticks {
            let tenths = seconds * 10 / self.axis.column_seconds;
            let _ = write!(path, "M{}.{} 0V{LANE_HEIGHT}", tenths / 10, tenths % 10);
        }
        path
    }

    /// Returns the columns in which no sample was taken as boxes.
    fn gap_path(&self, lane: &Lane) -> String {
        let Axis { start, column_seconds, .. } = self.axis;
        let mut path = String::new();
        for gap in &lane.gaps {
            let [from, to] = [gap.from, gap.to].map(|time| (time - start) / column_seconds);
            let n_columns = to - from - 1;
            if n_columns > 0 {
                let _ = write!(path, "M{} 0v{LANE_HEIGHT}h{n_columns}V0z", from + 1);
            }
        }
        path
    }

    /// Returns the bars: each episode with its description, or all as one path if there are
    /// more than [`MAX_EPISODES`].
    fn bars(&self, lane: &Lane) -> Vec<Html> {
        let episodes = episodes(lane);
        if episodes.len() > MAX_EPISODES {
            let paths: String = episodes.iter().map(|cells| self.bar_path(cells)).collect();
            return vec![path("bar", &paths)];
        }
        let bars = episodes.iter().map(|cells| {
            let title = Html::text_element("title", &self.episode_text(cells));
            Html::element("path", &[("class", "bar"), ("d", &self.bar_path(cells))], [title])
        });
        bars.collect()
    }

    /// Returns the outline of the bars of an episode.
    fn bar_path(&self, cells: &[Cell]) -> String {
        let first_column = cells.first().map_or(0, |cell| cell.column);
        let mut path = format!("M{first_column} {LANE_HEIGHT}");
        for cells in cells.chunk_by(|a, b| self.bar_height(a) == self.bar_height(b)) {
            let y = LANE_HEIGHT - self.bar_height(&cells[0]);
            let _ = write!(path, "V{y}h{}", cells.len());
        }
        let _ = write!(path, "V{LANE_HEIGHT}z");
        path
    }

    fn bar_height(&self, cell: &Cell) -> u64 {
        self.scale.height(float(cell.peak)).unwrap_or(0).max(MIN_BAR_HEIGHT)
    }

    /// Returns the limits as lines in the bars.
    fn limit_path(&self, lane: &Lane) -> String {
        let mut path = String::new();
        for cells in lane.cells.chunk_by(|a, b| {
            b.column == a.column + 1 && self.limit_height(a) == self.limit_height(b)
        }) {
            if let Some(height) = self.limit_height(&cells[0]) {
                let y = LANE_HEIGHT - height;
                let _ = write!(path, "M{} {y}h{}", cells[0].column, cells.len());
            }
        }
        path
    }

    /// Returns the height of the limit; `None` if it is not known or not in the drawing.
    fn limit_height(&self, cell: &Cell) -> Option<u64> {
        self.scale.height(cell.limit?)
    }
}

fn path(class: &str, data: &str) -> Html {
    Html::element("path", &[("class", class), ("d", data)], [])
}

/// Returns the runs of adjacent columns with alerts.
fn episodes(lane: &Lane) -> Vec<&[Cell]> {
    lane.cells.chunk_by(|a, b| b.column == a.column + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(column: i64, peak: u64, limit: Option<f64>) -> Cell {
        Cell { column, alerts: 1, peak, limit }
    }

    #[test]
    fn heights_are_logarithmic() {
        let cells = [cell(0, 40, Some(28.1)), cell(1, 4000, None)];
        let scale = Scale::new(cells.iter());
        assert_eq!((scale.lowest, scale.middle(), scale.highest), (10, 200, 4000));
        assert_eq!([10.0, 200.0, 4000.0].map(|n| scale.height(n)), [Some(0), Some(25), Some(50)]);
        // log(28.1 / 10) / log(400) * 50 = 8.6
        assert_eq!(scale.height(28.1), Some(9));
        for outside in [0.0, -1.0, 9.0, 4001.0, f64::MAX] {
            assert_eq!(scale.height(outside), None, "{outside}");
        }
    }

    #[test]
    fn extreme_counts_have_a_scale() {
        for peak in [0, 1, 2, u64::MAX] {
            for limit in [None, Some(0.0), Some(-1.0), Some(f64::MAX)] {
                let scale = Scale::new([cell(0, peak, limit)].iter());
                assert!(scale.lowest < scale.highest, "{scale:?}");
            }
        }
        let none: [Cell; 0] = [];
        assert_eq!(Scale::new(none.iter()).highest, 2);
    }
}
