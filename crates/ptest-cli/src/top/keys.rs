//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Action, Effect, Focus, Mode, State, key};

/// The signals that can be sent, as they are offered.
pub(crate) const SIGNALS: [(&str, i32); 8] = [
    ("TERM", 15),
    ("KILL", 9),
    ("INT", 2),
    ("HUP", 1),
    ("QUIT", 3),
    ("STOP", 19),
    ("CONT", 18),
    ("USR1", 10),
];

/// A key as the view knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    Interrupt,
}

impl Key {
    /// The key of an event, if the view has a use for it.
    pub(crate) fn of(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let is_control = event.modifiers.contains(KeyModifiers::CONTROL);
        Some(match event.code {
            KeyCode::Char('c' | 'd') if is_control => Self::Interrupt,
            KeyCode::Char(_) if is_control => return None,
            KeyCode::Char(character) => Self::Character(character),
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Escape,
            KeyCode::Backspace => Self::Backspace,
            KeyCode::Tab | KeyCode::BackTab => Self::Tab,
            _ => return None,
        })
    }
}

/// How far a page goes.
const PAGE: isize = 10;

impl State {
    /// Does what a key says. What the view cannot do itself it gives back.
    pub(crate) fn press(&mut self, pressed: Key) -> Option<Effect> {
        if pressed == Key::Interrupt {
            return Some(Effect::Quit);
        }
        self.message = None;
        match std::mem::take(&mut self.mode) {
            Mode::Browse => self.browse(pressed),
            Mode::Filter => self.write_filter(pressed),
            Mode::Signal(process, choice) => {
                match pressed {
                    Key::Enter => {
                        let (_, signal) = SIGNALS[choice.min(SIGNALS.len() - 1)];
                        return self.does(Action::Signal(process, signal));
                    }
                    Key::Escape | Key::Character('q' | 'n') => {}
                    other => {
                        let choice = moved(choice, SIGNALS.len(), step(other));
                        self.mode = Mode::Signal(process, choice);
                    }
                }
                None
            }
            Mode::Confirm(action) => match pressed {
                Key::Character('y' | 'Y') => self.does(action),
                Key::Character('n' | 'N' | 'q') | Key::Escape => None,
                // Nothing is done, or left, by accident.
                _ => {
                    self.mode = Mode::Confirm(action);
                    None
                }
            },
            Mode::Help => None,
        }
    }

    fn browse(&mut self, pressed: Key) -> Option<Effect> {
        match pressed {
            Key::Character('q') => return Some(Effect::Quit),
            Key::Character('s') => {
                self.order = self.order.next();
                self.reversed = false;
            }
            Key::Character('o') => self.reversed = !self.reversed,
            Key::Character('/') => self.mode = Mode::Filter,
            Key::Character('?' | 'h') => self.mode = Mode::Help,
            Key::Tab | Key::Enter => {
                self.focus = match self.focus {
                    Focus::Environments => Focus::Processes,
                    Focus::Processes => Focus::Environments,
                }
            }
            Key::Character('x') => {
                if let Some(process) = self.process().cloned() {
                    self.mode = Mode::Signal(Box::new(process), 0);
                }
            }
            Key::Character('d') if self.row().is_some_and(super::state::Row::is_active) => {
                self.mode = Mode::Confirm(Action::Deactivate);
            }
            Key::Character('r') if self.row().is_some() => {
                self.mode = Mode::Confirm(Action::Remove);
            }
            Key::Escape if self.focus == Focus::Processes => self.focus = Focus::Environments,
            Key::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                return self.keep_selection();
            }
            other => return self.step(step(other)),
        }
        None
    }

    fn write_filter(&mut self, pressed: Key) -> Option<Effect> {
        match pressed {
            Key::Enter => return None,
            Key::Escape => {
                self.filter.clear();
                return self.keep_selection();
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Character(character) => self.filter.push(character),
            _ => {}
        }
        self.mode = Mode::Filter;
        self.keep_selection()
    }

    fn step(&mut self, by: isize) -> Option<Effect> {
        match self.focus {
            Focus::Environments => {
                let shown = self.shown();
                let ids: Vec<_> = shown.iter().map(|row| &row.entry.id).collect();
                let now = ids
                    .iter()
                    .position(|id| Some(*id) == self.selected.as_ref());
                let next = moved(now.unwrap_or_default(), ids.len(), by);
                let next = ids.get(next).map(|id| (*id).clone());
                self.select(next)
            }
            Focus::Processes => {
                let keys: Vec<_> = self.processes.iter().map(|(one, _)| key(one)).collect();
                let now = keys
                    .iter()
                    .position(|key| Some(*key) == self.selected_process);
                let next = moved(now.unwrap_or_default(), keys.len(), by);
                self.selected_process = keys.get(next).copied();
                None
            }
        }
    }

    fn does(&self, action: Action) -> Option<Effect> {
        Some(Effect::Do(self.row()?.subject(), action))
    }
}

fn step(pressed: Key) -> isize {
    match pressed {
        Key::Up | Key::Character('k') => -1,
        Key::Down | Key::Character('j') => 1,
        Key::PageUp => -PAGE,
        Key::PageDown => PAGE,
        Key::Home | Key::Character('g') => isize::MIN,
        Key::End | Key::Character('G') => isize::MAX,
        _ => 0,
    }
}

fn moved(from: usize, of: usize, by: isize) -> usize {
    from.saturating_add_signed(by).min(of.saturating_sub(1))
}
