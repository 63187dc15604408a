//! The view of `ptest top`: what it shows, and how it follows the keys.
//!
//! [`State`] and what keys and news do to it are pure, and so is [`draw`]; [`live`] is what has a terminal, a store and a
//! clock.

mod keys;
pub(crate) mod live;
pub(crate) mod scene;
mod state;
mod view;

#[cfg(test)]
mod tests;

use keys::Key;
pub(crate) use view::{age, draw, percent};
