//! Wheels of an index: plain requests bring them, and pip what they do not bring.

use std::fs;

use ptest::python::fetch::{FetchRequest, Fetched, fetch, sha256_of};
use ptest::python::{
    FailureKind, IndexSettings, InstallerError, Pinned, Pip, PipTool, Requirements, Source,
    Supervision,
};

use super::installing::Bench;
use super::server::{Answer, serving};
use super::support::pip_tool;
use super::wheels::Builder;

const WHEEL: &str = "mine-1-py3-none-any.whl";

/// Fetches the wheel from where `answer` is given, as one of this hash; `None` is its own.
fn fetched(
    bench: &Bench,
    tool: &PipTool,
    sha256: Option<&str>,
    answer: impl Fn(&str) -> u16 + Send + 'static,
) -> Result<Vec<Fetched>, InstallerError> {
    let wheel = Builder::new("mine", "1")
        .file("mine.py", "")
        .write(bench.directory.path());
    let own = sha256_of(&wheel).unwrap();
    let content = fs::read(&wheel).unwrap();
    let address = serving(move |head| match answer(head) {
        200 => Answer::Found(content.clone()),
        status => Answer::Refused(status),
    });
    let pin = Pinned {
        name: "mine".to_owned(),
        version: Some("1".to_owned()),
        source: Source::Wheel {
            url: format!("http://{address}/files/{WHEEL}"),
            file_name: WHEEL.to_owned(),
            sha256: Some(sha256.unwrap_or(&own).to_owned()),
        },
        requested: true,
    };
    let work = tempfile::tempdir().unwrap();
    let index = IndexSettings::from_host(&bench.host);
    let fetched = fetch(&FetchRequest {
        context: bench.context(work.path(), &index, &Supervision::default(), tool),
        installer: &Pip,
        offline_first: false,
        pins: &[pin],
        requirements: &Requirements::default(),
        on_wheel: &|_| {},
    })?;
    assert_eq!(fetched[0].sha256, own);
    assert_eq!(
        fs::read(&fetched[0].wheel).unwrap(),
        fs::read(wheel).unwrap()
    );
    Ok(fetched)
}

#[test]
fn a_wheel_whose_hash_is_known_comes_without_pip() {
    let Some(bench) = Bench::new("3") else { return };
    let unused = bench.path("pip");
    fetched(&bench, &PipTool::new(&unused), None, |_| 200).unwrap();
    assert!(!unused.exists());
}

#[test]
fn what_a_plain_request_is_refused_pip_brings() {
    let Some(mut bench) = Bench::new("3") else {
        return;
    };
    bench.set("PIP_NO_CACHE_DIR", "1");
    let of_pip = |head: &str| if head.contains("pip/") { 200 } else { 401 };
    fetched(&bench, &pip_tool(), None, of_pip).unwrap();
}

#[test]
fn what_nobody_brings_is_refused_in_the_words_of_pip() {
    let Some(mut bench) = Bench::new("3") else {
        return;
    };
    bench.set("PIP_NO_CACHE_DIR", "1");
    bench.set("PIP_RETRIES", "0");
    let refused = fetched(&bench, &pip_tool(), None, |_| 403).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Network, "{refused:?}");
    let other = "0".repeat(64);
    let wrong = fetched(&bench, &pip_tool(), Some(&other), |_| 200).unwrap_err();
    assert_eq!(wrong.kind(), FailureKind::HashMismatch, "{wrong:?}");
}

#[test]
fn a_plain_request_goes_by_the_proxy_that_pip_is_told() {
    let Some(mut bench) = Bench::new("3") else {
        return;
    };
    bench.set("no_proxy", "");
    bench.set("NO_PROXY", "");
    let proxy = serving(|_| Answer::Refused(403));
    bench.set("PIP_PROXY", format!("http://{proxy}"));
    bench.set("PIP_RETRIES", "0");
    let refused = fetched(&bench, &pip_tool(), None, |_| 200).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Network, "{refused:?}");
}
