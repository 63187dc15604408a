//! Which start of the machine this is. What was written and not yet synced is safe while the
//! machine runs, and doubtful after it has started again.

use std::sync::OnceLock;

use crate::error::{Context as _, Result};

/// The kernel's random id of this boot.
pub(crate) fn id() -> Result<&'static str> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let text = std::fs::read_to_string(PATH).at("read", PATH)?;
    Ok(ID.get_or_init(|| text.trim().to_owned()))
}
