//! `ptest export`: an environment or a snapshot as one file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, ValueEnum};
use ptest::{Compression, Packed, Ptest, config::format_bytes};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::PackedReport,
    options::{Format, ReportOptions},
    progress::Shown,
    ui::Ui,
};

/// Pack an environment or a snapshot into one file, to be unpacked elsewhere with `ptest import`.
///
/// The file is an OCI image of the environment, with its packages and all that commands wrote in it. The same environment
/// gives the same bytes. The Python that it runs on is not in it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// An environment's name or id, or a snapshot's name.
    source: OsString,

    /// The file, which appears when it is complete; `-` for standard output.
    file: PathBuf,

    /// How it is compressed.
    #[arg(long, value_enum, default_value_t = Compress::Zstd, value_name = "METHOD")]
    compression: Compress,

    #[command(flatten)]
    report: ReportOptions,
}

/// How a package is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    Zstd,
    Gzip,
}

impl From<Compress> for Compression {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::Zstd => Self::Zstd,
            Compress::Gzip => Self::Gzip,
        }
    }
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let began = Instant::now();
    let is_stream = arguments.file.as_os_str() == "-";
    if is_stream && arguments.report.format == Format::Json {
        return Err(CliError::Usage {
            message: "standard output cannot hold both the package and the report".to_owned(),
            hint: Some("name a file"),
        });
    }
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let packed = if is_stream {
        write(&store, &arguments, &ui, &mut io::stdout().lock())?
    } else {
        let path = context.host().absolute(&arguments.file);
        into_file(&path, |file| write(&store, &arguments, &ui, file))?
    };
    for sentence in &packed.left_out {
        ui.warning(sentence);
    }
    if arguments.report.format == Format::Json {
        ui.json(&PackedReport::from(packed))?;
    } else if !is_stream {
        ui.done(
            "Packed",
            format_args!(
                "{} into {}: {} layers, {}, in {:.1} s",
                arguments.source.display(),
                arguments.file.display(),
                packed.layers,
                format_bytes(packed.bytes),
                began.elapsed().as_secs_f64()
            ),
        );
    }
    Ok(Exit::Success)
}

fn write(
    store: &Ptest,
    arguments: &Arguments,
    ui: &Ui,
    out: &mut dyn Write,
) -> Result<Packed, CliError> {
    let progress = Shown::new(ui);
    let source = arguments.source.to_string_lossy();
    Ok(store.export(&source, arguments.compression.into(), out, &progress)?)
}

/// Gives a file its name when it is complete and on the disk.
fn into_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<Packed, CliError>,
) -> Result<Packed, CliError> {
    let failed = |source| CliError::Write {
        what: path.display().to_string(),
        source,
    };
    let name = path.file_name().ok_or_else(|| {
        failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not the name of a file",
        ))
    })?;
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = path.with_file_name(unfinished);
    let file = File::create_new(&unfinished).map_err(failed)?;
    let written = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        let packed = fill(&mut out)?;
        out.flush()
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(failed)?;
        Ok(packed)
    })();
    if written.is_err() {
        // Why it failed is what the caller must know.
        let _ = fs::remove_file(&unfinished);
    }
    written
}
