//! What a command works with: the host, the configuration, the store. Each is made when a command first asks for it,
//! so that `ptest config path` works where the configuration is broken, and help where there is no store.

use std::path::PathBuf;

use ptest::config::{Config, Origin};

use crate::{cli::GlobalOptions, error::CliError, host::Host, ui::Ui};

pub(crate) struct Context {
    host: Host,
    home: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(host: Host, options: &GlobalOptions) -> Self {
        let home = options
            .ptest_home
            .as_deref()
            .map(|home| host.absolute(home));
        Self { host, home }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The configuration with the global options in it, and the way to write that goes with it. Warnings have been
    /// said.
    pub(crate) fn config(&self, ui: &Ui) -> Result<(Config, Ui), CliError> {
        let (mut config, warnings) = Config::load(&self.host.sources())?;
        config
            .home
            .replace(self.home.clone().map(Some), Origin::OPTION);
        let ui = ui.configured(*config.color, *config.progress);
        for warning in warnings {
            ui.warning(warning);
        }
        Ok((config, ui))
    }
}
