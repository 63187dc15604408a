//! Every setting changes what ptest does: of each one thing that is so with it and not without it.
//!
//! A setting that is declared and that nothing reads looks to its user as one that works. Who adds a setting adds what it does
//! here, or the first test fails.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ptest::config::{KEYS, Key};
use ptest_sandbox::queue;
use ptest_testkit::{require, requirement};
use serde_json::{Value, json};

use crate::{
    context::{Outcome, PTEST, TestContext, wait_until},
    hard_links::linked,
    packages::with_index,
    wheel,
};

/// The settings that are about what a store keeps: each is looked at in a new one.
const OF_A_STORE: [&str; 9] = [
    "home",
    "installer",
    "improve",
    "keep_events",
    "keep_events_for",
    "keep_runs",
    "keep_runs_for",
    "log",
    "log_file",
];

#[test]
fn every_setting_changes_what_ptest_does() {
    require!(requirement::userns());
    let next = AtomicUsize::new(0);
    let work = || {
        let shared = Arc::new(place());
        while let Some(key) = KEYS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let context = if OF_A_STORE.contains(&key.name) {
                Arc::new(place())
            } else {
                Arc::clone(&shared)
            };
            let user = User { key, context };
            // A panic names its thread.
            let named = thread::Builder::new().name(key.name.to_owned());
            thread::scope(|scope| {
                let proving = named.spawn_scoped(scope, || prove(&user)).unwrap();
                proving.join().unwrap();
            });
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().unwrap();
    });
}

fn place() -> TestContext {
    let mut context = with_index();
    context.set("PLANTED", "planted");
    context
}

/// A user who has a setting in a file of theirs, or has not.
struct User {
    key: &'static Key,
    context: Arc<TestContext>,
}

impl Drop for User {
    fn drop(&mut self) {
        // Not there if nothing was set.
        let _ = fs::remove_file(self.context.path(FILE));
    }
}

const FILE: &str = "home/.config/ptest/config.toml";

impl User {
    fn sets(&self, value: &str) {
        let file = format!("{} = {value}\n", self.key.name);
        self.context.write(FILE, &file);
    }

    /// A command without the setting and with it.
    fn both(&self, value: &str, arguments: &[&str]) -> (Outcome, Outcome) {
        let without = self.run(arguments);
        self.sets(value);
        (without, self.run(arguments))
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.context.command(arguments);
        // Or it would say what the file is to say.
        command.env_remove(self.key.variable());
        let home = self.context.path("store");
        if self.key.name == "home" {
            command.env("XDG_DATA_HOME", home);
        }
        self.context.outcome(command.output().unwrap())
    }

    /// What a command that succeeds says, without the setting and with it.
    fn said(&self, value: &str, arguments: &[&str]) -> (String, String) {
        let (without, with) = self.both(value, arguments);
        let said = |outcome: Outcome| outcome.success().stdout().trim().to_owned();
        (said(without), said(with))
    }

    /// What a script in an environment says, without the setting and with it.
    fn script(&self, value: &str, script: &str) -> (String, String) {
        self.said(value, &["run", "sh", "-c", script])
    }

    /// Whether a command succeeds, without the setting and with it.
    fn succeeds(&self, value: &str, arguments: &[&str]) -> (bool, bool) {
        let (without, with) = self.both(value, arguments);
        (without.code() == Some(0), with.code() == Some(0))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--format", "json"]].concat())
            .success()
            .json()
    }

    /// That tidying brings something about. What one command has no time for, the next does.
    fn tidies_until(&self, what: &str, is_so: impl Fn() -> bool) {
        wait_until(what, || {
            let _ = self.run(&["list"]).success();
            is_so()
        });
    }

    /// Whether something moves on a terminal while a project is built that takes its time.
    fn draws(&self, project: &str) -> bool {
        const BACKEND: &str = "
import os, shutil, time
def build_wheel(directory, settings=None, metadata=None):
    time.sleep(2)
    wheel = os.listdir('made')[0]
    shutil.copy('made/' + wheel, directory)
    return wheel
";
        let file = |name: &str, contents: &str| {
            self.context.write(&format!("{project}/{name}"), contents);
        };
        file(
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        );
        file("backend.py", BACKEND);
        let made = self.context.path(&format!("{project}/made"));
        fs::create_dir(&made).unwrap();
        wheel::make(&made, project, "1.0", "");
        let known = self
            .context
            .command(["create", project, "--with", &format!("../{project}")]);
        let mut typed = format!("'{PTEST}'");
        for argument in known.get_args() {
            typed += &format!(" '{}'", argument.to_str().unwrap());
        }
        let variables = known
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let output = Command::new("script")
            .args(["-qefc", &typed, "/dev/null"])
            .current_dir(self.context.project())
            .env_clear()
            .envs(variables)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let outcome = self.context.outcome(output).success();
        outcome.stdout().contains(['⠁', '⠉', '⠙', '⠚', '⠒'])
    }

    /// That an active environment has a limit, or that this machine cannot have it.
    fn limits(&self, value: &str) {
        let word = self.key.name.replace('_', "-");
        let limits = || {
            let _ = self.run(&["create", "web"]).success();
            let active = self.run(&["activate", "web"]);
            let status = self.json(&["status", "web"]);
            let _ = self.run(&["remove", "web"]).success();
            let limits = status["environment"]["limits"].to_string();
            (active.code(), limits + &active.stderr())
        };
        let (code, said) = limits();
        assert!(code == Some(0) && !said.contains(&word), "{said}");
        self.sets(value);
        let (_, said) = limits();
        assert!(said.contains(&word), "{said}");
    }
}

fn pair<T>(without: T, with: T) -> (T, T) {
    (without, with)
}

fn owned(without: &str, with: &str) -> (String, String) {
    (without.to_owned(), with.to_owned())
}

/// How many events are remembered.
fn events(user: &User) -> usize {
    let report = user.json(&["events"]);
    report["events"].as_array().unwrap().len()
}

/// That of several runs the last alone is remembered.
fn keeps_one_run(user: &User, value: &str) {
    let runs = || {
        let status = user.json(&["status", "web"]);
        status["environment"]["runs"].as_array().unwrap().len()
    };
    let _ = user.run(&["create", "web"]).success();
    for _ in 0..3 {
        let _ = user.run(&["exec", "web", "true"]).success();
    }
    assert_eq!(runs(), 3);
    user.sets(value);
    user.tidies_until("one run is left", || runs() == 1);
    let _ = user.run(&["remove", "web"]).success();
}

/// That the setting changes something.
fn prove(user: &User) {
    let context = &user.context;
    let outside = |name: &str| context.path(name).to_str().unwrap().to_owned();
    let list = |path: &str| format!("['{path}']");
    let host = |namespace: &str| {
        let link = fs::read_link(Path::new("/proc/self/ns").join(namespace)).unwrap();
        link.to_str().unwrap().to_owned()
    };
    match user.key.name {
        "home" => {
            user.sets(&format!("'{}'", outside("elsewhere")));
            let _ = user.run(&["create", "web"]).success();
            assert!(context.path("elsewhere/envs").is_dir());
        }
        "python" => {
            let (without, with) = user.both("'no-such-python'", &["run", "true"]);
            let _ = without.success();
            assert!(with.stderr().contains("no-such-python"), "{with}");
        }
        "engine" => {
            let (without, with) = user.both("'absent'", &["run", "true"]);
            let _ = without.success();
            assert!(with.stderr().contains("`absent`"), "{with}");
        }
        "profile" => {
            let (without, with) = user.script("'none'", "readlink /proc/self/ns/mnt");
            assert_ne!(without, host("mnt"));
            assert_eq!(with, host("mnt"));
        }
        "network" => {
            let (without, with) = user.script("'none'", "readlink /proc/self/ns/net");
            assert_eq!(without, host("net"));
            assert_ne!(with, host("net"));
        }
        "allow" => {
            let (without, with) = user.script("['example.org']", "echo $HTTPS_PROXY");
            assert_eq!(without, "");
            assert!(with.starts_with("http://127.0.0.1:"), "{with}");
        }
        "user_home" => {
            let (without, with) = user.script("'host'", "echo $HOME");
            assert_eq!(pair(&*without, &*with), ("/ptest/home", "[ROOT]/home"));
        }
        "timeout" => {
            let (without, with) = user.both("'100ms'", &["run", "sleep", "0.2"]);
            assert_eq!(pair(without.code(), with.code()), (Some(0), Some(124)));
        }
        "grace" => {
            let stubborn = "trap 'sleep 1; echo late; exit' TERM; while :; do sleep 0.1; done";
            let timed = ["run", "--timeout", "1s", "sh", "-c", stubborn];
            let (without, with) = user.both("'0s'", &timed);
            assert_eq!(pair(&*without.stdout(), &*with.stdout()), ("late\n", ""));
        }
        "memory" => user.limits("'256M'"),
        "cpus" => user.limits("1.5"),
        "pids" | "open_files" => user.limits("100"),
        "cpu_time" => user.limits("'100s'"),
        "file_size" | "disk" => user.limits("'100M'"),
        "ttl" | "idle" => {
            user.sets("'1ms'");
            let _ = user.run(&["create", "web"]).success();
            wait_until("its time is over", || {
                user.json(&["list"])["environments"] == json!([])
            });
        }
        "busy_timeout" => {
            let _ = user.run(&["create", "web"]).success();
            let status = user.json(&["status", "web"]);
            let id = status["environment"]["id"].as_str().unwrap();
            let locks = File::options()
                .write(true)
                .open(context.path("store/locks/queues"));
            let held = queue::enter(locks.unwrap(), id).unwrap().unwrap();
            user.sets("'1ms'");
            let refused = user.run(&["activate", "web"]);
            assert!(refused.stderr().contains("after 1ms"), "{refused}");
            drop(held);
            let _ = user.run(&["remove", "web"]).success();
        }
        "max_environments" => {
            let _ = user.run(&["create", "web"]).success();
            assert_eq!(user.succeeds("1", &["run", "true"]), (true, false));
            let _ = user.run(&["remove", "web"]).success();
        }
        "max_memory" => assert_eq!(user.succeeds("'1G'", &["run", "true"]), (true, false)),
        "max_disk" => assert_eq!(user.succeeds("'1K'", &["run", "true"]), (true, false)),
        "wait" => {
            let finds_room = || {
                let mut command = context.command(["run", "true"]);
                command.env("PTEST_MAX_ENVIRONMENTS", "1");
                command.status().unwrap().success()
            };
            let _ = user.run(&["create", "web"]).success();
            assert!(!finds_room());
            let _ = user.run(&["remove", "web"]).success();
            user.sets("'1m'");
            let _ = user.run(&["create", "web", "--ttl", "3s"]).success();
            assert!(finds_room());
        }
        "env" => assert_eq!(user.script("{ A = 'b' }", "echo $A"), owned("", "b")),
        "pass" => {
            let said = user.script("['PLANTED']", "echo $PLANTED");
            assert_eq!(said, owned("", "planted"));
        }
        "port_range" => {
            user.sets("'23456-23456'");
            let leased = user.json(&["port", "acquire"]);
            assert_eq!(leased["ports"][0]["port"], 23456);
        }
        "write" => {
            fs::create_dir(outside("outside")).unwrap();
            let file = outside("outside/made");
            let touched = user.succeeds(&list(&outside("outside")), &["run", "touch", &file]);
            assert_eq!(touched, (false, true));
        }
        "read" | "bind_socket" => {
            let directory = tempfile::tempdir_in("/tmp").unwrap();
            let path = directory.path().join("socket");
            let _listening = UnixListener::bind(&path).unwrap();
            let path = path.to_str().unwrap();
            let seen = user.succeeds(&list(path), &["run", "test", "-S", path]);
            assert_eq!(seen, (false, true));
        }
        "scratch" => {
            user.sets("true");
            let _ = user.run(&["run", "touch", "made"]).success();
            assert!(!context.project().join("made").exists());
            user.sets("false");
            let _ = user.run(&["run", "touch", "made"]).success();
            assert!(context.project().join("made").exists());
        }
        "degrade" => {
            let weak = ["run", "--profile", "none", "--network", "none", "true"];
            assert_eq!(user.succeeds("true", &weak), (false, true));
        }
        "hard_links" => {
            user.sets("true");
            let made = user.run(&["create", "web", "--profile", "none"]);
            if requirement::root().into_result().is_ok() {
                assert_eq!(made.code(), Some(125), "{made}");
            } else {
                let _ = made.success();
                let copies = user.run(&["doctor"]).stdout().contains("files are copied");
                assert_eq!(linked(context) > 100, copies);
            }
        }
        "installer" => {
            let run = ["run", "--refresh", "--with", "alpha==1.0", "true"];
            let has_used_uv = || {
                let log = fs::read_to_string(context.path("store/logs/ptest.log"));
                log.unwrap_or_default().contains("/uv\"")
            };
            user.sets("'pip'");
            let _ = user.run(&run).success();
            assert!(!has_used_uv());
            user.sets("'uv'");
            let outcome = user.run(&run);
            assert!(
                has_used_uv() || outcome.stderr().contains("uv"),
                "{outcome}"
            );
        }
        "pip" => {
            let run = ["run", "python", "-c", "import pip"];
            assert_eq!(user.succeeds("false", &run), (true, false));
        }
        "resolve_ttl" => {
            let version = [
                "run",
                "--with",
                "alpha",
                "python",
                "-c",
                "import alpha; print(alpha.version)",
            ];
            let says = || user.run(&version).success().stdout();
            assert_eq!(says(), "2.0\n");
            wheel::make(&context.path("index"), "alpha", "3.0", "beta");
            assert_eq!(says(), "2.0\n");
            user.sets("'0s'");
            assert_eq!(says(), "3.0\n");
        }
        "improve" => {
            let improved = || {
                let log = fs::read_to_string(context.path("store/logs/ptest.log"));
                let log = log.unwrap_or_default();
                log.contains("\"kind\":\"improve\"") && log.contains("done")
            };
            user.sets("false");
            let _ = user.run(&["run", "--with", "alpha", "true"]).success();
            assert!(!improved());
            user.sets("true");
            let _ = user.run(&["run", "--with", "alpha", "true"]).success();
            wait_until("it is improved in the background", improved);
        }
        "keep_events" => {
            let _ = user.run(&["run", "true"]).success();
            assert!(events(user) > 1);
            user.sets("1");
            user.tidies_until("one event is left", || events(user) == 1);
        }
        "keep_events_for" => {
            let _ = user.run(&["run", "true"]).success();
            assert!(events(user) > 1);
            user.sets("'0s'");
            user.tidies_until("no event is left", || events(user) == 0);
        }
        "keep_runs" => keeps_one_run(user, "1"),
        "keep_runs_for" => keeps_one_run(user, "'0s'"),
        "log" => {
            user.sets("'off'");
            let _ = user.run(&["create", "web"]).success();
            assert!(!context.path("store/logs").exists());
            user.sets("'info'");
            let _ = user.run(&["remove", "web"]).success();
            assert!(context.path("store/logs").exists());
        }
        "log_file" => {
            user.sets(&format!("'{}'", outside("the.log")));
            let _ = user.run(&["create", "web"]).success();
            assert!(context.path("the.log").exists());
            assert!(!context.path("store/logs").exists());
        }
        "progress" => {
            if requirement::program("script").into_result().is_ok() {
                assert!(user.draws("first"));
                user.sets("'never'");
                assert!(!user.draws("second"));
            }
        }
        "color" => {
            let (without, with) = user.both("'always'", &["remove", "absent"]);
            let coloured = |outcome: &Outcome| outcome.stderr().contains('\x1b');
            assert_eq!(pair(coloured(&without), coloured(&with)), (false, true));
        }
        "keep_output" => {
            let _ = user.run(&["create", "web"]).success();
            let write = ["exec", "--log", "web", "--", "sh", "-c"];
            let write = [&write[..], &["head -c 50000 /dev/zero | tr '\\0' x"]].concat();
            let kept = || {
                let _ = user.run(&write).success();
                user.run(&["logs", "web"]).success().stdout().len()
            };
            let without = kept();
            user.sets("'10K'");
            assert!(without >= 50_000 && kept() < 20_000);
            let _ = user.run(&["remove", "web"]).success();
        }
        "alerts" => {
            user.sets("['processes>1']");
            let busy = ["run", "sh", "-c", "sleep 2.5 & wait"];
            let _ = user.run(&busy).success();
            let told = user.json(&["events", "--kind", "alert_raised"]);
            assert_eq!(told["events"].as_array().unwrap().len(), 1);
        }
        "hooks" => {
            let called = user.context.path("called");
            user.sets(&format!(
                "[{{ events = ['went'], command = ['touch', '{}'] }}]",
                called.display()
            ));
            let _ = user.run(&["events", "emit", "went"]).success();
            wait_until("the hook is called", || called.exists());
        }
        "otlp_endpoint" => {
            let collector = TcpListener::bind("127.0.0.1:0").unwrap();
            user.sets(&format!("'http://{}'", collector.local_addr().unwrap()));
            // What hangs up is told, and harms nobody.
            let asked = thread::spawn(move || collector.accept().is_ok());
            let _ = user.run(&["run", "true"]).success();
            assert!(asked.join().unwrap());
        }
        unknown => panic!("nothing here shows that the setting `{unknown}` changes anything"),
    }
}
