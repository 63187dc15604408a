//! A drawing as lines of text, with colours or without.

use anstyle::{AnsiColor, Style};
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// The lines of a drawing, without the spaces at their ends.
pub(crate) fn to_text(buffer: &Buffer, colored: bool) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for row in buffer.content.chunks(width) {
        let end = row
            .iter()
            .rposition(|cell| cell.symbol() != " ")
            .map_or(0, |last| last + 1);
        let mut style = Style::new();
        for cell in &row[..end] {
            let wanted = if colored {
                style_of(cell)
            } else {
                Style::new()
            };
            if wanted != style {
                text += &format!("{}{}", style.render_reset(), wanted.render());
                style = wanted;
            }
            text += cell.symbol();
        }
        text += &format!("{}\n", style.render_reset());
    }
    text
}

fn style_of(cell: &Cell) -> Style {
    let color = match cell.fg {
        Color::Green => Some(AnsiColor::Green),
        Color::Cyan => Some(AnsiColor::Cyan),
        Color::Yellow => Some(AnsiColor::Yellow),
        Color::Magenta => Some(AnsiColor::Magenta),
        Color::Blue => Some(AnsiColor::Blue),
        Color::Red => Some(AnsiColor::Red),
        Color::DarkGray => Some(AnsiColor::BrightBlack),
        _ => None,
    };
    let style = Style::new().fg_color(color.map(Into::into));
    if cell.modifier.contains(Modifier::BOLD) {
        style.bold()
    } else {
        style
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn colours_change_only_where_they_do_and_lines_end_without_spaces() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 2));
        buffer.set_string(0, 0, "ab", Color::Green);
        buffer.set_string(2, 0, "c", Modifier::BOLD);
        assert_eq!(to_text(&buffer, false), "abc\n\n");
        let text = to_text(&buffer, true);
        assert_eq!(text, "\u{1b}[32mab\u{1b}[0m\u{1b}[1mc\u{1b}[0m\n\n");
    }
}
