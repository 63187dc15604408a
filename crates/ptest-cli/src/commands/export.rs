//! `ptest export`: an environment or a snapshot as one file.

use std::{ffi::OsString, io, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};
use ptest::{Compression, config::format_bytes};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    progress::Shown,
    ui::Ui,
};
use ptest_report::PackedReport;

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
    let packed = {
        let progress = Shown::new(&ui);
        let source = arguments.source.to_string_lossy();
        let compression = arguments.compression.into();
        if is_stream {
            store.export(&source, compression, &mut io::stdout().lock(), &progress)?
        } else {
            let path = context.host().absolute(&arguments.file);
            store.export_to(&source, compression, &path, &progress)?
        }
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
