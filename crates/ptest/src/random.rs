//! Random names, from the kernel.

use crate::error::{Error, Result};

/// Sixteen random bytes.
pub(crate) fn bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole or not at all: getrandom(2).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("get random bytes", errno.into()))?;
    Ok(bytes)
}

/// Sixteen random bytes in hexadecimal.
pub(crate) fn hex() -> Result<String> {
    Ok(bytes()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
