//! Names of distributions, and the file names that are made from them.

use std::fmt::Write as _;

/// The normal form of a distribution's name (PEP 503): `PyYAML` and `py.yaml` are not the same,
/// `Foo_Bar` and `foo-bar` are.
pub fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normal.is_empty() {
            normal.push('-');
        }
        normal.extend(part.chars().map(|c| c.to_ascii_lowercase()));
    }
    normal
}

/// The parts of a wheel's file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// Name, as written.
    pub name: String,
    /// Version, as written.
    pub version: String,
    /// Build number with its suffix; empty if there is none.
    pub build: String,
    /// Every tag that the file's compressed tag set stands for.
    pub tags: Vec<String>,
}

impl WheelName {
    /// Takes a file name apart; `None` if it is not that of a wheel.
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".whl")?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, python, abi, platform) = match parts[..] {
            [name, version, python, abi, platform] => (name, version, "", python, abi, platform),
            [name, version, build, python, abi, platform] => {
                (name, version, build, python, abi, platform)
            }
            _ => return None,
        };
        if [name, version, python, abi, platform].contains(&"") {
            return None;
        }
        let mut tags = Vec::new();
        for python in python.split('.') {
            for abi in abi.split('.') {
                for platform in platform.split('.') {
                    tags.push(format!("{python}-{abi}-{platform}"));
                }
            }
        }
        Some(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            build: build.to_owned(),
            tags,
        })
    }

    /// Build numbers are compared as number, then text.
    pub(crate) fn build_order(&self) -> (u64, &str) {
        let digits = self
            .build
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.build.len());
        let (number, rest) = self.build.split_at(digits);
        (number.parse().unwrap_or(0), rest)
    }
}

/// A file URL for an absolute path.
pub(crate) fn file_url(path: &std::path::Path) -> String {
    let mut url = String::from("file://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b'+' => {
                url.push(byte as char);
            }
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

/// The path of a file URL on this machine.
pub(crate) fn path_of_file_url(url: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let rest = url.strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let rest = rest.split(['#', '?']).next().unwrap_or_default();
    rest.starts_with('/')
        .then(|| std::ffi::OsString::from_vec(percent_decode(rest)).into())
}

/// The last part of a URL's path, decoded.
pub(crate) fn url_file_name(url: &str) -> Option<String> {
    let path = url.split(['#', '?']).next()?;
    let name = String::from_utf8(percent_decode(path.rsplit('/').next()?)).ok()?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_value(*high).zip(hex_value(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            decoded.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    decoded
}

pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn names_are_normalised_as_pep_503_says() {
        for name in ["PyYAML", "pyyaml", "PYYAML"] {
            assert_eq!(normalize(name), "pyyaml");
        }
        for name in ["Foo_Bar.baz", "foo--bar_.baz", "foo-bar-baz"] {
            assert_eq!(normalize(name), "foo-bar-baz");
        }
    }

    #[test]
    fn a_wheel_name_stands_for_all_its_tags() {
        let wheel = WheelName::parse("six-1.17.0-1b-py2.py3-none-any.whl").unwrap();
        assert_eq!(wheel.tags, ["py2-none-any", "py3-none-any"]);
        assert_eq!(wheel.build_order(), (1, "b"));
        for name in [
            "six.whl",
            "six-1-py3-none.whl",
            "six-1-py3-none-any.zip",
            "--py3-none-any.whl",
        ] {
            assert_eq!(WheelName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn file_urls_come_back_as_the_same_path() {
        let path = Path::new("/a b/é#x/100%");
        let url = file_url(path);
        assert_eq!(url, "file:///a%20b/%C3%A9%23x/100%25");
        assert_eq!(path_of_file_url(&url).unwrap(), path);
        assert_eq!(path_of_file_url("https://a/b"), None);
        assert_eq!(
            url_file_name("https://h/p/a%2Bb-1.whl#sha256=0").unwrap(),
            "a+b-1.whl"
        );
    }
}
