//! Gets a wheel for every pin: downloads it, or builds it from source.
//!
//! pip does the work, whichever installer resolved: it knows every kind of index, credential,
//! repository and build back-end. Several run at once. Two things are taken off it because it is
//! slow at them: wheels that a plain request brings (see [`super::download`]), and local projects,
//! which are built again after every change, by the installer that resolved. What they bring is
//! checked here.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::parallel;

use super::download;
use super::editable;
use super::installer::{
    BuildRequest, Context, Installer, InstallerError, Pinned, Source, Step, stopped,
};
use super::name::{WheelName, file_url, hex, normalize, url_file_name};
use super::pip::{self, NAME};
use super::project;
use super::record::Hasher;
use super::redact::{user_part, without_user};
use super::requirement::Requirement;
use super::requirements::Requirements;
use super::stage::StageError;
use super::wheel::local_wheel;

/// Runs of pip at the same time. Each is a Python that waits for the network most of its time.
const AT_ONCE: usize = 4;
/// Downloads that are worth a run of their own.
const BATCH: usize = 6;

/// A request to fetch.
#[derive(Clone, Copy)]
pub struct FetchRequest<'a> {
    /// The surroundings. Wheels are left in the working directory.
    pub context: Context<'a>,
    /// Who builds local projects.
    pub installer: &'a dyn Installer,
    /// Whether it builds with what is in its cache, if it can.
    pub offline_first: bool,
    /// What is to be fetched, each name once.
    pub pins: &'a [Pinned],
    /// What was asked for: credentials in its URLs are used again.
    pub requirements: &'a Requirements,
    /// Called when a pin's wheel is there, from any thread.
    pub on_wheel: &'a (dyn Fn(&Pinned) + Sync),
}

/// A wheel for a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The pin.
    pub pin: Pinned,
    /// The wheel: below the working directory, or the user's own file.
    pub wheel: PathBuf,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Fetches everything, in the order of the pins. The first failure stops the rest.
///
/// Building an editable project writes into the project; nothing else does.
pub fn fetch(request: &FetchRequest<'_>) -> Result<Vec<Fetched>, InstallerError> {
    let mut fetched: Vec<Option<Fetched>> = vec![None; request.pins.len()];
    let (mut plain, mut downloads, mut builds) = (Vec::new(), Vec::new(), Vec::new());
    for (index, pin) in request.pins.iter().enumerate() {
        if let Some(wheel) = local_wheel(&pin.source) {
            fetched[index] = Some(checked(pin, wheel)?);
            (request.on_wheel)(pin);
        } else if is_built(&pin.source) {
            builds.push(index);
        } else if is_plain(request, pin) {
            plain.push(index);
        } else {
            downloads.push(index);
        }
    }
    let mut supervision = request.context.supervision.clone();
    supervision.cancel = supervision.cancel.child();
    let inner = FetchRequest {
        context: Context {
            supervision: &supervision,
            ..request.context
        },
        ..*request
    };
    // Builds take longest, so they begin first.
    let mut jobs: Vec<Job> = builds
        .into_iter()
        .map(|index| Job::Pip(vec![index]))
        .collect();
    jobs.extend((!plain.is_empty()).then_some(Job::Plain(plain)));
    jobs.extend(batches(&downloads));
    let mut number = 0;
    // What plain requests do not bring is left to pip.
    while !jobs.is_empty() {
        let numbered: Vec<(usize, Job)> = jobs
            .into_iter()
            .map(|job| {
                number += 1;
                (number, job)
            })
            .collect();
        let mut left = Vec::new();
        for (index, wheel) in at_once(&inner, &numbered)? {
            match wheel {
                Some(wheel) => fetched[index] = Some(wheel),
                None => left.push(index),
            }
        }
        jobs = batches(&left).collect();
    }
    // Every index was in one job, and pip gives all that it is asked for or an error.
    Ok(fetched.into_iter().flatten().collect())
}

/// What is done in one go for the pins at these indexes.
enum Job {
    /// Plain requests, as far as they lead.
    Plain(Vec<usize>),
    /// A run of pip or of another builder.
    Pip(Vec<usize>),
}

/// Runs of pip for downloads.
fn batches(downloads: &[usize]) -> impl Iterator<Item = Job> {
    let runs = downloads.len().div_ceil(BATCH).clamp(1, AT_ONCE);
    let size = downloads.len().div_ceil(runs).max(1);
    downloads.chunks(size).map(|batch| Job::Pip(batch.to_vec()))
}

/// What came of all of the jobs, or the first failure, which stops the rest.
fn at_once(
    request: &FetchRequest<'_>,
    jobs: &[(usize, Job)],
) -> Result<Vec<(usize, Option<Fetched>)>, InstallerError> {
    let failure = Mutex::new(None);
    let runs = parallel::try_map(jobs, AT_ONCE, |(number, job)| {
        run(request, *number, job).map_err(|error| {
            // The first failure is the cause; those of runs that it stopped are not.
            lock(&failure).get_or_insert(error);
            request.context.supervision.cancel.cancel();
        })
    });
    match runs {
        Ok(runs) => Ok(runs.into_iter().flatten().collect()),
        Err(()) => Err(lock(&failure).take().unwrap_or(InstallerError::Cancelled)),
    }
}

/// One job, in a directory of its own.
fn run(
    request: &FetchRequest<'_>,
    number: usize,
    job: &Job,
) -> Result<Vec<(usize, Option<Fetched>)>, InstallerError> {
    let directory = request.context.work_dir.join(format!("fetch-{number}"));
    fs::create_dir_all(&directory).map_err(|source| InstallerError::Run {
        installer: NAME,
        source,
    })?;
    let (Job::Plain(indexes) | Job::Pip(indexes)) = job;
    let pins: Vec<&Pinned> = indexes.iter().map(|index| &request.pins[*index]).collect();
    match job {
        Job::Plain(_) => download::plainly(&request.context, &pins, &directory)
            .map_err(|error| stopped(error, NAME, Step::Fetch))?,
        Job::Pip(_) => by_pip_or_builder(request, &pins, &directory)?,
    }
    let mut found = Vec::new();
    for index in indexes {
        let pin = &request.pins[*index];
        let wheel = match (wheel_of(&directory, &pin.name), job) {
            (Some(wheel), _) => Some(checked(pin, wheel)?),
            (None, Job::Plain(_)) => None,
            (None, Job::Pip(_)) => {
                return Err(InstallerError::Answer {
                    installer: NAME,
                    reason: format!("there is no wheel of {}", pin.name),
                });
            }
        };
        if wheel.is_some() {
            (request.on_wheel)(pin);
        }
        found.push((*index, wheel));
    }
    Ok(found)
}

/// Leaves the wheels of these pins in `directory`, or fails.
fn by_pip_or_builder(
    request: &FetchRequest<'_>,
    pins: &[&Pinned],
    directory: &Path,
) -> Result<(), InstallerError> {
    match *pins {
        [
            pin @ Pinned {
                source:
                    Source::Project {
                        path,
                        editable: true,
                        ..
                    },
                ..
            },
        ] => editable::build(&request.context, path, directory, pin),
        [
            pin @ Pinned {
                source: Source::Project { path, copy, .. },
                ..
            },
        ] => {
            // One whose versions were chosen by its description has none yet.
            if !copy.exists() {
                project::copy(path, copy).map_err(StageError::from)?;
            }
            request.installer.build(&BuildRequest {
                context: request.context,
                pin,
                copy,
                directory,
                offline_first: request.offline_first,
            })
        }
        _ => by_pip(request, pins, directory),
    }
}

fn by_pip(
    request: &FetchRequest<'_>,
    pins: &[&Pinned],
    directory: &Path,
) -> Result<(), InstallerError> {
    let lines: String = pins
        .iter()
        .flat_map(|pin| [line(pin, request), "\n".to_owned()])
        .collect();
    pip::wheels(&request.context, &lines, directory, Step::Fetch, pins)
}

/// The line that means exactly this pin to pip.
fn line(pin: &Pinned, request: &FetchRequest<'_>) -> String {
    let (url, fragment) = match &pin.source {
        Source::Wheel { url, sha256, .. } | Source::Sdist { url, sha256 } => {
            (with_user(url, request), hash_fragment(sha256.as_deref()))
        }
        Source::Archive {
            url,
            sha256,
            subdirectory,
        } => {
            let mut fragment = hash_fragment(sha256.as_deref());
            fragment.extend(subdirectory_fragment(subdirectory.as_deref()));
            (with_user(url, request), fragment)
        }
        Source::Repository {
            system,
            url,
            commit,
            subdirectory,
            ..
        } => (
            format!("{system}+{}@{commit}", with_user(url, request)),
            subdirectory_fragment(subdirectory.as_deref()),
        ),
        Source::File { path, sha256 } => (file_url(path), hash_fragment(sha256.as_deref())),
        Source::Project { copy, .. } => (file_url(copy), Vec::new()),
    };
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{}", fragment.join("&"))
    };
    format!("{} @ {url}{fragment}", pin.name)
}

fn hash_fragment(sha256: Option<&str>) -> Vec<String> {
    sha256
        .map(|hash| format!("sha256={hash}"))
        .into_iter()
        .collect()
}

fn subdirectory_fragment(subdirectory: Option<&str>) -> Vec<String> {
    subdirectory
        .map(|directory| format!("subdirectory={directory}"))
        .into_iter()
        .collect()
}

/// A pin's URL has no credentials; they come from the requirement or the index it came by.
fn with_user(url: &str, request: &FetchRequest<'_>) -> String {
    let asked = request
        .requirements
        .items
        .iter()
        .filter_map(|item| match item {
            Requirement::Url(asked) => Some(asked.url.as_str()),
            _ => None,
        })
        .find(|asked| without_user(asked).contains(url))
        .and_then(user_part)
        .map(str::to_owned);
    let indexes = request.requirements.index_urls();
    let user = asked.or_else(|| request.context.index.user_for(url, &indexes));
    match user {
        Some(user) => url.replacen("://", &format!("://{user}"), 1),
        None => url.to_owned(),
    }
}

/// Whether a plain request is worth a try.
fn is_plain(request: &FetchRequest<'_>, pin: &Pinned) -> bool {
    download::is_plain(pin)
        && matches!(&pin.source, Source::Wheel { url, .. } if with_user(url, request) == *url)
}

fn is_built(source: &Source) -> bool {
    match source {
        Source::Wheel { .. } => false,
        Source::Archive { url, .. } => {
            url_file_name(url).is_none_or(|name| WheelName::parse(&name).is_none())
        }
        Source::Sdist { .. }
        | Source::Repository { .. }
        | Source::File { .. }
        | Source::Project { .. } => true,
    }
}

/// The wheel of the distribution `name` in `directory`.
fn wheel_of(directory: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .and_then(WheelName::parse)
                .is_some_and(|wheel| normalize(&wheel.name) == name)
        })
}

/// Hashes a wheel and compares it with what is expected, if the pin is that of a wheel.
fn checked(pin: &Pinned, wheel: PathBuf) -> Result<Fetched, InstallerError> {
    let sha256 = sha256_of(&wheel).map_err(|source| InstallerError::Run {
        installer: NAME,
        source,
    })?;
    let expected = if is_built(&pin.source) && local_wheel(&pin.source).is_none() {
        None
    } else {
        pin.source.sha256()
    };
    match expected {
        Some(expected) if expected != sha256 => Err(InstallerError::Hash {
            name: pin.name.clone(),
            expected: expected.to_owned(),
            found: sha256,
        }),
        _ => Ok(Fetched {
            pin: pin.clone(),
            wheel,
            sha256,
        }),
    }
}

/// The SHA-256 of a file in hexadecimal.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::Sha256(sha2::Digest::new());
    let mut buffer = vec![0; 1 << 18];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&hasher.finish().sha256)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
