//! The states of an environment and the one function that moves between them.
//!
//! Not for doing what a transition means: an operation asks here first, acts,
//! and records the state that this function gave.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Where an environment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Its directories are being made.
    Creating,
    /// Made, never active yet.
    Created,
    /// Its init is being started.
    Activating,
    /// Its init runs; commands can be run.
    Active,
    /// Its init is being stopped.
    Deactivating,
    /// At rest after having been active.
    Inactive,
    /// Being taken away.
    Removing,
    /// Gone: only ever seen by who took it away.
    Removed,
    /// An operation failed for good; only removal is left.
    Failed,
}

/// What can happen to an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Its directories are complete.
    Create,
    /// Its init is to be started.
    Activate,
    /// Its init answers.
    Activated,
    /// Its init is to be stopped.
    Deactivate,
    /// Its init is seen dead, whoever ended it.
    Deactivated,
    /// It is to be taken away.
    Remove,
    /// Nothing of it is left.
    Removed,
    /// An operation failed and could not be undone.
    Fail,
}

/// A transition that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{transition} is not possible while the environment is {state}")]
pub struct IllegalTransition {
    /// Where the environment is.
    pub state: State,
    /// What was asked.
    pub transition: Transition,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Creating,
        Self::Created,
        Self::Activating,
        Self::Active,
        Self::Deactivating,
        Self::Inactive,
        Self::Removing,
        Self::Removed,
        Self::Failed,
    ];

    /// Where `transition` leads from here.
    pub fn next(self, transition: Transition) -> Result<Self, IllegalTransition> {
        use Transition as T;
        match (self, transition) {
            (Self::Creating, T::Create) => Ok(Self::Created),
            (Self::Created | Self::Inactive, T::Activate) => Ok(Self::Activating),
            (Self::Activating, T::Activated) => Ok(Self::Active),
            (Self::Active, T::Deactivate) => Ok(Self::Deactivating),
            // Init can die at any moment after it was asked for, unasked too.
            (Self::Activating | Self::Active | Self::Deactivating, T::Deactivated) => {
                Ok(Self::Inactive)
            }
            // A removal that was cut off is begun again.
            (
                Self::Creating
                | Self::Created
                | Self::Inactive
                | Self::Active
                | Self::Failed
                | Self::Removing,
                T::Remove,
            ) => Ok(Self::Removing),
            (Self::Removing, T::Removed) => Ok(Self::Removed),
            (Self::Creating | Self::Activating | Self::Deactivating | Self::Removing, T::Fail) => {
                Ok(Self::Failed)
            }
            (state, transition) => Err(IllegalTransition { state, transition }),
        }
    }

    /// Whether an operation is under way, or was when its process died.
    pub fn is_transitional(self) -> bool {
        matches!(
            self,
            Self::Creating | Self::Activating | Self::Deactivating | Self::Removing
        )
    }

    /// The word used in messages, the database and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("unknown state `{text}`")))
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Activate => "activate",
            Self::Activated => "activated",
            Self::Deactivate => "deactivate",
            Self::Deactivated => "deactivated",
            Self::Remove => "remove",
            Self::Removed => "removed",
            Self::Fail => "fail",
        })
    }
}

impl From<IllegalTransition> for Error {
    fn from(illegal: IllegalTransition) -> Self {
        Self::new(ErrorKind::IllegalState, illegal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSITIONS: [Transition; 8] = [
        Transition::Create,
        Transition::Activate,
        Transition::Activated,
        Transition::Deactivate,
        Transition::Deactivated,
        Transition::Remove,
        Transition::Removed,
        Transition::Fail,
    ];

    #[test]
    fn nothing_leads_out_of_removed() {
        for transition in TRANSITIONS {
            assert!(State::Removed.next(transition).is_err(), "{transition}");
        }
    }

    #[test]
    fn every_state_but_removed_has_a_way_to_removed() {
        for start in State::ALL
            .into_iter()
            .filter(|state| *state != State::Removed)
        {
            let mut reached = vec![start];
            let mut index = 0;
            while index < reached.len() {
                for transition in TRANSITIONS {
                    if let Ok(next) = reached[index].next(transition)
                        && !reached.contains(&next)
                    {
                        reached.push(next);
                    }
                }
                index += 1;
            }
            assert!(reached.contains(&State::Removed), "{start}");
        }
    }

    #[test]
    fn an_environment_without_init_cannot_be_deactivated() {
        for state in [State::Created, State::Inactive, State::Failed] {
            let refused = state.next(Transition::Deactivate).unwrap_err();
            assert_eq!(refused.state, state);
        }
    }

    #[test]
    fn the_word_of_a_state_leads_back_to_it() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse::<State>().unwrap(), state);
        }
        assert!("gone".parse::<State>().is_err());
    }
}
