//! Packages that are damaged, say what is not so, or are too large: each is refused, says why, and
//! leaves nothing.

use std::fs;

use serde_json::json;

use ptest_store::{Compression, Error, ErrorKind, ImportLimits, LayerId, Stack};

use crate::pack::{export, import, package};
use crate::package_hostile::{assert_refused, refused};
use crate::support::package::{Raw, descriptor, file, hex, link, parts, raw, tar};
use crate::support::tree::time;
use crate::support::{TestStore, assert_consistent};

#[test]
fn a_blob_that_is_not_its_digest_is_refused_wherever_it_is_mentioned() {
    let layer = tar(&[file("env/f", b"x")]);
    let other = tar(&[file("env/f", b"y")]);
    let mut swapped = parts(std::slice::from_ref(&layer));
    swapped.blobs.clear();
    swapped
        .more
        .push(file(format!("blobs/sha256/{}", hex(&layer)), &other));
    assert_refused(swapped, "it has the digest");
    // What unpacks to the same layer is still another blob: only the header's time differs.
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &layer).unwrap();
    let blob = encoder.finish().unwrap();
    let mut other = blob.clone();
    other[4] ^= 1;
    let mut swapped = parts(std::slice::from_ref(&layer));
    swapped.manifest["layers"] = json!([descriptor(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        &blob
    )]);
    swapped.blobs.clear();
    swapped
        .more
        .push(file(format!("blobs/sha256/{}", hex(&blob)), &other));
    assert_refused(swapped, "it has the digest");
    let mut swapped = parts(&[layer]);
    swapped.manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    swapped
        .more
        .push(file(format!("blobs/sha256/{}", hex(b"{}")), b"[]"));
    assert_refused(swapped, "it has the digest");
}

#[test]
fn compression_that_is_damaged_or_goes_on_after_the_layer_is_refused() {
    let layer = tar(&[file("env/f", b"x")]);
    let zstd = zstd::encode_all(layer.as_slice(), 3).unwrap();
    let more = zstd::encode_all(b"x".as_slice(), 3).unwrap();
    for (blob, said) in [
        ([zstd.as_slice(), b"trailing"].concat(), ""),
        ([zstd.as_slice(), &more].concat(), "something after the end"),
        (zstd[..zstd.len() - 3].to_vec(), ""),
        (layer.clone(), ""),
    ] {
        let mut damaged = parts(std::slice::from_ref(&layer));
        let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        damaged.manifest["layers"] = json!([descriptor(media_type, &blob)]);
        damaged.blobs = vec![blob];
        assert_refused(damaged, said);
    }
}

#[test]
fn a_layer_is_what_is_in_the_file_whatever_the_file_says_that_it_is() {
    let test = TestStore::new();
    let there = test.commit(|root| fs::write(root.join("f"), "there").unwrap());
    let lies = [there.id, LayerId::from_bytes([7; 32])];
    for id in lies {
        let mut lie = parts(&[tar(&[file("env/f", b"other")])]);
        lie.manifest["layers"][0]["annotations"] = json!({ "dev.ptest.layer": id.to_string() });
        let (error, text) = refused(&test, &lie.write(test.dir.path()), &ImportLimits::default());
        assert!(
            text.contains(&format!("and the package says {id}")),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(test.store.layers().unwrap().len(), 1);
    }
}

#[test]
fn a_failure_of_one_layer_keeps_the_others_out_too() {
    let good = tar(&[file("env/good", b"x")]);
    let bad = tar(&[raw(b'3', "env/bad")]);
    assert_refused(parts(&[good.clone(), bad.clone()]), "a device");
    assert_refused(parts(&[bad, good]), "a device");
}

/// A package with a bit of everything, small.
fn sample(test: &TestStore, compression: Compression) -> (Stack, Vec<u8>) {
    let one = test.commit_upper(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "hello").unwrap();
        let file = fs::File::options()
            .write(true)
            .open(root.join("d/f"))
            .unwrap();
        file.set_modified(time(1_000)).unwrap();
        crate::support::tree::whiteout(&root.join("w"));
    });
    let two = test.commit(|root| fs::create_dir(root.join("e")).unwrap());
    let stack = Stack::new([one.id, two.id]);
    let file = export(test, &package(stack.clone()), compression);
    (stack, fs::read(file).unwrap())
}

#[test]
fn no_changed_byte_gives_another_stack() {
    let test = TestStore::new();
    let other = TestStore::new();
    let file = other.outside("package");
    for compression in [Compression::Zstd, Compression::Gzip] {
        let (stack, bytes) = sample(&test, compression);
        let (mut taken, mut refusals) = (0, 0);
        for index in (0..bytes.len())
            .filter(|index| (bytes[*index] != 0 && index % 3 == 0) || index % 97 == 0)
        {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << (index % 8);
            fs::write(&file, &changed).unwrap();
            match other.store.import(&file, &ImportLimits::default()) {
                // What is changed means nothing: a document for docker, a name of a user.
                Ok(imported) => {
                    assert_eq!(imported.package, package(stack.clone()), "byte {index}");
                    taken += 1;
                }
                Err(error) => {
                    assert!(
                        matches!(error, Error::Package { .. }),
                        "byte {index}: {error:?}"
                    );
                    refusals += 1;
                }
            }
        }
        assert!(refusals > taken, "{refusals} {taken}");
    }
    assert!(other.store.layers().unwrap().len() <= 2);
    assert_consistent(&other.store);
}

#[test]
fn no_part_of_a_file_is_a_package() {
    let test = TestStore::new();
    let (_, bytes) = sample(&test, Compression::Zstd);
    let other = TestStore::new();
    let file = other.outside("package");
    for length in (0..bytes.len() - 512).step_by(113) {
        fs::write(&file, &bytes[..length]).unwrap();
        refused(&other, &file, &ImportLimits::default());
    }
    assert_eq!(other.store.layers().unwrap(), []);
}

#[test]
fn every_limit_is_enforced_and_named_with_what_was_found() {
    let test = TestStore::new();
    let entries: Vec<Raw> = (0..9)
        .map(|n| file(format!("env/{n}"), &[0; 1000]))
        .collect();
    let layers = [tar(&entries), tar(&entries[..1])];
    let path = parts(&layers).write(test.dir.path());
    let unlimited = ImportLimits::default();
    let unpacked = (layers[0].len() + layers[1].len()) as u64;
    let cases: [(ImportLimits, &str); 5] = [
        (
            ImportLimits {
                bytes: unpacked - 1,
                ..unlimited.clone()
            },
            "unpacked bytes",
        ),
        (
            ImportLimits {
                entries: 15,
                ..unlimited.clone()
            },
            "entries",
        ),
        (
            ImportLimits {
                names: 50,
                ..unlimited.clone()
            },
            "bytes of names",
        ),
        (
            ImportLimits {
                layers: 1,
                ..unlimited.clone()
            },
            "layers",
        ),
        (
            ImportLimits {
                document: 100,
                ..unlimited.clone()
            },
            "bytes of a document",
        ),
    ];
    for (limits, said) in cases {
        let (error, text) = refused(&test, &path, &limits);
        assert!(
            text.contains(&format!("the limit of {said}: at least")),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.hint().unwrap().contains("limits"), "{error}");
        assert_eq!(test.store.layers().unwrap(), []);
    }
    // Six files in the archive, ten in layers: each of these is just enough.
    let enough = ImportLimits {
        bytes: unpacked,
        entries: 16,
        layers: 2,
        ..unlimited
    };
    assert_eq!(test.store.import(&path, &enough).unwrap().added.len(), 2);
}

#[test]
fn a_small_file_does_not_unpack_to_a_large_one() {
    let test = TestStore::new();
    let zeros = vec![0; 80 << 20];
    let layer = tar(&[file("env/f", &zeros)]);
    let blob = zstd::encode_all(layer.as_slice(), 19).unwrap();
    let mut bomb = parts(&[layer]);
    bomb.manifest["layers"] = json!([descriptor(
        "application/vnd.oci.image.layer.v1.tar+zstd",
        &blob
    )]);
    bomb.blobs = vec![blob];
    let path = bomb.write(test.dir.path());
    let (_, text) = refused(&test, &path, &ImportLimits::default());
    assert!(text.contains("the limit of times what is packed"), "{text}");
    assert_eq!(test.store.layers().unwrap(), []);
    let trusting = ImportLimits {
        ratio: 1_000_000,
        ..ImportLimits::default()
    };
    assert_eq!(test.store.import(&path, &trusting).unwrap().added.len(), 1);
}

#[test]
fn hard_links_count_as_the_copies_that_they_become() {
    let test = TestStore::new();
    let mut entries = vec![file("env/f", &[1; 100_000])];
    entries.extend((0..100).map(|number| link(b'1', format!("env/{number}"), "env/f")));
    let path = parts(&[tar(&entries)]).write(test.dir.path());
    let limits = ImportLimits {
        bytes: 5_000_000,
        ..ImportLimits::default()
    };
    let (_, text) = refused(&test, &path, &limits);
    assert!(text.contains("the limit of unpacked bytes"), "{text}");
    import(&test.store, &path);
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let test = TestStore::new();
    let missing = test.outside("none");
    let error = test
        .store
        .import(&missing, &ImportLimits::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let fifo = test.outside("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    for path in [test.dir.path(), &fifo, "/dev/zero".as_ref()] {
        let (_, text) = refused(&test, path, &ImportLimits::default());
        assert!(text.contains("not a regular file"), "{text}");
    }
}

#[test]
fn a_window_that_takes_much_memory_is_refused() {
    let layer = tar(&[file("env/f", b"x")]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &layer).unwrap();
    let blob = encoder.finish().unwrap();
    let mut large = parts(std::slice::from_ref(&layer));
    large.manifest["layers"] = json!([descriptor(
        "application/vnd.oci.image.layer.v1.tar+zstd",
        &blob
    )]);
    large.blobs = vec![blob];
    assert_refused(large, "reading failed");
}
