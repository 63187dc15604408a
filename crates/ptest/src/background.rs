//! What goes on when a caller has ended: `ptest improve` and `ptest hooks serve` in processes of their own, which end by
//! themselves. Not for what they do: that is `improve`'s and `hooks`'.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Result;
use crate::hooks::Hook;
use crate::ptest::Ptest;

impl Ptest {
    /// Sees to it that somebody serves these hooks, and those that files declare: `program`, which is `ptest`, if nobody does.
    /// Whether it starts is of no importance: the next caller tries again.
    pub fn let_hooks_be_served(&self, program: &Path, hooks: &[Hook]) -> Result<()> {
        if self.wants_hooks_served(hooks)? {
            self.start(program, &["hooks", "serve"]);
        }
        Ok(())
    }

    /// Lets `program`, which is `ptest`, work on what could start faster, if there is something.
    pub fn let_be_improved(&self, program: &Path) -> Result<()> {
        if self.can_improve()? {
            self.start(program, &["improve", "--background"]);
        }
        Ok(())
    }

    fn start(&self, program: &Path, arguments: &[&str]) {
        let mut command = Command::new(program);
        command
            .args(["--quiet", "--ptest-home"])
            .arg(self.store().home())
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not asked to end when the caller's terminal says so to the caller.
            .process_group(0);
        drop(command.spawn());
    }
}
