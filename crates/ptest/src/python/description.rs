//! A wheel that has nothing but metadata: what an installer needs of a project to choose versions
//! when the project is built already. It is never installed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::record::{self, RecordEntry};

/// Writes it for the distribution whose metadata directory is `dist_info`, to `file`, which names the
/// distribution as wheels do.
///
/// # Errors
///
/// When the metadata cannot be read or the file not be written.
pub fn write(dist_info: &Path, file: &Path) -> io::Result<()> {
    let directory = dist_info.file_name().unwrap_or_default().to_string_lossy();
    let mut zip = ZipWriter::new(File::create_new(file)?);
    let mut listed = Vec::new();
    let mut add = |name: &str, content: &[u8]| {
        zip.start_file(format!("{directory}/{name}"), SimpleFileOptions::default())?;
        zip.write_all(content)
    };
    for name in ["METADATA", "WHEEL"] {
        add(name, &fs::read(dist_info.join(name))?)?;
        listed.push(RecordEntry::bare(format!("{directory}/{name}")));
    }
    listed.push(RecordEntry::bare(format!("{directory}/RECORD")));
    add("RECORD", record::write(listed).as_bytes())?;
    zip.finish()?;
    Ok(())
}
