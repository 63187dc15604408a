//! What is shown of the output of a cell: the end of it.
//!
//! Not for all of it: that is in the file that the cell's result names.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The most that is shown of what a command wrote.
const TOLD: u64 = 64 << 10;

/// The end of what a command wrote, from the beginning of a line.
pub fn told(output: &Path) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(output)?;
        let length = file.metadata()?.len();
        let begin = length.saturating_sub(TOLD);
        file.seek(SeekFrom::Start(begin))?;
        let mut text = Vec::new();
        file.take(TOLD).read_to_end(&mut text)?;
        if begin > 0 {
            let line = text
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let note = format!(
                "… {} bytes before this are in {}\n",
                begin + line as u64,
                output.display()
            );
            text.splice(..line, note.into_bytes());
        }
        Ok(text)
    };
    // A cell whose command was never started has written nothing.
    read().unwrap_or_default()
}
