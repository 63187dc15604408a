//! A drawing as a picture, for documents: text, rectangles and nothing else.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// The size of a character.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// Around all of it.
const MARGIN: f64 = 14.0;
const BACKGROUND: &str = "#11151c";
const FOREGROUND: &str = "#d7dce2";

/// The picture of a drawing, with a description for those who cannot see it.
pub(crate) fn to_svg(buffer: &Buffer, description: &str) -> String {
    let columns = usize::from(buffer.area.width).max(1);
    let (width, height) = (
        f64::from(buffer.area.width) * WIDTH + 2.0 * MARGIN,
        f64::from(buffer.area.height) * HEIGHT + 2.0 * MARGIN,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" role=\"img\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        escaped(description)
    );
    for (row, cells) in buffer.content.chunks(columns).enumerate() {
        let mut column = 0;
        while column < columns {
            let end = cells[column..]
                .iter()
                .position(|cell| !is_alike(cell, &cells[column]))
                .map_or(columns, |length| column + length);
            draw(&mut svg, row, column, &cells[column..end]);
            column = end;
        }
    }
    svg += "</svg>\n";
    svg
}

/// Whether two cells beside each other can be one piece.
fn is_alike(one: &Cell, other: &Cell) -> bool {
    (one.fg, one.modifier, bar(one).is_some()) == (other.fg, other.modifier, bar(other).is_some())
}

fn draw(svg: &mut String, row: usize, column: usize, cells: &[Cell]) {
    let Some(first) = cells.first() else { return };
    let (x, y) = (column as f64 * WIDTH + MARGIN, row as f64 * HEIGHT + MARGIN);
    let is_reversed = first.modifier.contains(Modifier::REVERSED);
    let color = color(first.fg);
    let width = cells.len() as f64 * WIDTH;
    // Writing to a text cannot fail.
    if is_reversed {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{color}\"/>"
        );
    }
    if bar(first).is_some() {
        for (place, cell) in cells.iter().enumerate() {
            let (part, is_full) = bar(cell).unwrap_or_default();
            let height = HEIGHT * f64::from(part) / 8.0;
            // Beside each other without a gap.
            let width = if is_full { WIDTH + 0.3 } else { 1.0 };
            let left = x + place as f64 * WIDTH + if is_full { 0.0 } else { WIDTH - 1.0 };
            let top = y + HEIGHT - height;
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
            );
        }
        return;
    }
    let text: String = cells.iter().map(Cell::symbol).collect();
    if text.trim().is_empty() {
        return;
    }
    let fill = if is_reversed { BACKGROUND } else { color };
    let weight = if first.modifier.contains(Modifier::BOLD) {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let baseline = y + HEIGHT * 0.74;
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{baseline:.1}\" textLength=\"{width:.1}\" fill=\"{fill}\"{weight} \
         xml:space=\"preserve\">{}</text>",
        escaped(&text)
    );
}

/// How many eighths of a cell a bar fills, and whether it is as wide as the cell.
fn bar(cell: &Cell) -> Option<(u8, bool)> {
    let character = cell.symbol().chars().next()?;
    match character {
        '▁'..='█' => Some(((character as u32 - '▁' as u32 + 1) as u8, true)),
        '▕' => Some((8, false)),
        _ => None,
    }
}

fn color(color: Color) -> &'static str {
    match color {
        Color::Green => "#7ee787",
        Color::Cyan => "#6cc7f0",
        Color::Yellow => "#f0c674",
        Color::Magenta => "#d2a8ff",
        Color::Blue => "#79a8ff",
        Color::Red => "#ff7b72",
        Color::DarkGray => "#6e7681",
        _ => FOREGROUND,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn bars_are_rectangles_and_text_is_text_that_means_nothing_else() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        buffer.set_string(0, 0, "a<b", Style::new().bold());
        buffer.set_string(4, 0, "▄", Style::new().fg(Color::Green));
        let svg = to_svg(&buffer, "a & b");
        assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
        assert!(
            svg.contains("font-weight=\"bold\" xml:space=\"preserve\">a&lt;b</text>"),
            "{svg}"
        );
        assert!(svg.contains("height=\"9.0\" fill=\"#7ee787\"/>"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
    }
}
