//! Packages made by hand, byte by byte. Shares nothing with the code under test.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One entry of a tar, as a header says it.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) link: Vec<u8>,
    pub(crate) contents: Vec<u8>,
    /// Records of an extended header before it.
    pub(crate) pax: Vec<(&'static str, Vec<u8>)>,
}

pub(crate) fn raw(flag: u8, name: impl AsRef<[u8]>) -> Raw {
    Raw {
        name: name.as_ref().to_vec(),
        flag,
        mode: if flag == b'5' { 0o755 } else { 0o644 },
        link: Vec::new(),
        contents: Vec::new(),
        pax: Vec::new(),
    }
}

pub(crate) fn file(name: impl AsRef<[u8]>, contents: &[u8]) -> Raw {
    Raw {
        contents: contents.to_vec(),
        ..raw(b'0', name)
    }
}

pub(crate) fn link(flag: u8, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Raw {
    Raw {
        link: to.as_ref().to_vec(),
        ..raw(flag, name)
    }
}

/// A tar of these entries with its end.
pub(crate) fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        put(&mut out, entry);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn put(out: &mut Vec<u8>, entry: &Raw) {
    if !entry.pax.is_empty() {
        let mut contents = Vec::new();
        for (key, value) in &entry.pax {
            let rest = key.len() + value.len() + 3;
            let length = (1..10)
                .map(|digits| rest + digits)
                .find(|length| length.to_string().len() + rest == *length);
            contents.extend(format!("{} {key}=", length.unwrap()).bytes());
            contents.extend(value);
            contents.push(b'\n');
        }
        put(
            out,
            &Raw {
                contents,
                ..raw(b'x', "pax")
            },
        );
    }
    let mut header = [0u8; 512];
    let length = entry.name.len().min(100);
    header[..length].copy_from_slice(&entry.name[..length]);
    header[100..108].copy_from_slice(format!("{:07o}\0", entry.mode).as_bytes());
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", entry.contents.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000001750\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = entry.flag;
    let length = entry.link.len().min(100);
    header[157..157 + length].copy_from_slice(&entry.link[..length]);
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend(header);
    out.extend(&entry.contents);
    out.resize(out.len().next_multiple_of(512), 0);
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// The parts of a package, each of which a test may change before it is put together.
pub(crate) struct Parts {
    pub(crate) layout: Value,
    pub(crate) index: Value,
    pub(crate) manifest: Value,
    pub(crate) config: Value,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) more: Vec<Raw>,
}

/// A package of these uncompressed layers, whose trees lie in `env`.
pub(crate) fn parts(layers: &[Vec<u8>]) -> Parts {
    Parts {
        layout: json!({ "imageLayoutVersion": "1.0.0" }),
        index: json!({ "schemaVersion": 2, "manifests": [] }),
        manifest: json!({
            "schemaVersion": 2,
            "layers": layers.iter().map(|tar| descriptor(PLAIN, tar)).collect::<Vec<_>>(),
        }),
        config: json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Labels": { "dev.ptest.prefix": "env" } },
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|tar| digest(tar)).collect::<Vec<_>>(),
            },
        }),
        blobs: layers.to_vec(),
        more: Vec::new(),
    }
}

impl Parts {
    /// The file, in which each document mentions the next as it is.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let config = self.config.to_string().into_bytes();
        if self.manifest["config"].is_null() {
            self.manifest["config"] =
                descriptor("application/vnd.oci.image.config.v1+json", &config);
        }
        let manifest = self.manifest.to_string().into_bytes();
        if self.index["manifests"]
            .as_array()
            .is_some_and(Vec::is_empty)
        {
            self.index["manifests"] = json!([descriptor(
                "application/vnd.oci.image.manifest.v1+json",
                &manifest
            )]);
        }
        let mut entries = vec![
            file("oci-layout", self.layout.to_string().as_bytes()),
            file("index.json", self.index.to_string().as_bytes()),
        ];
        for blob in [manifest, config].iter().chain(&self.blobs) {
            entries.push(file(format!("blobs/sha256/{}", hex(blob)), blob));
        }
        entries.extend(self.more);
        tar(&entries)
    }

    pub(crate) fn write(self, directory: &Path) -> PathBuf {
        let path = directory.join("package");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// The parts of a file that was exported: names and contents.
pub(crate) fn unpack(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut parts = Vec::new();
    while bytes[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = bytes[range].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let size = usize::from_str_radix(&text(124..136), 8).unwrap();
        parts.push((text(0..100), bytes[512..512 + size].to_vec()));
        bytes = &bytes[512 + size.next_multiple_of(512)..];
    }
    assert!(bytes.iter().all(|byte| *byte == 0));
    parts
}
