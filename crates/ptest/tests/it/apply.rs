//! Environments as a file declares them.

use std::fs;
use std::path::{Path, PathBuf};

use ptest::apply::{Action, Allowed, File, Plan};
use ptest::config::{Config, ConfigError};
use ptest::hooks::{self, Hook};
use ptest::labels::Labels;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{EnvironmentSpec, ErrorKind, Fork, Lifetime, Ptest};

use crate::context::{open, spec, with_pip};

const SOURCE: &str = "/project/environments.toml";

const EVERYTHING: Allowed = Allowed {
    recreate: true,
    prune: true,
};

struct Setting {
    directory: tempfile::TempDir,
    ptest: Ptest,
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("home"));
        Self { directory, ptest }
    }

    fn spec(&self, name: &str) -> EnvironmentSpec {
        EnvironmentSpec {
            name: Some(name.parse().unwrap()),
            ..spec(self.directory.path())
        }
    }

    fn plan(&self, specs: &[EnvironmentSpec], allowed: Allowed) -> Plan {
        self.ptest
            .plan(SOURCE, specs, &[], allowed, &Silent)
            .unwrap()
    }

    fn actions(&self, specs: &[EnvironmentSpec]) -> Vec<(String, Action)> {
        let steps = self.plan(specs, Allowed::default()).steps.into_iter();
        steps.map(|step| (step.label, step.action)).collect()
    }

    /// What became of each step, by name.
    fn apply(
        &self,
        specs: &[EnvironmentSpec],
        allowed: Allowed,
    ) -> Vec<(String, Result<(), ErrorKind>)> {
        let applied = self
            .ptest
            .apply(self.plan(specs, allowed), &Silent)
            .unwrap();
        let results = applied.into_iter().map(|step| {
            (
                step.planned.label,
                step.result.map_err(|error| error.kind()),
            )
        });
        results.collect()
    }

    fn names(&self) -> Vec<String> {
        let records = self.ptest.records().unwrap();
        let mut names: Vec<_> = records.iter().map(|it| it.label().to_owned()).collect();
        names.sort();
        names
    }
}

fn done(names: &[&str]) -> Vec<(String, Result<(), ErrorKind>)> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), Ok(())))
        .collect()
}

fn all(action: Action, names: &[&str]) -> Vec<(String, Action)> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), action))
        .collect()
}

#[test]
fn what_a_file_says_is_made_once_and_kept_then() {
    let setting = Setting::new();
    let specs = [setting.spec("a"), setting.spec("b")];
    assert_eq!(setting.actions(&specs), all(Action::Create, &["a", "b"]));
    assert_eq!(setting.names(), [""; 0]);
    assert_eq!(setting.apply(&specs, Allowed::default()), done(&["a", "b"]));
    let before = setting.ptest.records().unwrap();
    assert_eq!(setting.actions(&specs), all(Action::Keep, &["a", "b"]));
    assert!(setting.plan(&specs, Allowed::default()).is_converged());
    assert_eq!(setting.apply(&specs, EVERYTHING), done(&["a", "b"]));
    let after = setting.ptest.records().unwrap();
    assert!(
        before
            .iter()
            .map(|it| &it.id)
            .eq(after.iter().map(|it| &it.id))
    );
}

#[test]
fn what_differs_is_changed_where_it_stands() {
    let setting = Setting::new();
    let mut wanted = setting.spec("a");
    setting.apply(std::slice::from_ref(&wanted), Allowed::default());
    let before = setting.ptest.find("a").unwrap().record().unwrap();

    wanted.requirements = with_pip(setting.directory.path()).requirements;
    wanted.settings.limits.pids = Some(50);
    wanted.settings.labels = Labels::from([("team".parse().unwrap(), "x".parse().unwrap())]);
    let plan = setting.plan(std::slice::from_ref(&wanted), Allowed::default());
    assert_eq!(plan.steps[0].action, Action::Change);
    let what: Vec<_> = plan.steps[0]
        .differences
        .iter()
        .map(|it| it.what.as_str())
        .collect();
    assert_eq!(what, ["pip", "labels", "limits"]);
    assert_eq!(
        setting.apply(std::slice::from_ref(&wanted), Allowed::default()),
        done(&["a"])
    );
    let environment = setting.ptest.find("a").unwrap();
    let after = environment.record().unwrap();
    assert_eq!(after.id, before.id);
    assert_eq!(*after.settings, wanted.settings);
    assert_eq!(environment.packages().unwrap()[0].name, "pip");
    let selected = setting.ptest.select(&"team=x".parse().unwrap()).unwrap();
    assert_eq!(selected.len(), 1);
    assert_eq!(setting.actions(&[wanted]), all(Action::Keep, &["a"]));
}

#[test]
fn what_somebody_else_changed_is_changed_back() {
    let setting = Setting::new();
    let specs = [EnvironmentSpec {
        requirements: with_pip(setting.directory.path()).requirements,
        ..setting.spec("a")
    }];
    setting.apply(&specs, Allowed::default());
    let environment = setting.ptest.find("a").unwrap();
    environment.uninstall(&["pip".to_owned()], &Silent).unwrap();
    assert_eq!(setting.actions(&specs), all(Action::Change, &["a"]));
    assert_eq!(setting.apply(&specs, Allowed::default()), done(&["a"]));
    assert_eq!(environment.packages().unwrap()[0].name, "pip");
}

#[test]
fn a_requirements_file_that_says_something_else_is_seen() {
    let setting = Setting::new();
    let file = setting.directory.path().join("requirements.txt");
    fs::write(&file, "").unwrap();
    let mut wanted = setting.spec("a");
    wanted.requirements.files.push(file.clone());
    let specs = [wanted];
    setting.apply(&specs, Allowed::default());
    assert_eq!(setting.actions(&specs), all(Action::Keep, &["a"]));
    fs::write(&file, "# a word\n").unwrap();
    assert_eq!(setting.actions(&specs), all(Action::Change, &["a"]));
    setting.apply(&specs, Allowed::default());
    assert_eq!(setting.actions(&specs), all(Action::Keep, &["a"]));
}

#[test]
fn what_cannot_be_changed_is_made_anew_only_if_that_is_allowed() {
    let setting = Setting::new();
    let mut wanted = setting.spec("a");
    setting.apply(std::slice::from_ref(&wanted), Allowed::default());
    let before = setting.ptest.find("a").unwrap().record().unwrap();
    wanted.settings.profile = Some(Profile::Standard);
    wanted.settings.degrade = true;
    let specs = [wanted];
    assert_eq!(setting.actions(&specs), all(Action::Recreate, &["a"]));
    assert_eq!(
        setting.apply(&specs, Allowed::default()),
        [("a".to_owned(), Err(ErrorKind::IllegalState))]
    );
    let kept = setting.ptest.find("a").unwrap().record().unwrap();
    assert_eq!(
        (kept.id, kept.settings),
        (before.id.clone(), before.settings)
    );
    assert_eq!(setting.apply(&specs, EVERYTHING), done(&["a"]));
    assert_ne!(setting.ptest.find("a").unwrap().id(), &before.id);
    assert_eq!(setting.actions(&specs), all(Action::Keep, &["a"]));
}

#[test]
fn what_the_file_did_not_make_is_never_touched() {
    let setting = Setting::new();
    let theirs = setting.ptest.create(&setting.spec("a"), &Silent).unwrap();
    let specs = [setting.spec("a"), setting.spec("b")];
    assert_eq!(setting.actions(&specs)[0].1, Action::Refuse);
    let applied = setting.apply(&specs, EVERYTHING);
    assert_eq!(applied[0], ("a".to_owned(), Err(ErrorKind::AlreadyExists)));
    assert_eq!(applied[1], ("b".to_owned(), Ok(())));
    assert_eq!(setting.ptest.find("a").unwrap().id(), theirs.id());

    let other = setting
        .ptest
        .plan(
            "/other.toml",
            &[setting.spec("b")],
            &[],
            EVERYTHING,
            &Silent,
        )
        .unwrap();
    assert_eq!(other.steps[0].action, Action::Refuse);
    let fork = Fork {
        name: Some("fork".parse().unwrap()),
        lifetime: Lifetime::Detached,
        engine: None,
        settings: None,
        labels: Labels::new(),
    };
    setting.ptest.fork("b", &[fork]).unwrap();
    assert_eq!(setting.apply(&[], EVERYTHING), done(&["b"]));
    assert_eq!(setting.names(), ["a", "fork"]);
}

#[test]
fn what_the_file_does_not_name_any_more_goes_only_if_that_is_allowed() {
    let setting = Setting::new();
    let specs = [setting.spec("a"), setting.spec("b")];
    setting.apply(&specs, Allowed::default());
    let plan = setting.plan(&specs[..1], Allowed::default());
    assert_eq!(
        (plan.steps[1].action, plan.steps[1].is_allowed),
        (Action::Remove, false)
    );
    assert_eq!(
        setting.apply(&specs[..1], Allowed::default()),
        done(&["a", "b"])
    );
    assert_eq!(setting.names(), ["a", "b"]);
    assert_eq!(setting.apply(&specs[..1], EVERYTHING), done(&["a", "b"]));
    assert_eq!(setting.names(), ["a"]);
}

#[test]
fn after_a_failure_the_next_time_goes_on() {
    let setting = Setting::new();
    let mut specs = [setting.spec("a"), setting.spec("b"), setting.spec("c")];
    specs[1].python = Some("9.99".to_owned());
    let applied = setting.apply(&specs, Allowed::default());
    assert_eq!(applied[1], ("b".to_owned(), Err(ErrorKind::NotFound)));
    assert_eq!(setting.names(), ["a", "c"]);
    specs[1].python = None;
    let actions = setting.actions(&specs);
    assert_eq!(actions[0].1, Action::Keep);
    assert_eq!(actions[1].1, Action::Create);
    assert_eq!(
        setting.apply(&specs, Allowed::default()),
        done(&["a", "b", "c"])
    );
    assert!(setting.plan(&specs, Allowed::default()).is_converged());
}

fn read(text: &str) -> (PathBuf, Result<File, ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("environments.toml");
    fs::write(&path, text).unwrap();
    let read = File::read(&path, &Config::default(), Some(Path::new("/home/me")));
    (directory.path().to_owned(), read)
}

#[test]
fn a_file_is_read_with_its_defaults_matrices_and_counts() {
    let (directory, file) = read(
        r#"
        name = "ci"
        [defaults]
        python = "3.12"
        with = ["pytest"]
        env = { A = "1", B = "1" }
        labels = { team = "a" }
        [environment.web]
        requirements = "requirements.txt"
        env = { B = "2" }
        labels = { stage = "new" }
        pids = 50
        count = 2
        [environment.job]
        with = "tox"
        matrix = { python = ["3.9", "3.13"], sets = { old = ["click<8"], none = [] }, exclude = [{ python = "3.9", set = "none" }] }
        "#,
    );
    let file = file.unwrap();
    assert_eq!(file.source, "ci");
    let names: Vec<_> = file
        .environments
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "web-1",
            "web-2",
            "job-3.9-old",
            "job-3.13-old",
            "job-3.13-none"
        ]
    );
    let web = &file.environments[0].asked;
    assert_eq!(web.with, ["pytest"]);
    assert_eq!(web.requirements, [directory.join("requirements.txt")]);
    assert_eq!(web.config.python.as_deref(), Some("3.12"));
    assert_eq!(web.config.pids.unwrap().get(), 50);
    let variables: Vec<_> = web
        .config
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(variables, ["A=1", "B=2"]);
    assert_eq!(web.labels.len(), 2);
    let job = &file.environments[2].asked;
    assert_eq!(job.config.python.as_deref(), Some("3.9"));
    assert_eq!(job.with, ["tox", "click<8"]);
}

#[test]
fn what_is_wrong_in_a_file_has_its_place_and_the_nearest_key() {
    for (text, said, hint) in [
        (
            "[environment.web]\npytohn = '3.12'",
            ":2:1: there is no key `pytohn` here",
            Some("did you mean `python`?"),
        ),
        (
            "[enviroment.web]",
            ":1:2: there is no key `enviroment` here",
            Some("did you mean `environment`?"),
        ),
        (
            "[environment.web]\nmatrix = { pythons = [] }",
            ":2:12: there is no key `pythons` here",
            Some("did you mean `python`?"),
        ),
        (
            "[environment.web]\npids = 'many'",
            ":2:8: `pids` must be",
            None,
        ),
        (
            "[environment.web]\ntimeout = '5m'",
            ":2:1: there is no key `timeout` here",
            None,
        ),
        (
            "[environment.web]\nwith = [1]",
            ":2:8: `with` must be a list of texts, not an integer",
            None,
        ),
        (
            "[environment.web]\ncount = 0",
            ":2:9: `count` must be a whole number from 1, not 0",
            None,
        ),
        (
            "[environment.'a b']",
            ":1:14: `a b` must be the name of an environment",
            None,
        ),
        (
            "[environment.web]\nlabels = { '-' = 'a' }",
            ":2:10: `labels` must be labels",
            None,
        ),
        (
            "[environment.web-1]\n[environment.web]\ncount = 1",
            "`web-1`, which another one has",
            None,
        ),
        (
            "environment = 1",
            ":1:15: `environment` must be a table, not an integer",
            None,
        ),
        ("[environment", ":1:", None),
    ] {
        let (_, read) = read(text);
        let error = read.unwrap_err();
        assert!(error.to_string().contains(said), "{text}: {error}");
        if let Some(hint) = hint {
            assert_eq!(error.hint().as_deref(), Some(hint), "{text}");
        }
    }
    let missing = File::read(Path::new("/nowhere.toml"), &Config::default(), None);
    assert_eq!(
        missing.unwrap_err().to_string(),
        "cannot read /nowhere.toml"
    );
}

#[test]
fn hooks_of_a_file_are_known_from_before_it_makes_anything_until_it_names_them_no_more() {
    let setting = Setting::new();
    let ptest = &setting.ptest;
    let hook = |event: &str| Hook {
        events: vec![event.to_owned()],
        environments: vec!["a".to_owned()],
        action: hooks::Action::Command(vec!["true".to_owned()]),
        timeout: Hook::TIMEOUT,
    };
    let plan = |source: &str, hooks: &[Hook]| {
        let specs = [setting.spec("a")];
        ptest
            .plan(source, &specs, hooks, EVERYTHING, &Silent)
            .unwrap()
    };
    let actions = |plan: &Plan| -> Vec<Action> { plan.hooks.iter().map(|it| it.action).collect() };
    let first = plan(SOURCE, &[hook("created"), hook("removed")]);
    assert_eq!(actions(&first), [Action::Create, Action::Create]);
    ptest.apply(first, &Silent).unwrap();
    let waiting = |ptest: &Ptest| -> Vec<usize> {
        let known = ptest.hooks(&[]).unwrap();
        known.iter().map(|status| status.waiting).collect()
    };
    assert_eq!(waiting(ptest), [1, 0]);

    let again = plan(SOURCE, &[hook("created"), hook("removed")]);
    assert!(again.is_converged());
    let other = plan(SOURCE, &[hook("removed"), hook("failed")]);
    assert_eq!(
        actions(&other),
        [Action::Keep, Action::Create, Action::Remove]
    );
    assert!(!other.is_converged());
    ptest.apply(other, &Silent).unwrap();
    let known = ptest.hooks(&[]).unwrap();
    assert_eq!(
        known.iter().map(|it| it.hook.clone()).collect::<Vec<_>>(),
        [hook("removed"), hook("failed")]
    );
    assert!(known.iter().all(|it| it.source.as_deref() == Some(SOURCE)));

    // Those of another file are not this one's.
    assert_eq!(actions(&plan("/other.toml", &[])), []);
    assert!(ptest.wants_hooks_served(&[]).unwrap());
    ptest.apply(plan(SOURCE, &[]), &Silent).unwrap();
    assert_eq!(ptest.hooks(&[]).unwrap(), []);
}
