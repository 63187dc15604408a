//! Packages of a form that ptest does not read, and such as mean harm: each is refused, says why,
//! and leaves nothing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use ptest_store::{Error, ErrorKind, ImportLimits};

use crate::support::package::{PLAIN, Parts, Raw, descriptor, digest, file, link, parts, raw, tar};
use crate::support::{TestStore, assert_consistent, names};

/// The chain of texts of an error.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Imports what must be refused; gives the error with what it says.
pub(crate) fn refused(test: &TestStore, package: &Path, limits: &ImportLimits) -> (Error, String) {
    let error = test.store.import(package, limits).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(names(test.store.home().join("staging")), [""; 0]);
    assert_consistent(&test.store);
    let text = chain(&error);
    (error, text)
}

/// Fails unless a package is refused with these words and the store has no layer afterwards.
pub(crate) fn assert_refused(parts: Parts, said: &str) {
    let test = TestStore::new();
    let path = parts.write(test.dir.path());
    let (_, text) = refused(&test, &path, &ImportLimits::default());
    assert!(text.contains(said), "{said}: {text}");
    assert_eq!(test.store.layers().unwrap(), []);
    assert_eq!(names(test.dir.path()), ["a störe", "package"]);
}

#[test]
fn entries_that_no_layer_can_hold_are_refused() {
    let outside = "a path outside of the tree";
    let parent = "an entry before its directory, or behind a link";
    let setuid = Raw {
        mode: 0o4755,
        ..file("env/f", b"x")
    };
    let setgid = Raw {
        mode: 0o2755,
        ..raw(b'5', "env/d")
    };
    let pax = |key, value: &[u8]| Raw {
        pax: vec![(key, value.to_vec())],
        ..file("env/f", b"x")
    };
    let cases: Vec<(Vec<Raw>, &str)> = vec![
        (vec![file("/env/f", b"x")], outside),
        (vec![file("/etc/x", b"x")], outside),
        (vec![file("env/../../x", b"x")], outside),
        (vec![file("../env/f", b"x")], outside),
        (vec![file("env//f", b"x")], outside),
        (vec![file("env/./f", b"x")], outside),
        (vec![file("environment", b"x")], outside),
        (vec![file("other/f", b"x")], outside),
        (vec![raw(b'0', ".wh.env")], outside),
        (vec![raw(b'0', "env/.wh..")], outside),
        (vec![raw(b'0', "env/.wh...")], outside),
        (vec![raw(b'0', "env/.wh.")], outside),
        (vec![raw(b'0', "env/.wh..wh.plnk")], outside),
        (vec![raw(b'0', "env/.wh..wh..opq")], outside),
        (vec![pax("path", b"env/../x")], outside),
        (vec![pax("path", b"/x")], outside),
        (
            vec![link(b'2', "env", "/etc")],
            "no directory where the tree should be",
        ),
        (
            vec![file("env", b"")],
            "no directory where the tree should be",
        ),
        (
            vec![link(b'2', "env/l", "/etc"), file("env/l/x", b"x")],
            parent,
        ),
        (
            vec![link(b'2', "env/l", "."), file("env/l/x", b"x")],
            parent,
        ),
        (
            vec![link(b'2', "env/l", "."), raw(b'0', "env/l/.wh.x")],
            parent,
        ),
        (vec![file("env/f", b"x"), file("env/f/x", b"x")], parent),
        (vec![file("env/d/f", b"x"), raw(b'5', "env/d")], parent),
        (vec![raw(b'0', "env/.wh.d"), file("env/d/f", b"")], parent),
        (
            vec![file("env/f", b"x"), file("env/f", b"y")],
            "one path twice",
        ),
        (
            vec![file("env/f", b"x"), file("./env/f", b"y")],
            "one path twice",
        ),
        (
            vec![file("env/f", b"x"), link(b'2', "env/f", "/etc")],
            "one path twice",
        ),
        (
            vec![raw(b'5', "env/f"), link(b'2', "env/f", "/etc")],
            "one path twice",
        ),
        (
            vec![raw(b'5', "env/f"), raw(b'5', "env/f/")],
            "one path twice",
        ),
        (
            vec![file("env/f", b"x"), raw(b'0', "env/.wh.f")],
            "one path twice",
        ),
        (vec![file("env/.wh.f", b"x")], "not an empty file"),
        (vec![raw(b'5', "env/.wh.f")], "not an empty file"),
        (vec![link(b'2', "env/.wh.f", "x")], "not an empty file"),
        (
            vec![raw(b'0', "env/d/.wh..wh..opq")],
            "a mark without its directory",
        ),
        (
            vec![
                raw(b'5', "env/d"),
                raw(b'0', "env/d/.wh..wh..opq"),
                raw(b'0', "env/d/.wh..wh..opq"),
            ],
            "a mark without its directory, or twice",
        ),
        (vec![setuid], "a set-user-id or set-group-id bit"),
        (vec![setgid], "a set-user-id or set-group-id bit"),
        (
            vec![Raw {
                mode: 0o2755,
                ..raw(b'5', "env")
            }],
            "a set-user-id or set-group-id bit",
        ),
        (vec![raw(b'3', "env/d")], "a device"),
        (vec![raw(b'4', "env/d")], "a device"),
        (vec![raw(b'6', "env/p")], "a FIFO"),
        (vec![raw(b'S', "env/s")], "a sparse file"),
        (vec![raw(b'7', "env/s")], "an entry of an unknown type"),
        (vec![raw(b'g', "env/s")], "a global extended header"),
        (
            vec![raw(b'L', "env/s")],
            "a long name in the way of GNU tar",
        ),
        (
            vec![link(b'1', "env/l", "env/none")],
            "a hard link to no file",
        ),
        (
            vec![link(b'1', "env/l", "/etc/passwd")],
            "a hard link to no file",
        ),
        (
            vec![link(b'1', "env/l", "env/../../x")],
            "a hard link to no file",
        ),
        (
            vec![
                link(b'2', "env/s", "/etc/passwd"),
                link(b'1', "env/l", "env/s"),
            ],
            "a hard link to no file",
        ),
        (
            vec![raw(b'5', "env/d"), link(b'1', "env/l", "env/d")],
            "a hard link to no file",
        ),
        (vec![link(b'1', "env/l", "env/l")], "a hard link to no file"),
        (
            vec![link(b'2', "env/l", "")],
            "a symbolic link that leads nowhere",
        ),
        (
            vec![Raw {
                contents: b"x".to_vec(),
                ..raw(b'5', "env/d")
            }],
            "contents of what is not a file",
        ),
        (
            vec![Raw {
                contents: b"x".to_vec(),
                ..link(b'2', "env/d", "x")
            }],
            "contents of what is not a file",
        ),
        (vec![pax("GNU.sparse.major", b"1")], "a sparse file"),
        (
            vec![pax("SCHILY.xattr.security.capability", b"x")],
            "an extended attribute",
        ),
        (
            vec![pax("SCHILY.acl.access", b"x")],
            "an access control list",
        ),
        (vec![pax("VENDOR.thing", b"x")], "an unknown key"),
        (vec![pax("size", b"7")], "an entry with two sizes"),
        (vec![pax("size", b"-7")], "an impossible value"),
        (vec![pax("mtime", b"1.0000000001")], "an impossible value"),
        (vec![pax("mtime", b"1e9")], "an impossible value"),
        (vec![pax("mtime", b"")], "an impossible value"),
        (
            vec![pax("mtime", b"99999999999999999999")],
            "an impossible value",
        ),
        (vec![pax("path", b"env/a\0b")], "an impossible value"),
        (vec![pax("path", &[b'a'; 5000])], "an impossible value"),
        (
            vec![pax("comment", &vec![b'a'; 70_000])],
            "more than 64 KiB",
        ),
    ];
    for (entries, said) in cases {
        let shown = format!("{entries:?}");
        let test = TestStore::new();
        let path = parts(&[tar(&entries)]).write(test.dir.path());
        let (error, text) = refused(&test, &path, &ImportLimits::default());
        assert!(text.contains(said), "{shown}: {text}");
        assert!(matches!(
            error.kind(),
            ErrorKind::InvalidInput | ErrorKind::Corrupt
        ));
        assert_eq!(test.store.layers().unwrap(), []);
        assert_eq!(names(test.dir.path()), ["a störe", "package"], "{shown}");
    }
}

/// A tar whose first header is changed, with its checksum made right again.
fn changed(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = tar(&[file("env/f", b"x")]);
    change(&mut bytes);
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn tars_that_programs_read_differently_are_refused() {
    let good = tar(&[file("env/f", b"x")]);
    let mut wrong_sum = good.clone();
    wrong_sum[0] = b'E';
    let cases = [
        (vec![], "it is cut off"),
        (good[..good.len() - 512].to_vec(), "it is cut off"),
        (good[..700].to_vec(), "it is cut off"),
        ([good.as_slice(), &good].concat(), "something after the end"),
        ([good.as_slice(), b"x"].concat(), "something after the end"),
        (
            [good.as_slice(), &vec![0; (1 << 20) + 512]].concat(),
            "a mebibyte of zeros",
        ),
        (wrong_sum, "a header whose checksum is wrong"),
        (
            changed(|b| b[257..265].fill(0)),
            "another format than POSIX's",
        ),
        (changed(|b| b[124] = 0x80), "a number that is not octal"),
        (changed(|b| b[136] = 0xff), "a number that is not octal"),
        (
            changed(|b| b[100..108].copy_from_slice(b"00-1755\0")),
            "a number that is not octal",
        ),
        (
            changed(|b| b[100..108].copy_from_slice(b"0009755\0")),
            "a number that is not octal",
        ),
        (
            changed(|b| b[124..136].copy_from_slice(b"77777777777\0")),
            "it is cut off",
        ),
        (
            changed(|b| b[156] = b'x'),
            "an extended header that cannot be read",
        ),
        (
            tar(&[
                Raw {
                    contents: b"9 path=x\n".repeat(2),
                    ..raw(b'x', "p")
                },
                file("f", b""),
            ]),
            "one thing twice",
        ),
        (
            tar(&[raw(b'x', "p"), raw(b'x', "p"), file("f", b"")]),
            "belongs to nothing",
        ),
        (tar(&[raw(b'x', "p")]), "belongs to nothing"),
        (
            tar(&[Raw {
                contents: b"99 path=x\n".to_vec(),
                ..raw(b'x', "p")
            }]),
            "cannot be read",
        ),
        (
            tar(&[Raw {
                contents: b"0 path=x\n".to_vec(),
                ..raw(b'x', "p")
            }]),
            "cannot be read",
        ),
        (
            tar(&[Raw {
                contents: b"8 path=x".to_vec(),
                ..raw(b'x', "p")
            }]),
            "cannot be read",
        ),
        (
            tar(&[Raw {
                contents: b"7 path\n".to_vec(),
                ..raw(b'x', "p")
            }]),
            "cannot be read",
        ),
    ];
    for (layer, said) in cases {
        // As a layer, and as the file itself.
        assert_refused(parts(std::slice::from_ref(&layer)), said);
        let test = TestStore::new();
        let path = test.outside("package");
        fs::write(&path, &layer).unwrap();
        let (_, text) = refused(&test, &path, &ImportLimits::default());
        assert!(
            text.contains(said) || text.contains("not a part of an OCI"),
            "{said}: {text}"
        );
    }
}

/// A change, and what is then said.
type Case = (fn(&mut Parts), &'static str);

#[test]
fn images_of_another_form_are_refused() {
    let change = |change: fn(&mut Parts)| {
        let mut parts = parts(&[tar(&[file("env/f", b"x")])]);
        change(&mut parts);
        parts
    };
    let cases: [Case; 24] = [
        (
            |p| p.layout = json!({ "imageLayoutVersion": "2.0.0" }),
            "another version than 1.0.0",
        ),
        (
            |p| p.layout = json!([]),
            "the document oci-layout cannot be read",
        ),
        (
            |p| p.index["schemaVersion"] = json!(1),
            "not an image index",
        ),
        (
            |p| p.index["mediaType"] = json!("text/plain"),
            "not an image index",
        ),
        (
            |p| p.index["manifests"] = json!([1]),
            "the document index.json cannot be read",
        ),
        (
            |p| p.index["manifests"] = json!([descriptor(PLAIN, b""), descriptor(PLAIN, b"")]),
            "not one image, but none or several",
        ),
        (
            |p| {
                p.index["manifests"] =
                    json!([descriptor("application/vnd.oci.image.index.v1+json", b"")]);
            },
            "a document of another media type",
        ),
        (
            |p| {
                p.index["manifests"] = json!([descriptor(
                    "application/vnd.oci.image.manifest.v1+json",
                    b"x"
                )]);
            },
            "a part is missing",
        ),
        (
            |p| p.manifest["schemaVersion"] = json!(1),
            "not an image manifest",
        ),
        (
            |p| p.manifest["mediaType"] = json!("x"),
            "not an image manifest",
        ),
        (|p| p.manifest["layers"] = json!({}), "cannot be read"),
        (
            |p| p.manifest["layers"] = json!([]),
            "a list of layers that is not the manifest's",
        ),
        (
            |p| p.manifest["layers"][0]["mediaType"] = json!("x"),
            "a layer of another media type",
        ),
        (
            |p| p.manifest["layers"][0]["size"] = json!(3),
            "it has the size",
        ),
        (
            |p| p.manifest["layers"][0]["size"] = json!(-3),
            "cannot be read",
        ),
        (
            |p| p.manifest["layers"][0]["digest"] = json!("sha512:00"),
            "cannot be read",
        ),
        (
            |p| p.manifest["layers"][0]["digest"] = json!("sha256:../../x"),
            "cannot be read",
        ),
        (
            |p| p.manifest["layers"][0]["annotations"] = json!({ "dev.ptest.layer": "x" }),
            "not the id of a layer",
        ),
        (
            |p| p.config["os"] = json!("windows"),
            "an image for another system",
        ),
        (
            |p| p.config["rootfs"]["type"] = json!("x"),
            "a list of layers that is not the manifest's",
        ),
        (
            |p| p.config["rootfs"]["diff_ids"][0] = json!(digest(b"x")),
            "it has the digest",
        ),
        (
            |p| p.config["config"] = Value::Null,
            "an image that ptest did not make",
        ),
        (
            |p| p.config["config"]["Labels"]["dev.ptest.prefix"] = json!("/env"),
            "not a path in the image",
        ),
        (
            |p| p.config["config"]["Env"] = json!(["A"]),
            "a variable without a name",
        ),
    ];
    for (how, said) in cases {
        assert_refused(change(how), said);
    }
    for (entry, said) in [
        (file("oci-layout", b"{}"), "a part that is there twice"),
        (file("./index.json", b"{}"), "a part that is there twice"),
        (
            file("blobs/sha256/../../x", b""),
            "not a part of an OCI image layout",
        ),
        (file("/etc/x", b""), "not a part of an OCI image layout"),
        (file("other", b""), "not a part of an OCI image layout"),
        (raw(b'5', "index.json"), "not a part of an OCI image layout"),
        (
            link(b'2', "blobs/sha256/00", "/etc/passwd"),
            "not a part of an OCI image layout",
        ),
        (
            link(b'1', "blobs/sha256/00", "index.json"),
            "not a part of an OCI image layout",
        ),
    ] {
        let mut parts = change(|_| {});
        parts.more.push(entry);
        assert_refused(parts, said);
    }
    let layer = tar(&[file("env/f", b"x")]);
    let mut twice = parts(&[layer.clone(), layer]);
    twice.blobs.pop();
    assert_refused(twice, "one layer twice");
}
