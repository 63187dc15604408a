//! The view without a terminal: what keys and news do to it, and how it looks.

use std::time::Duration;

use ptest::engine::Processes;
use ptest::environment::State as Life;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::keys::Key;
use super::scene::{self, id, snapshot};
use super::state::{Action, Effect, Focus, Mode, News, Order, Snapshot, State};
use super::{draw, percent};
use crate::screen;

fn see(state: &mut State, snapshot: Snapshot) -> Option<Effect> {
    state.hear(News::Seen(snapshot))
}

fn type_in(state: &mut State, text: &str) -> Option<Effect> {
    text.chars()
        .filter_map(|character| state.press(Key::Character(character)))
        .last()
}

fn names(state: &State) -> Vec<String> {
    let shown = state.shown();
    shown.iter().map(|row| row.entry.label.clone()).collect()
}

fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    screen::to_text(terminal.backend().buffer(), false)
}

#[test]
fn the_first_is_selected_and_its_processes_are_asked_for() {
    let mut state = State::default();
    let effect = see(&mut state, snapshot(0, true));
    assert_eq!(effect, Some(Effect::Look(Some(id(0)))));
    assert_eq!(see(&mut state, snapshot(1, false)), None);
    assert_eq!(state.processes.len(), 5);
}

#[test]
fn how_busy_environments_and_processes_are_is_what_they_used_between_two_looks() {
    let mut state = State::default();
    see(&mut state, snapshot(0, false));
    assert!(state.rows().iter().all(|row| row.cpus < 0.001));
    let mut second = snapshot(1, false);
    second.entries[0].usage.cpu =
        snapshot(0, false).entries[0].usage.cpu + Duration::from_millis(1500);
    // Deactivated and activated again.
    second.entries[1].usage.cpu = Duration::from_millis(5);
    see(&mut state, second);
    let row = |name: &str| {
        let mut rows = state.rows().iter();
        rows.find(|row| row.entry.label == name).unwrap()
    };
    assert_eq!(percent(row("api-tests").cpus), "150.0%");
    assert_eq!(percent(row("docs-build").cpus), "0.0%");
    // Of processes nothing is known before they were seen twice.
    assert!(state.processes.iter().all(|(_, cpus)| *cpus < 0.001));
    see(&mut state, snapshot(2, false));
    assert_eq!(percent(state.processes[1].1), "62.0%");
}

#[test]
fn environments_are_sorted_and_the_selection_stays_with_its_environment() {
    let mut state = scene::view();
    assert_eq!(state.order, Order::Cpu);
    assert_eq!(names(&state)[0], "api-tests");
    assert_eq!(state.press(Key::Down), Some(Effect::Look(Some(id(2)))));
    type_in(&mut state, "sss");
    assert_eq!(state.order, Order::Name);
    assert_eq!(
        names(&state),
        [
            "api-tests",
            "docs-build",
            "matrix-3.12-django5",
            "matrix-3.13-django5",
            "nightly",
            "scratch",
            "web"
        ]
    );
    type_in(&mut state, "o");
    assert_eq!(names(&state)[0], "web");
    type_in(&mut state, "s");
    assert_eq!(
        (state.order, names(&state)[0].as_str()),
        (Order::Age, "web")
    );
    assert_eq!(state.selected, Some(id(2)));
}

#[test]
fn the_selection_stops_at_both_ends() {
    let mut state = scene::view();
    assert_eq!(state.press(Key::Up), None);
    assert!(state.press(Key::End).is_some());
    let last = state.selected.clone();
    assert_eq!(state.press(Key::Down), None);
    assert_eq!(state.selected, last);
    assert!(state.press(Key::Home).is_some());
    assert_eq!(state.selected, Some(id(0)));
}

#[test]
fn a_filter_shows_what_has_such_a_name_until_it_is_dropped() {
    let mut state = scene::view();
    let effect = type_in(&mut state, "/MATRIX-3.13");
    assert_eq!(names(&state), ["matrix-3.13-django5"]);
    assert_eq!(effect, Some(Effect::Look(Some(id(3)))));
    state.press(Key::Enter);
    assert_eq!(state.mode, Mode::Browse);
    // A key is a key again.
    type_in(&mut state, "s");
    assert_eq!(names(&state).len(), 1);
    state.press(Key::Escape);
    assert_eq!(names(&state).len(), 7);
    type_in(&mut state, "/none such");
    assert_eq!(state.selected, None);
    state.press(Key::Backspace);
    assert_eq!(names(&state).len(), 0);
}

#[test]
fn nothing_is_removed_or_deactivated_before_somebody_says_yes() {
    let mut state = scene::view();
    assert_eq!(type_in(&mut state, "r"), None);
    assert_eq!(state.mode, Mode::Confirm(Action::Remove));
    for key in [Key::Enter, Key::Down, Key::Character('r')] {
        assert_eq!(state.press(key), None);
        assert_eq!(state.mode, Mode::Confirm(Action::Remove));
    }
    assert_eq!(type_in(&mut state, "n"), None);
    assert_eq!(state.mode, Mode::Browse);
    let effect = type_in(&mut state, "ry");
    let subject = state.row().unwrap().subject();
    assert_eq!(effect, Some(Effect::Do(subject.clone(), Action::Remove)));
    let effect = type_in(&mut state, "dy");
    assert_eq!(effect, Some(Effect::Do(subject, Action::Deactivate)));
    // What rests is not deactivated.
    state.press(Key::End);
    assert_ne!(state.row().unwrap().entry.state, Life::Active);
    type_in(&mut state, "d");
    assert_eq!(state.mode, Mode::Browse);
}

#[test]
fn a_signal_goes_to_the_process_that_was_selected_when_it_was_chosen() {
    let mut state = scene::view();
    state.press(Key::Tab);
    assert_eq!(state.focus, Focus::Processes);
    state.press(Key::Down);
    type_in(&mut state, "x");
    state.press(Key::Down);
    // It ends meanwhile, and is no longer in the list.
    let mut next = snapshot(3, false);
    next.processes = Some((id(0), Processes::default()));
    see(&mut state, next);
    let Some(Effect::Do(subject, Action::Signal(process, 9))) = state.press(Key::Enter) else {
        panic!("{:?}", state.mode);
    };
    assert_eq!((subject.label.as_str(), process.pid), ("api-tests", 9));
}

#[test]
fn what_is_gone_is_forgotten_and_another_is_selected() {
    let mut state = scene::view();
    let mut next = snapshot(3, false);
    next.entries.remove(0);
    assert!(matches!(see(&mut state, next), Some(Effect::Look(Some(other))) if other != id(0)));
    assert!(!state.past.contains_key(&id(0)));
    assert_eq!(state.processes, []);
    let mut none = snapshot(4, false);
    none.entries.clear();
    assert_eq!(see(&mut state, none), Some(Effect::Look(None)));
}

#[test]
fn the_terminals_interrupt_quits_in_every_mode() {
    for keys in ["", "/", "x", "r", "?"] {
        let mut state = scene::view();
        type_in(&mut state, keys);
        assert_eq!(state.press(Key::Interrupt), Some(Effect::Quit), "{keys}");
    }
}

#[test]
fn a_message_is_shown_until_the_next_key() {
    let mut state = scene::view();
    state.hear(News::Done("removed web".to_owned()));
    assert!(drawn(&state, 80, 24).contains("removed web"));
    state.press(Key::Down);
    assert!(!drawn(&state, 80, 24).contains("removed web"));
}

#[test]
fn it_looks_as_it_should() {
    insta::assert_snapshot!("wide", drawn(&scene::view(), 118, 38));
    insta::assert_snapshot!("usual", drawn(&scene::view(), 80, 24));
}

#[test]
fn its_windows_look_as_they_should() {
    for (name, keys) in [
        ("signal", "x"),
        ("remove", "r"),
        ("help", "?"),
        ("filter", "/3.1"),
    ] {
        let mut state = scene::view();
        type_in(&mut state, keys);
        insta::assert_snapshot!(name, drawn(&state, 80, 24));
    }
}

#[test]
fn it_says_when_there_is_nothing_to_show() {
    assert!(drawn(&State::default(), 80, 24).contains('…'));
    let mut state = State::default();
    let mut none = snapshot(0, false);
    none.entries.clear();
    see(&mut state, none);
    assert!(drawn(&state, 80, 24).contains("there is no environment"));
}

#[test]
fn no_size_is_too_small_to_draw_upon() {
    let mut state = scene::view();
    for keys in ["", "x", "?"] {
        type_in(&mut state, keys);
        for width in 1..30 {
            for height in 1..40 {
                drawn(&state, width, height);
            }
        }
    }
}

#[test]
fn what_processes_call_themselves_is_not_obeyed() {
    let mut state = scene::view();
    let mut next = snapshot(3, false);
    let (_, processes) = next.processes.as_mut().unwrap();
    processes.processes[0].command = "evil\u{1b}[2J\u{7}".to_owned();
    see(&mut state, next);
    assert!(drawn(&state, 80, 24).contains("evil [2J"));
}
