//! Columns of text for people.

/// Lines up rows under a header; two spaces stand between columns and none at the end of a line.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += cell;
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A text that a process chose, on one line and without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let visible = |character: char| match character {
        character if character.is_control() => ' ',
        // They change in which direction what follows is read.
        '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        character => character,
    };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_a_process_is_called() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}é"), "a [2Jb c é");
    }

    #[test]
    fn columns_line_up_by_characters_and_lines_end_without_spaces() {
        let rows = [
            vec!["é".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), String::new()],
        ];
        assert_eq!(render(&["A", "B"], &rows), "A     B\né     x\nlong\n");
    }
}
