//! How the view looks.

use std::time::Duration;

use ptest::config::{format_bytes, format_duration};
use ptest::engine::Processes;
use ptest::settings::amount;
use ptest::timestamp::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Borders, Cell, Clear, Paragraph, Row as TableRow, Table, TableState,
};

use super::keys::SIGNALS;
use super::state::{Action, Focus, Mode, Order, REMEMBERED, Row, State};
use crate::screen::{Chart, resampled};
use crate::table::printable;

const GRAY: Style = Style::new().fg(Color::DarkGray);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
/// How many characters the small charts in the list have, where there is room and where there is little.
const SPARKS: (u16, u16) = (14, 8);

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let charts = if area.height >= 30 { 7 } else { 0 };
    let [head, list, plots, processes, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Length(charts),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(heading(state), head);
    environments(frame, state, list);
    if charts > 0 {
        plot(frame, state, plots);
    }
    tree(frame, state, processes);
    frame.render_widget(footing(state), foot);
    match &state.mode {
        Mode::Browse | Mode::Filter => {}
        Mode::Help => help(frame),
        Mode::Signal(process, choice) => {
            let what = format!("{} {}", process.pid, printable(&process.command));
            let lines = SIGNALS.iter().enumerate().map(|(index, (name, number))| {
                let style = if index == *choice {
                    SELECTED
                } else {
                    Style::new()
                };
                Line::styled(format!(" SIG{name:<5} {number:>2} "), style)
            });
            popup(frame, " send a signal ", &what, lines.collect());
        }
        Mode::Confirm(action) => {
            let label = state
                .row()
                .map(|row| row.subject().label)
                .unwrap_or_default();
            let what = match action {
                Action::Remove => format!("remove {label}, with all that was written in it?"),
                _ => format!("deactivate {label} and end all that runs in it?"),
            };
            popup(frame, " sure? ", &what, vec![Line::from(" y yes   n no")]);
        }
    }
}

fn heading(state: &State) -> Line<'_> {
    let rows = state.rows();
    let active = rows.iter().filter(|row| row.is_active()).count();
    let cpus: f64 = rows.iter().map(|row| row.cpus).sum();
    let memory: u64 = rows.iter().map(|row| row.entry.usage.memory).sum();
    let processes: u32 = rows.iter().map(|row| row.entry.usage.processes).sum();
    let figure = |name: &str, value: String| {
        [
            Span::styled(format!("   {name} "), GRAY),
            Span::raw(value).bold(),
        ]
    };
    let mut spans = vec![Span::raw(" ptest ").fg(Color::Green).bold()];
    spans.extend(figure(
        "environments",
        format!("{} ({active} active)", rows.len()),
    ));
    spans.extend(figure("cpu", percent(cpus)));
    spans.extend(figure("memory", format_bytes(memory)));
    spans.extend(figure("processes", processes.to_string()));
    spans.extend(figure("", state.time.map(clock).unwrap_or_default()));
    Line::from(spans)
}

fn environments(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let shown = state.shown();
    let wide = area.width >= 110;
    let spark_width = if wide { SPARKS.0 } else { SPARKS.1 };
    let mut columns = vec![
        ("NAME", Constraint::Fill(1), Some(Order::Name)),
        ("STATE", Constraint::Length(12), None),
        ("CPU", Constraint::Length(7), Some(Order::Cpu)),
        ("", Constraint::Length(spark_width), None),
        ("MEMORY", Constraint::Length(9), Some(Order::Memory)),
        ("", Constraint::Length(spark_width), None),
        ("PROCS", Constraint::Length(6), Some(Order::Processes)),
    ];
    if wide {
        columns.extend([
            ("READ/s", Constraint::Length(9), None),
            ("WRITTEN/s", Constraint::Length(9), None),
        ]);
    }
    columns.push(("AGE", Constraint::Length(5), Some(Order::Age)));
    let mark = if state.reversed { "▴" } else { "▾" };
    let header = columns.iter().map(|(name, _, order)| {
        if *order == Some(state.order) {
            Cell::from(format!("{name}{mark}")).style(Style::new().fg(Color::Green).bold())
        } else {
            Cell::from(*name).style(GRAY)
        }
    });
    let rows = shown.iter().map(|row| line(state, row, wide));
    let widths: Vec<Constraint> = columns.iter().map(|(_, width, _)| *width).collect();
    let title = match (&state.filter, &state.mode) {
        (filter, Mode::Filter) => format!(" filter: {filter}▏"),
        (filter, _) if filter.is_empty() => " environments ".to_owned(),
        (filter, _) => format!(" environments with “{filter}” "),
    };
    let table = Table::new(rows, widths)
        .header(TableRow::new(header))
        .row_highlight_style(highlight(state, Focus::Environments))
        .block(block(title, state.focus == Focus::Environments));
    let index = shown
        .iter()
        .position(|row| Some(&row.entry.id) == state.selected.as_ref());
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(index));
    if shown.is_empty() {
        let text = match (state.time, state.rows().is_empty()) {
            (None, _) => "…",
            (_, true) => "there is no environment",
            (_, false) => "none has such a name",
        };
        let inner = Rect {
            x: area.x + 2,
            y: area.y + 2,
            width: area.width.saturating_sub(4),
            height: 1,
        };
        frame.render_widget(Line::styled(text, GRAY), inner.intersection(area));
    }
}

fn line<'a>(state: &State, row: &Row, wide: bool) -> TableRow<'a> {
    let entry = &row.entry;
    let usage = &entry.usage;
    let width = usize::from(if wide { SPARKS.0 } else { SPARKS.1 });
    let past = state.past.get(&entry.id);
    let cpus: Vec<f64> = past.iter().flat_map(|past| &past.cpus).copied().collect();
    let memory: Vec<f64> = past.iter().flat_map(|past| &past.memory).copied().collect();
    let style = if row.is_active() { Style::new() } else { GRAY };
    let active = |text: String| if row.is_active() { text } else { String::new() };
    let mut cells = vec![
        Cell::from(printable(&entry.label)),
        Cell::from(entry.state.to_string()),
        Cell::from(active(percent(row.cpus))),
        Cell::from(spark(&cpus, 1.0, width)).style(Style::new().fg(Color::Green)),
        Cell::from(active(format_bytes(usage.memory))),
        Cell::from(spark(&memory, 0.0, width)).style(Style::new().fg(Color::Cyan)),
        Cell::from(active(usage.processes.to_string())),
    ];
    if wide {
        cells.push(Cell::from(active(format_bytes(row.read as u64))));
        cells.push(Cell::from(active(format_bytes(row.written as u64))));
    }
    let age = state.time.map(|now| age(entry.created_at, now));
    cells.push(Cell::from(age.unwrap_or_default()));
    TableRow::new(cells).style(style)
}

fn plot(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let Some(row) = state.row() else { return };
    let past = state.past.get(&row.entry.id);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let columns = |area: Rect| Chart::columns(area.width.saturating_sub(1));
    let seconds = |values: Vec<f64>, area: Rect| {
        // Now is at the right.
        let mut all = vec![0.0; REMEMBERED.saturating_sub(values.len())];
        all.extend(values);
        resampled(&all, columns(area))
    };
    let cpus = past.iter().flat_map(|past| &past.cpus).copied().collect();
    let memory = past.iter().flat_map(|past| &past.memory).copied().collect();
    let (cpus, memory) = (seconds(cpus, left), seconds(memory, right));
    let usage = &row.entry.usage;
    let limit = |name: &str| {
        let mut limits = row.entry.limits.iter();
        let kept = limits.find(|kept| kept.limit.as_str() == name);
        kept.map_or_else(String::new, |kept| {
            let amount = amount(kept.limit, kept.configured);
            format!(", limit {amount} ({})", kept.strength.as_str())
        })
    };
    let charts = [
        (
            left,
            Chart {
                title: "cpu",
                details: format!("{}, two minutes{}", percent(row.cpus), limit("cpus")),
                values: &cpus,
                least_top: 1.0,
                format: percent,
                color: Color::Green,
            },
        ),
        (
            right,
            Chart {
                title: "memory",
                details: format!(
                    "{}, {} at most{}",
                    format_bytes(usage.memory),
                    format_bytes(usage.memory_peak),
                    limit("memory")
                ),
                values: &memory,
                least_top: 1.0,
                format: |value| format_bytes(value as u64),
                color: Color::Cyan,
            },
        ),
    ];
    for (mut area, chart) in charts {
        area.height = area.height.saturating_sub(1);
        area.x += 1;
        area.width = area.width.saturating_sub(1);
        frame.render_widget(chart, area);
    }
}

fn tree(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let listed = Processes {
        processes: state.processes.iter().map(|(one, _)| one.clone()).collect(),
        left_out: state.left_out,
    };
    let depths = listed.depths();
    let rows = state
        .processes
        .iter()
        .enumerate()
        .map(|(index, (process, cpus))| {
            let branch = branch(&depths[index..]);
            let command = Line::from(vec![
                Span::styled(branch, GRAY),
                Span::raw(printable(&process.command)),
            ]);
            TableRow::new([
                Cell::from(format!("{:>6}", process.pid)),
                Cell::from(process.state.to_string()),
                Cell::from(percent(*cpus)),
                Cell::from(time(process.cpu)),
                Cell::from(format_bytes(process.memory)),
                Cell::from(process.threads.to_string()),
                Cell::from(command),
            ])
        });
    let widths = [
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    let header = [
        "   PID", "STATE", "CPU", "TIME", "MEMORY", "THREADS", "COMMAND",
    ];
    let title = match state.row() {
        Some(row) if state.left_out > 0 => {
            format!(
                " processes of {}, and {} more ",
                row.subject().label,
                state.left_out
            )
        }
        Some(row) => format!(" processes of {} ", row.subject().label),
        None => " processes ".to_owned(),
    };
    let table = Table::new(rows, widths)
        .header(TableRow::new(header).style(GRAY))
        .row_highlight_style(highlight(state, Focus::Processes))
        .block(block(title, state.focus == Focus::Processes));
    let index = state.process().and_then(|wanted| {
        let mut all = state.processes.iter();
        all.position(|(process, _)| process == wanted)
    });
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(index));
}

fn footing(state: &State) -> Line<'_> {
    if let Some(message) = &state.message {
        return Line::styled(format!(" {message}"), Style::new().fg(Color::Yellow));
    }
    let keys: &[(&str, &str)] = match state.mode {
        Mode::Filter => &[("enter", "keep"), ("esc", "all")],
        _ => &[
            ("tab", "list"),
            ("s", "sort"),
            ("/", "filter"),
            ("x", "signal"),
            ("d", "deactivate"),
            ("r", "remove"),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, does) in keys {
        spans.push(Span::styled(*key, Style::new().fg(Color::Green).bold()));
        spans.push(Span::styled(format!(" {does}  "), GRAY));
    }
    Line::from(spans)
}

fn help(frame: &mut Frame<'_>) {
    let keys = [
        ("↑ ↓ j k", "move; also page up, page down, home, end"),
        ("tab enter", "go to the other list"),
        ("s", "sort by cpu, memory, processes, name, age"),
        ("o", "turn the order round"),
        ("/", "show only environments with this in their names"),
        ("x", "send a signal to the selected process"),
        ("d", "deactivate the selected environment"),
        ("r", "remove the selected environment"),
        ("q, ctrl-c", "quit"),
    ];
    let lines = keys.map(|(key, does)| {
        let key = Span::styled(format!(" {key:<10} "), Style::new().fg(Color::Green).bold());
        Line::from(vec![key, Span::raw(does)])
    });
    popup(frame, " keys ", "", lines.into());
}

/// A window over everything else.
fn popup(frame: &mut Frame<'_>, title: &str, what: &str, lines: Vec<Line<'_>>) {
    let mut all: Vec<Line<'_>> = Vec::new();
    if !what.is_empty() {
        all.extend([Line::from(format!(" {what}")).bold(), Line::default()]);
    }
    all.extend(lines);
    let widest = all.iter().map(Line::width).max().unwrap_or_default() as u16;
    let screen = frame.area();
    let (width, height) = (
        (widest + 4).min(screen.width),
        (all.len() as u16 + 2).min(screen.height),
    );
    let area = Rect::new(
        (screen.width - width) / 2,
        (screen.height - height) / 2,
        width,
        height,
    );
    let block = Block::bordered()
        .title(title.to_owned())
        .border_style(Style::new().fg(Color::Green));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(all).block(block), area);
}

fn block<'a>(title: String, has_focus: bool) -> Block<'a> {
    let style = if has_focus {
        Style::new().fg(Color::Green)
    } else {
        GRAY
    };
    Block::new()
        .borders(Borders::TOP)
        .border_style(style)
        .title(Span::styled(title, style))
}

fn highlight(state: &State, focus: Focus) -> Style {
    if state.focus == focus {
        SELECTED
    } else {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// The last values as one line of bars.
fn spark(values: &[f64], least_top: f64, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &values[values.len().saturating_sub(width)..];
    let top = last.iter().copied().fold(least_top, f64::max);
    let bar = |value: &f64| match (value / top * BARS.len() as f64).ceil() as usize {
        0 => ' ',
        level => BARS[level.min(BARS.len()) - 1],
    };
    let bars: String = last.iter().map(bar).collect();
    format!("{bars:>width$}")
}

/// Processors as a part of one.
pub(crate) fn percent(cpus: f64) -> String {
    format!("{:.1}%", cpus * 100.0)
}

/// What leads to a process from its parent. Its depth is followed by those of the processes after it.
fn branch(depths: &[usize]) -> String {
    let Some((depth, rest)) = depths.split_first().filter(|(depth, _)| **depth > 0) else {
        return String::new();
    };
    let has_sibling = rest
        .iter()
        .take_while(|other| *other >= depth)
        .any(|other| other == depth);
    let mark = if has_sibling { "├" } else { "└" };
    format!("{}{mark} ", "  ".repeat(depth - 1))
}

/// Processor time, shorter the more it is.
fn time(used: Duration) -> String {
    if used < Duration::from_mins(1) {
        return format!("{:.2}s", used.as_secs_f64());
    }
    format_duration(Duration::from_secs(used.as_secs()))
}

/// How long ago something was, by its largest unit.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now
        .as_millisecond()
        .saturating_sub(since.as_millisecond())
        .max(0)
        / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time of day of a moment, UTC.
fn clock(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(11..19)
        .map(|time| format!("{time} UTC"))
        .unwrap_or_default()
}
