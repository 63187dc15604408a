//! Measures how long launching, running and stopping take, for a look at the figures by hand.
//!
//! `cargo run --release -p ptest-sandbox --example launch -- PATH-TO-INIT [LAYERS] [ROUNDS] [host|private|proxied]`

#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Stdio as ProcessStdio;
use std::time::{Duration, Instant};

use ptest_sandbox::profile::Stack;
use ptest_sandbox::{Command, LaunchOptions, Launcher, Network, Shape, Stdio, Upper, proxy};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let init = arguments
        .next()
        .ok_or("the path of ptest-init is missing")?;
    let mut number = |default: usize| -> Result<usize, Failure> {
        let given = arguments.next().map(|text| text.to_string_lossy().parse());
        Ok(given.transpose()?.unwrap_or(default))
    };
    let (layers, rounds) = (number(129)?, number(50)?);
    let network = arguments.next().unwrap_or_else(|| "host".into());

    let scratch = std::env::temp_dir().join(format!("ptest-launch-{}", std::process::id()));
    let stack = make_stack(&scratch, layers)?;
    let measured = measure(&Launcher::new(init), &stack, rounds, &network);
    fs::set_permissions(
        scratch.join("work/work"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    fs::remove_dir_all(&scratch)?;
    measured
}

fn make_stack(scratch: &std::path::Path, layers: usize) -> Result<Stack, Failure> {
    let mut lowers = Vec::new();
    for index in 0..layers {
        let layer: PathBuf = scratch.join(format!("layers/{index:064}"));
        fs::create_dir_all(layer.join("lib"))?;
        fs::write(layer.join(format!("lib/{index}")), "contents")?;
        lowers.push(layer);
    }
    let upper = Upper {
        directory: scratch.join("upper"),
        work: scratch.join("work"),
    };
    fs::create_dir_all(&upper.directory)?;
    fs::create_dir_all(&upper.work)?;
    Ok(Stack {
        lowers,
        upper: Some(upper),
    })
}

fn measure(
    launcher: &Launcher,
    stack: &Stack,
    rounds: usize,
    network: &OsStr,
) -> Result<(), Failure> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let stdio = Stdio::Descriptors([null.as_fd(); 3]);
    let command = Command::new("/bin/true");
    let (mut launches, mut runs, mut bare, mut stops) = (vec![], vec![], vec![], vec![]);
    let mut resident = 0;
    for _ in 0..rounds {
        let start = Instant::now();
        let standard = Shape {
            environment: Some(stack.clone()),
            network: if network == "host" {
                Network::Host
            } else {
                Network::Private
            },
            ..Shape::default()
        };
        let rules = (network == "proxied").then(|| "a.example".parse().map(|rule| vec![rule]));
        let options = LaunchOptions {
            proxy: rules.transpose()?.map(proxy::Options::new),
            ..LaunchOptions::default()
        };
        let sandbox = launcher.launch(&standard.plan()?, options)?;
        launches.push(start.elapsed());

        for _ in 0..3 {
            let start = Instant::now();
            sandbox.spawn(&command, stdio)?.wait()?;
            runs.push(start.elapsed());

            let start = Instant::now();
            std::process::Command::new("/bin/true")
                .stdin(ProcessStdio::null())
                .status()?;
            bare.push(start.elapsed());
        }
        resident = resident_kilobytes(sandbox.pid()).unwrap_or(0);

        let start = Instant::now();
        sandbox.stop(Duration::ZERO)?;
        stops.push(start.elapsed());
    }
    report("launch", launches);
    report("run /bin/true inside", runs);
    report("run /bin/true bare", bare);
    report("stop", stops);
    println!("{:24} {resident} kB", "resident memory of init");
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what:24} p50 {:8.2?}  p10 {:8.2?}  p90 {:8.2?}",
        at(50),
        at(10),
        at(90)
    );
}

fn resident_kilobytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
