//! What it costs an init to record what its environment uses.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ptest::{Environment, Run};

use crate::Result;

/// For how many seconds it is looked at, after as many in which it settles.
const SECONDS: u32 = 20;

/// The processor time that init takes in a second, on average.
pub(crate) fn time(environment: &Environment, home: &Path, kind: &str) -> Result<Duration> {
    let script = match kind {
        "sample-quiet" => "exec sleep 1000",
        _ => "for i in 1 2 3; do while :; do :; done & done; while :; do :; done",
    };
    environment.activate()?;
    let holder = fs::read_to_string(
        home.join("envs")
            .join(environment.id().as_str())
            .join("init"),
    )?;
    let init = holder.split(' ').next().unwrap_or_default();
    let path = format!("/proc/{init}/schedstat");
    let used = || -> Result<Duration> {
        let text = fs::read_to_string(&path)?;
        let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
        Ok(Duration::from_nanos(nanoseconds))
    };
    let run = Run {
        caller: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        ..Run::new(["sh", "-c", script])
    };
    thread::scope(|scope| {
        let _running = scope.spawn(|| environment.run(run));
        thread::sleep(Duration::from_secs(SECONDS.into()));
        let before = used()?;
        thread::sleep(Duration::from_secs(SECONDS.into()));
        let after = used()?;
        environment.deactivate(Duration::ZERO)?;
        Ok(after.saturating_sub(before) / SECONDS)
    })
}
