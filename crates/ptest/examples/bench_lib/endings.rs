//! Works about commands: how long a thousand processes take to die, and how fast output is taken.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::time::{Duration, Instant};

use ptest::engine::ExitStatus;
use ptest::{Environment, Output, Run};
use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, Result};

/// A thousand processes: half ignore SIGTERM, a third have a session of their own, a fifth are stopped.
const THOUSAND: &str = "
import os, signal, sys
ready, ring = os.pipe()
for number in range(1000):
    if os.fork() == 0:
        if number % 2:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number % 3 == 0:
            os.setsid()
        os.write(ring, b'.')
        if number % 5 == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            signal.pause()
for _ in range(1000):
    os.read(ready, 1)
open('/ptest/env/ready', 'w').close()
signal.pause()
";

/// How long the thousand have to come into being, when they are then ended by a timeout.
const MAKING: Duration = Duration::from_secs(3);

/// How much is written.
const WRITTEN: u64 = 1 << 30;

impl Bench {
    /// Ends a thousand processes: by a timeout, by deactivation, by the end of init.
    pub(super) fn end_thousand(&self, how: &str, set: &str) -> Result<Duration> {
        let environment = self.create(set)?;
        environment.activate()?;
        let command = Run {
            stdout: Output::Null,
            stderr: Output::Null,
            timeout: (how == "timeout").then_some(MAKING),
            grace: Duration::ZERO,
            ..Run::new(["python", "-c", THOUSAND])
        };
        let begin = Instant::now();
        let running = environment.start(command)?;
        let time = match how {
            "timeout" => {
                let exit = running.finish()?.ended?;
                let time = begin.elapsed().saturating_sub(MAKING);
                // What is dead before it is counted is not among those it left behind: a file says that all were there.
                let made = environment.run(Run::new(["test", "-e", "/ptest/env/ready"]))?;
                if !exit.timed_out || made.ended?.status != ExitStatus::Code(0) {
                    return Err(format!("they were not there: {exit:?}").into());
                }
                time
            }
            how => {
                while environment.status()?.usage.processes <= 1000 {}
                let init = self.init(&environment)?;
                let begin = Instant::now();
                if how == "kill" {
                    kill_process(init, Signal::KILL)?;
                }
                environment.deactivate(Duration::ZERO)?;
                begin.elapsed()
            }
        };
        environment.remove()?;
        Ok(time)
    }

    fn init(&self, environment: &Environment) -> Result<Pid> {
        let instance = self
            .options
            .home
            .join("envs")
            .join(environment.id().as_str());
        let holder = std::fs::read_to_string(instance.join("init"))?;
        let pid = holder.split(' ').next().unwrap_or_default().parse()?;
        Pid::from_raw(pid).ok_or_else(|| "no process".into())
    }

    /// Takes a gigabyte of output.
    pub(super) fn take(&mut self, set: &str) -> Result<Duration> {
        let environment = self.active(set)?;
        let begin = Instant::now();
        let done = environment.run(Run {
            variables: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            ..Run::new(writer())
        })?;
        let time = begin.elapsed();
        if done.stdout.total != WRITTEN {
            return Err(format!("{} bytes came", done.stdout.total).into());
        }
        Ok(time)
    }
}

/// The same by who does nothing but read.
pub(super) fn take_bare() -> Result<Duration> {
    let words = writer();
    let begin = Instant::now();
    let mut child = std::process::Command::new(&words[0])
        .args(&words[1..])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut total = 0;
    if let Some(mut stdout) = child.stdout.take() {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stdout.read(&mut buffer)? {
                0 => break,
                count => total += count as u64,
            }
        }
    }
    child.wait()?;
    if total != WRITTEN {
        return Err(format!("{total} bytes came").into());
    }
    Ok(begin.elapsed())
}

fn writer() -> [OsString; 4] {
    ["head", "-c", &WRITTEN.to_string(), "/dev/zero"].map(OsString::from)
}
