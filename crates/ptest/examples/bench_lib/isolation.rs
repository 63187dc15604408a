//! What isolation costs: a sandbox of each kind, made, and used for one command.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use ptest_sandbox::profile::Stack;
use ptest_sandbox::{Command, LaunchOptions, Launcher, Level, Limits, Network, Shape, Stdio};

use crate::Result;

/// As long as this nothing has joined a control group before one is joined: right after another the kernel is quicker.
const QUIET: Duration = Duration::from_secs(1);

/// The time until a sandbox of that kind is ready, on a stack; without one until a command has ended in it and it is gone.
pub(crate) fn time(launcher: &Launcher, kind: &str, stack: Option<Stack>) -> Result<Duration> {
    let is_cycle = stack.is_none();
    let (level, network) = match kind.trim_end_matches("-limited") {
        "standard" => (Level::Standard, Network::Host),
        "standard-private" => (Level::Standard, Network::Private),
        "strict" => (Level::Strict, Network::Private),
        _ => return Err(format!("there is no kind `{kind}`").into()),
    };
    let shape = Shape {
        level,
        network,
        environment: stack,
        ..Shape::default()
    };
    let is_limited = kind.ends_with("-limited");
    if is_limited {
        thread::sleep(QUIET);
    }
    let options = LaunchOptions {
        id: format!("bench-{}", std::process::id()),
        limits: if is_limited {
            Limits {
                memory: Some(1 << 30),
                processes: Some(1000),
                ..Limits::default()
            }
        } else {
            Limits::default()
        },
        ..LaunchOptions::default()
    };
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let begin = Instant::now();
    let sandbox = launcher.launch(&shape.plan()?, options)?;
    if !is_cycle {
        let time = begin.elapsed();
        sandbox.stop(Duration::ZERO)?;
        return Ok(time);
    }
    let command = Command::new("true").env("PATH", "/usr/bin:/bin");
    let run = sandbox.spawn(&command, Stdio::Descriptors([null.as_fd(); 3]))?;
    run.wait()?;
    sandbox.stop(Duration::ZERO)?;
    Ok(begin.elapsed())
}
