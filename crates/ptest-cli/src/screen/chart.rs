//! One line of values over time as a filled area, with what its height means beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

/// How wide the scale beside a chart is.
const SCALE: u16 = 11;
/// Into how many steps a chart's height is divided at most: finer than any terminal draws.
const STEPS: f64 = 100_000.0;

/// A chart of values, one a column.
#[derive(Clone, Debug)]
pub(crate) struct Chart<'a> {
    /// What it shows.
    pub(crate) title: &'a str,
    /// More of that, beside the title.
    pub(crate) details: String,
    /// The values, oldest first.
    pub(crate) values: &'a [f64],
    /// The least value that fills its height.
    pub(crate) least_top: f64,
    /// What a value is called.
    pub(crate) format: fn(f64) -> String,
    pub(crate) color: Color,
}

impl Chart<'_> {
    /// How many values fit into a width.
    pub(crate) fn columns(width: u16) -> usize {
        usize::from(width.saturating_sub(SCALE))
    }
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [title, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let [scale, plot] =
            Layout::horizontal([Constraint::Length(SCALE), Constraint::Min(0)]).areas(body);
        let line = Line::from(vec![
            Span::styled(self.title, Style::new().fg(self.color).bold()),
            Span::raw("  "),
            Span::raw(self.details),
        ]);
        line.render(title, buffer);
        let top = self.values.iter().copied().fold(self.least_top, f64::max);
        let gray = Style::new().fg(Color::DarkGray);
        for (row, y) in (scale.top()..scale.bottom()).enumerate() {
            let label = match row {
                0 => (self.format)(top),
                _ if y + 1 == scale.bottom() => "0".to_owned(),
                _ => String::new(),
            };
            let width = usize::from(SCALE) - 2;
            buffer.set_stringn(
                scale.x,
                y,
                format!("{label:>width$} ▕"),
                usize::from(SCALE),
                gray,
            );
        }
        // What is not nothing is seen; the top is not nothing then.
        let step = |value: &f64| match *value {
            value if value > 0.0 => (value / top * STEPS).ceil() as u64,
            _ => 0,
        };
        let steps = self.values.iter().map(step);
        Sparkline::default()
            .data(steps)
            .max(STEPS as u64)
            .style(Style::new().fg(self.color))
            .render(plot, buffer);
    }
}

/// The values at evenly spaced times as so many columns: the mean of those that fall into one. Where there is none it is
/// that of the nearest before, or nothing.
pub(crate) fn resampled(values: &[f64], columns: usize) -> Vec<f64> {
    let count = values.len();
    (0..columns)
        .map(|column| {
            let (from, to) = (column * count / columns, (column + 1) * count / columns);
            match values.get(from..to) {
                Some(part) if !part.is_empty() => part.iter().sum::<f64>() / part.len() as f64,
                _ => values.get(from).copied().unwrap_or_default(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::to_text;

    #[test]
    fn a_chart_fills_its_height_at_its_highest_value() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 15, 3));
        Chart {
            title: "cpu",
            details: "now 1".to_owned(),
            values: &[0.0, 0.5, 1.0, 2.0],
            least_top: 1.0,
            format: |value| format!("{value:.1}"),
            color: Color::Green,
        }
        .render(buffer.area, &mut buffer);
        let text = to_text(&buffer, false);
        assert_eq!(text, "cpu  now 1\n      2.0 ▕   █\n        0 ▕ ▄██\n");
    }

    #[test]
    fn values_become_columns_by_their_means_and_are_stretched_where_there_are_fewer() {
        assert_eq!(resampled(&[1.0, 3.0, 5.0, 7.0], 2), [2.0, 6.0]);
        assert_eq!(resampled(&[1.0, 3.0], 4), [1.0, 1.0, 3.0, 3.0]);
        assert_eq!(resampled(&[], 2), [0.0, 0.0]);
    }
}
