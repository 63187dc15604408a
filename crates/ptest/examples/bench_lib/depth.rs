//! What layers cost: the same files in more and more of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ptest::engine::virtualenv::Virtualenv;
use ptest_sandbox::profile::{ENVIRONMENT, Stack};
use ptest_sandbox::{Command, LaunchOptions, Launcher, Shape, Stdio};
use ptest_store::Store;

use crate::Result;

/// How many modules there are, all in one directory, as packages are in `site-packages`.
const MODULES: usize = 2000;

/// Lists the directory, looks every module up, and imports one in ten, each for the first time;
/// writes the nanoseconds of each.
const SCRIPT: &str = r#"
import os, sys, time
place = sys.argv[1]
sys.path.insert(0, place)
times = [time.perf_counter_ns()]
names = os.listdir(place)
times.append(time.perf_counter_ns())
for name in names:
    os.stat(f"{place}/{name}")
times.append(time.perf_counter_ns())
for number in range(0, len(names), 10):
    __import__(f"m{number}")
times.append(time.perf_counter_ns())
print(*(after - before for before, after in zip(times, times[1:])))
"#;

/// Makes trees once for each depth, and measures.
pub(crate) struct Depth {
    directory: PathBuf,
    engine: Virtualenv,
    layers: BTreeMap<usize, Vec<PathBuf>>,
}

impl Depth {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        Ok(Self {
            directory: store.home().with_file_name("depth"),
            engine: Virtualenv::new(store)?,
            layers: BTreeMap::new(),
        })
    }

    /// The time of one work in a stack of so many layers.
    pub(crate) fn time(&mut self, work: &str, depth: usize, python: &Path) -> Result<Duration> {
        let stack = self.stack(depth)?;
        let read = python.ancestors().nth(2).map(Path::to_owned);
        let plan = Shape {
            environment: Some(stack),
            read: read.into_iter().collect(),
            ..Shape::default()
        }
        .plan()?;
        let begin = Instant::now();
        let sandbox = self
            .engine
            .launcher()
            .launch(&plan, LaunchOptions::default())?;
        if work == "launch" {
            return Ok(begin.elapsed());
        }
        let command = Command::new(python)
            .args(["-I", "-B", "-c", SCRIPT])
            .arg(format!("{ENVIRONMENT}/site"));
        let (mut reader, writer) = std::io::pipe()?;
        let null = fs::File::open("/dev/null")?;
        let stdio = Stdio::Descriptors([null.as_fd(), writer.as_fd(), null.as_fd()]);
        let run = sandbox.spawn(&command, stdio)?;
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said)?;
        run.wait()?;
        let index = ["list", "look-up", "import"]
            .iter()
            .position(|known| *known == work)
            .ok_or("there is no such work")?;
        let nanoseconds = said.split_whitespace().nth(index);
        Ok(Duration::from_nanos(
            nanoseconds.ok_or("the script failed")?.parse()?,
        ))
    }

    /// A stack of so many layers, which nobody writes.
    pub(crate) fn stack(&mut self, depth: usize) -> Result<Stack> {
        Ok(Stack {
            lowers: self.layers(depth)?,
            upper: None,
        })
    }

    /// What makes sandboxes.
    pub(crate) fn launcher(&self) -> &Launcher {
        self.engine.launcher()
    }

    fn layers(&mut self, depth: usize) -> Result<Vec<PathBuf>> {
        if let Some(layers) = self.layers.get(&depth) {
            return Ok(layers.clone());
        }
        let layers: Vec<PathBuf> = (0..depth)
            .map(|number| self.directory.join(format!("{depth}/{number}")))
            .collect();
        for layer in &layers {
            fs::create_dir_all(layer.join("site"))?;
        }
        for number in 0..MODULES {
            let name = format!("site/m{number}.py");
            fs::write(layers[number % depth].join(name), "number = 1\n")?;
        }
        self.layers.insert(depth, layers.clone());
        Ok(layers)
    }
}
