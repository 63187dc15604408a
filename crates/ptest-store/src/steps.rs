//! The points between two effects on the disk, where a test can end the process or let the next
//! effect fail.
//!
//! In a normal build [`reach`] is nothing. With the feature `faults`, which only tests turn on, `at` names a step and what happens there.

/// Says that every effect before this step is done and none after it.
#[cfg(not(feature = "faults"))]
#[inline]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with the feature `faults` a step can fail"
)]
pub(crate) fn reach(_step: &'static str) -> crate::error::Result<()> {
    Ok(())
}

#[cfg(feature = "faults")]
pub(crate) use armed::reach;
#[cfg(feature = "faults")]
pub use armed::{Fault, STEPS, arm, at, pass};

#[cfg(feature = "faults")]
mod armed {
    use std::io;
    use std::sync::OnceLock;

    use crate::error::{Context as _, Result};

    /// Every step, in the order in which each operation reaches them.
    pub const STEPS: &[&str] = &[
        "open.directory",
        "open.marker",
        "open.directories",
        "open.database",
        "stage.wrapper",
        "commit.scanned",
        "commit.applied",
        "commit.manifest-staged",
        "commit.synced",
        "commit.tree-renamed",
        "commit.manifest-renamed",
        "commit.row",
        "quarantine.row",
        "quarantine.tree",
        "collect.row",
        "collect.tree",
        "trash.renamed",
        "clone.copied",
        "flatten.linked",
        "moved.copied",
        "export.packed",
        "export.written",
        "import.unpacked",
        "import.prepared",
        "import.published",
        "rebuild.aside",
        "rebuild.log",
        "rebuild.made",
        "rebuild.placed",
    ];

    /// What happens at a step.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The process ends there, without any clean-up, as if it had been killed.
        Abort,
        /// The thread panics there.
        Panic,
        /// What comes next fails with this number, as from the kernel, each time.
        Errno(i32),
    }

    static ARMED: OnceLock<(String, Fault)> = OnceLock::new();

    /// Lets `fault` happen when this process reaches `step`. Can be set once.
    ///
    /// # Panics
    ///
    /// When no such step exists, or one was named before.
    pub fn at(step: &str, fault: Fault) {
        assert!(STEPS.contains(&step), "no step is named {step}");
        arm(step, fault);
    }

    /// The same for a step of whatever crate.
    ///
    /// # Panics
    ///
    /// When one was named before.
    pub fn arm(step: &str, fault: Fault) {
        ARMED
            .set((step.to_owned(), fault))
            .expect("one step is named once");
    }

    pub(crate) fn reach(step: &'static str) -> Result<()> {
        assert!(STEPS.contains(&step), "step {step} is not listed");
        pass(step)
    }

    /// Lets happen what is to happen at a step of whatever crate.
    ///
    /// # Errors
    ///
    /// That, if it is an error.
    pub fn pass(step: &str) -> Result<()> {
        match ARMED.get() {
            Some((at, fault)) if at == step => match fault {
                Fault::Abort => std::process::abort(),
                Fault::Panic => panic!("a fault at {step}"),
                Fault::Errno(errno) => {
                    Err(io::Error::from_raw_os_error(*errno)).at("go on after", step)
                }
            },
            _ => Ok(()),
        }
    }
}
