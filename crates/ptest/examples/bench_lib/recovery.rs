//! A work about recovery: opening a store after a process died that a thousand environments lived for.

use std::process::Command;
use std::time::{Duration, Instant};

use ptest::progress::Silent;
use ptest::{EnvironmentSpec, Lifetime, OpenOptions, Ptest};

use super::{Bench, Result, STORM};

/// What this program is called with to make environments and die.
pub(super) const LEAVE: &str = "leave";

/// Makes environments that live for this process, and ends without taking them away.
pub(super) fn leave(bench: &Bench) -> Result<()> {
    let spec = EnvironmentSpec {
        lifetime: Lifetime::Process,
        ..bench.spec(&bench.options.home, None)
    };
    let made = bench.ptest.create_all(&vec![spec; STORM], &Silent);
    let made: Vec<_> = made.into_iter().collect::<Result<_, _>>()?;
    // As if it were killed.
    std::mem::forget(made);
    Ok(())
}

impl Bench {
    /// The time to open a store in which so many are left.
    pub(super) fn recover(&self) -> Result<Duration> {
        let home = self.options.home.with_file_name("left");
        let uv = self.options.host.var("PTEST_UV").unwrap_or_default();
        let ended = Command::new(std::env::current_exe()?)
            .arg(LEAVE)
            .arg(&home)
            .arg(&self.python)
            .arg(uv)
            .status()?;
        if !ended.success() {
            return Err(format!("making what is left failed ({ended})").into());
        }
        let begin = Instant::now();
        let ptest = Ptest::open(OpenOptions {
            home: home.clone(),
            ..self.options.clone()
        })?;
        let time = begin.elapsed();
        let removed = ptest.recovered().removed.len();
        drop(ptest);
        std::fs::remove_dir_all(home)?;
        if removed == STORM {
            Ok(time)
        } else {
            Err(format!("{removed} were taken away instead of {STORM}").into())
        }
    }
}
