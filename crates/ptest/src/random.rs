//! Random names, from the kernel.

use crate::error::{Error, Result};

/// So many random bytes, up to 256.
pub(crate) fn bytes<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    // Up to 256 bytes come whole or not at all: getrandom(2).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("get random bytes", errno.into()))?;
    Ok(bytes)
}

/// Sixteen random bytes in hexadecimal.
pub(crate) fn hex() -> Result<String> {
    Ok(bytes::<16>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
