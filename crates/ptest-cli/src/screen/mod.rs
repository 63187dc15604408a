//! What is drawn: charts, and a drawing as text for a terminal or a file.
//!
//! Drawings are made of the widgets of `ratatui`, whether they fill a terminal (`ptest top`) or are written to it once.

mod ansi;
mod chart;
mod svg;

pub(crate) use ansi::to_text;
pub(crate) use chart::{Chart, resampled};
pub(crate) use svg::to_svg;
