//! What a command works with: the host, the configuration, the store. Each is made when a command first asks for it,
//! so that `ptest config path` works where the configuration is broken, and help where there is no store.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use ptest::{
    Environment, OpenOptions, Ptest, Rebuilt,
    config::{Config, Origin, Sources},
    hooks::{Attendance, Hook},
    python::Cancel,
    secrets::Secrets,
    settings::Profile,
};

use crate::{
    cli::GlobalOptions,
    collector::Collector,
    error::CliError,
    host::Host,
    log::{self, Spans},
    options::CommandOptions,
    signals::Signals,
    ui::Ui,
};

pub(crate) struct Context {
    host: Host,
    arguments: Vec<OsString>,
    home: Option<PathBuf>,
    is_verbose: bool,
    /// What no log may show.
    secrets: Secrets,
    no_wait: bool,
    wait: Option<Duration>,
    /// Stops the tools that making something runs.
    cancel: Cancel,
    /// The operations that somebody collects.
    spans: Spans,
    /// The store, once it was opened.
    opened: OnceCell<Opened>,
}

/// A store, and what is done when the command has ended.
struct Opened {
    store: Ptest,
    /// Whether it is improved in the background.
    is_improved: bool,
    collector: Option<Collector>,
    hooks: Vec<Hook>,
    /// That hooks are called for what this command does; `None` if it is one that calls them.
    attendance: Option<ptest::Result<Option<Attendance>>>,
}

impl Context {
    /// `arguments` are those of this program, its name the first.
    pub(crate) fn new(host: Host, options: &GlobalOptions, arguments: Vec<OsString>) -> Self {
        let home = options
            .ptest_home
            .as_deref()
            .map(|home| host.absolute(home));
        Self {
            host,
            arguments,
            home,
            is_verbose: options.verbose,
            secrets: Secrets::default(),
            no_wait: options.no_wait,
            wait: options.wait,
            cancel: Cancel::default(),
            spans: Spans::default(),
            opened: OnceCell::new(),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// What this program was started with.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The configuration with the global options in it, and the way to write that goes with it. Warnings have been
    /// said.
    pub(crate) fn config(&self, ui: &Ui) -> Result<(Config, Ui), CliError> {
        self.config_for(ui, None)
    }

    /// The same, for an environment that is to have this profile.
    pub(crate) fn config_for(
        &self,
        ui: &Ui,
        profile: Option<Profile>,
    ) -> Result<(Config, Ui), CliError> {
        let sources = Sources {
            profile,
            ..self.host.sources()
        };
        let (mut config, warnings) = Config::load(&sources)?;
        config
            .home
            .replace(self.home.clone().map(Some), Origin::OPTION);
        if self.no_wait {
            config
                .busy_timeout
                .replace(Some(Duration::ZERO), Origin::OPTION);
        }
        config.wait.replace(self.wait, Origin::OPTION);
        let ui = ui.configured(*config.color, *config.progress);
        for warning in warnings {
            ui.warning(warning);
        }
        Ok((config, ui))
    }

    /// From now on a signal stops what the store opened here is making.
    pub(crate) fn stop_making_on_signals(&self) -> Result<Signals, CliError> {
        Signals::stop_making(self.cancel.clone()).map_err(|source| CliError::Process {
            what: "take signals",
            source,
        })
    }

    /// Opens the store. With `refresh` versions are chosen anew, whatever is known.
    pub(crate) fn open(&self, config: &Config, refresh: bool) -> Result<Ptest, CliError> {
        let store = Ptest::open(self.open_options(config, refresh)?)?;
        let attendance = store.attend_hooks(&config.hooks);
        if matches!(attendance, Ok(Some(_))) {
            // What cannot be done now is tried again when the command has ended.
            let _ = self.let_hooks_be_served(&store, &config.hooks);
        }
        Ok(self.keep(config, store, Some(attendance)))
    }

    /// Opens the store to call hooks for what others do there.
    pub(crate) fn open_to_serve(&self, config: &Config) -> Result<Ptest, CliError> {
        let store = Ptest::open(self.open_options(config, false)?)?;
        Ok(self.keep(config, store, None))
    }

    /// Makes the database of the store anew, and opens it.
    pub(crate) fn rebuild(&self, config: &Config) -> Result<Rebuilt, CliError> {
        let (store, rebuilt) = Ptest::rebuild(self.open_options(config, false)?)?;
        self.keep(config, store, None);
        Ok(rebuilt)
    }

    fn keep(
        &self,
        config: &Config,
        store: Ptest,
        attendance: Option<ptest::Result<Option<Attendance>>>,
    ) -> Ptest {
        let opened = self.opened.get_or_init(|| Opened {
            store,
            is_improved: *config.improve,
            collector: self.collector(config),
            hooks: config.hooks.to_vec(),
            attendance,
        });
        opened.store.clone()
    }

    /// Sees to it that somebody serves each hook.
    fn let_hooks_be_served(&self, store: &Ptest, hooks: &[Hook]) -> ptest::Result<()> {
        if let Some(program) = &self.host.program {
            store.let_hooks_be_served(program, hooks)?;
        }
        Ok(())
    }

    /// How the store is opened. From now on there is a log.
    fn open_options(&self, config: &Config, refresh: bool) -> Result<OpenOptions, CliError> {
        let home = self.store_home(config)?;
        self.start_log(config, &home);
        let mut options = OpenOptions::configured(config, self.host.library())?;
        options.provision.refresh = refresh;
        options.provision.program_directory = self
            .host
            .program
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        options.provision.supervision.cancel = self.cancel.clone();
        Ok(options)
    }

    /// The directory of the store.
    pub(crate) fn store_home(&self, config: &Config) -> Result<PathBuf, CliError> {
        Ok(config.store_home()?.to_owned())
    }

    /// What the command is to see besides what every command sees. Later options for the same variable win.
    pub(crate) fn variables(&self, options: &CommandOptions) -> BTreeMap<OsString, OsString> {
        let variables: BTreeMap<_, _> = options.env.iter().cloned().collect();
        self.secrets.learn(&variables);
        variables
    }

    fn start_log(&self, config: &Config, home: &Path) {
        self.secrets.learn(&self.host.variables);
        self.secrets.learn(config.env.iter());
        let file = config.log_file.as_ref().cloned();
        log::start(log::Options {
            file: file.unwrap_or_else(|| home.join("logs/ptest.log")),
            level: *config.log,
            verbose: self.is_verbose,
            secrets: self.secrets.clone(),
            spans: self.collector(config).map(|_| self.spans.clone()),
        });
    }

    /// Where operations and metrics are sent, and with what headers.
    fn collector(&self, config: &Config) -> Option<Collector> {
        let variable = |name| Some(self.host.variable(name)?.to_str()?.to_owned());
        let endpoint = config.otlp_endpoint.as_ref().cloned();
        Some(Collector {
            endpoint: endpoint.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))?,
            headers: variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default(),
        })
    }

    /// Deletes what was thrown away, when the command has said all it has to say; what takes longer than a person notices
    /// is left to the next time. Lets what could start faster be worked on.
    pub(crate) fn tidy(&self, ui: &Ui) {
        const PATIENCE: Duration = Duration::from_millis(50);
        let Some(Opened {
            store,
            is_improved,
            collector,
            hooks,
            attendance,
        }) = self.opened.get()
        else {
            return;
        };
        // Those too that the command made known.
        let served = match attendance {
            Some(Ok(_)) => self.let_hooks_be_served(store, hooks),
            _ => Ok(()),
        };
        let hindered = attendance.as_ref().and_then(|it| it.as_ref().err());
        if let Some(error) = hindered.or(served.as_ref().err()) {
            ui.warning(format_args!("hooks are not called: {error}"));
        }
        if let Err(error) = store.tidy(PATIENCE) {
            ui.explain(&error.into());
        }
        if let Some(collector) = collector
            && let Err(error) = collector.send(store, self.spans.take())
        {
            let error = CliError::from(error);
            let causes = error.causes().into_iter();
            let words = std::iter::once(error.to_string()).chain(causes);
            ui.warning(words.collect::<Vec<_>>().join(": "));
        }
        if let Some(program) = &self.host.program
            && *is_improved
        {
            // The next command tries again.
            let _ = store.let_be_improved(program);
        }
    }

    /// The environment of a name or id of the command line.
    pub(crate) fn find(&self, store: &Ptest, label: &OsStr) -> Result<Environment, CliError> {
        // What is not UTF-8 is the name of nothing; the replacement shows where.
        Ok(store.find(&label.to_string_lossy())?)
    }
}
