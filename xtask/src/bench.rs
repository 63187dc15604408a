//! stub
use crate::process::Result;
use crate::workspace::Workspace;
/// bench
#[derive(clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_: &Workspace, _: &Arguments) -> Result<()> {
    Ok(())
}
