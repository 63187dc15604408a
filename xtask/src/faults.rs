//! `cargo xtask faults`: ptest killed at random moments of a mixed load, over and over, and what is found afterwards.
//!
//! Eight workers make, change, keep, fork, restore, use, improve, remove and collect at the same time, each command a process. At a random moment all of
//! them are killed (SIGKILL); then a fresh ptest must find everything that was done, nothing half done and nothing left over.
//! Some kills also lose what was not yet synced, as a loss of power does. Not for single steps: those are tests of the store.

mod check;
mod index;
mod load;
mod random;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::check::Check;
use self::load::{Load, Program};
use self::random::Random;
use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

/// Kill ptest at random moments and look at what it left
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 40)]
    kills: u32,
    /// Begin the random choices with this number, which the last run said, to make the same ones
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Work below this directory instead of the temporary one
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// How long a load runs at most before it is killed.
const LONGEST: Duration = Duration::from_secs(1);

/// Of so many kills one is a loss of power too.
const POWER: u32 = 5;

/// Kills and looks.
///
/// # Errors
///
/// When something is found that must not be; the store is kept then, and named.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    process::run(
        workspace
            .cargo()
            .args(["build", "--quiet", "--bin", "ptest"]),
    )?;
    let parent = arguments
        .directory
        .clone()
        .unwrap_or_else(std::env::temp_dir);
    let scratch = tempfile::Builder::new()
        .prefix("ptest-faults-")
        .tempdir_in(&parent)?;
    let seed = arguments.seed.unwrap_or_else(random::seed);
    println!("{} kills, seed {seed}", arguments.kills);
    let built = workspace.target.join("debug/ptest");
    let program = Program::new(&built, tools::uv(workspace)?, scratch.path())?;
    let found = campaign(&program, arguments.kills, Random::new(seed));
    match found {
        Ok(()) => Ok(()),
        Err(error) => {
            let kept = scratch.keep();
            Err(format!(
                "{error}\nseed {seed}; the store is kept in {}",
                kept.display()
            )
            .into())
        }
    }
}

fn campaign(program: &Program, kills: u32, mut random: Random) -> Result<()> {
    let check = Check::new(program)?;
    let mut load = Load::new(program, &mut random);
    load.warm_up()?;
    let began = Instant::now();
    let (mut commands, mut losses, mut damaged) = (0, 0, 0);
    for kill in 1..=kills {
        let moment = LONGEST.mul_f64(random.fraction());
        let round = load.run_and_kill(moment)?;
        commands += round.finished;
        let is_loss = kill % POWER == 0;
        if is_loss {
            losses += 1;
            damaged += check.lose_power(&mut random)?;
        }
        check.everything(load.workers_mut()).map_err(|error| {
            format!("after kill {kill}, of {}: {error}", round.killed.join("; "))
        })?;
        if kill % 10 == 0 {
            eprintln!("{kill} kills, {commands} commands, {:.0?}", began.elapsed());
        }
    }
    check.empty(load.workers_mut())?;
    println!(
        "{kills} kills in {:.0?}, {commands} commands done, {} cut off; {losses} losses of power, {damaged} layers damaged by \
         them; nothing lost, nothing half done, nothing left",
        began.elapsed(),
        load.cut_off()
    );
    Ok(())
}
