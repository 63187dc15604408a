//! A user of its own for each test: home, store and project below one temporary directory whose path has a space and a
//! letter that is not ASCII, and no variable of the machine but PATH.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The program under test.
pub(crate) const PTEST: &str = env!("CARGO_BIN_EXE_ptest");

/// The surroundings of one test.
pub(crate) struct TestContext {
    root: tempfile::TempDir,
    directory: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl TestContext {
    pub(crate) fn new() -> Self {
        // Not below /tmp, which is private inside an environment, so that the usual case is what is tested.
        let root = tempfile::Builder::new()
            .prefix("ptest é ")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let directory = root.path().join("project");
        for name in ["project", "home"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(
            directory.join("pyproject.toml"),
            "[project]\nname = \"project\"\n",
        )
        .unwrap();
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("HOME".into(), root.path().join("home").into()),
            ("PTEST_HOME".into(), root.path().join("store").into()),
            // Nothing works on when a command has ended.
            ("PTEST_IMPROVE".into(), "false".into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("COLUMNS".into(), "100".into()),
        ];
        variables.extend(std::env::var_os("PATH").map(|path| ("PATH".into(), path)));
        Self {
            root,
            directory,
            variables,
        }
    }

    /// A path below the temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The project directory, where commands start.
    pub(crate) fn project(&self) -> &Path {
        &self.directory
    }

    /// Writes a file below the temporary directory.
    pub(crate) fn write(&self, name: &str, contents: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Sets a variable for every command of this test.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.as_ref().into()));
    }

    /// The program with these arguments, ready to be changed and started.
    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(PTEST);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.variables.iter().cloned());
        command
    }

    /// Runs the program to its end with empty input.
    #[must_use = "look at it or assert success"]
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        self.outcome(
            self.command(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    /// Runs the program to its end with this input.
    #[must_use = "look at it or assert success"]
    pub(crate) fn run_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Outcome {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Beside the reading, or both would wait for each other once the pipes are full.
        let output = thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).unwrap());
            child.wait_with_output().unwrap()
        });
        self.outcome(output)
    }

    /// Runs another program to its end with empty input, where and with the variables with which ptest is run.
    #[must_use = "look at it or assert success"]
    pub(crate) fn run_other(&self, command: &mut Command) -> Outcome {
        command
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        self.outcome(command.output().unwrap())
    }

    /// Fails the test unless the program ends with this code and says this.
    pub(crate) fn assert_refused(&self, arguments: &[&str], code: i32, said: &str) {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code(), Some(code), "{outcome}");
        assert!(outcome.stderr().contains(said), "{outcome}");
    }

    /// Fails the test if there is an environment, or if the store holds a file of one.
    pub(crate) fn assert_nothing_is_left(&self) {
        let report = self.run(["list", "--format", "json"]).success().json();
        assert_eq!(report["environments"], serde_json::json!([]));
        for directory in ["envs", "staging"] {
            // Not made before an environment is.
            let entries = fs::read_dir(self.path("store").join(directory))
                .into_iter()
                .flatten();
            let left: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// What a finished program gave.
    pub(crate) fn outcome(&self, output: Output) -> Outcome {
        Outcome {
            output,
            root: self.root.path().to_str().unwrap().to_owned(),
        }
    }
}

/// Waits until something is so; fails the test if it never is.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: never");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a run of the program gave. As text it is what a snapshot holds.
pub(crate) struct Outcome {
    output: Output,
    root: String,
}

impl Outcome {
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The exact bytes of standard output.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    pub(crate) fn stdout(&self) -> String {
        self.filtered(&self.output.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        self.filtered(&self.output.stderr)
    }

    /// Standard output with one space between two columns, however wide this machine's paths make them.
    pub(crate) fn columns(&self) -> String {
        self.stdout()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
            .collect()
    }

    /// Standard output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    /// Fails the test unless the program succeeded.
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code(), Some(0), "{self}");
        self
    }

    fn filtered(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(&self.root, "[ROOT]")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self
            .code()
            .map_or_else(|| "none".to_owned(), |code| code.to_string());
        writeln!(f, "exit: {code}")?;
        writeln!(f, "----- stdout -----\n{}", self.stdout().trim_end())?;
        writeln!(f, "----- stderr -----\n{}", self.stderr().trim_end())
    }
}
