//! The form of a package, as other programs see it: those that read what ptest wrote, and those
//! that write what ptest reads.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use ptest_store::{Compression, Stack};

use crate::pack::{export, import, package};
use crate::support::package::{digest, file, link, parts, raw, tar, unpack};
use crate::support::tree::{opaque, time, whiteout};
use crate::support::{TestStore, assert_consistent, names};

fn sample(root: &Path) {
    fs::create_dir_all(root.join("bin/sub")).unwrap();
    fs::write(root.join("bin/tool"), "#!/bin/sh\n").unwrap();
    crate::support::tree::chmod(&root.join("bin/tool"), 0o755);
    fs::write(root.join(format!("bin/{}", "long".repeat(40))), "x").unwrap();
    symlink("tool", root.join("bin/link")).unwrap();
    whiteout(&root.join("bin/gone"));
    fs::create_dir(root.join("fresh")).unwrap();
    opaque(&root.join("fresh"));
    for name in ["bin/tool".to_owned(), format!("bin/{}", "long".repeat(40))] {
        let file = fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(time(1_234)).unwrap();
    }
}

fn decompress(media_type: &str, blob: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if media_type.ends_with("+zstd") {
        zstd::stream::copy_decode(blob, &mut bytes).unwrap();
    } else {
        assert!(media_type.ends_with("+gzip"));
        let mut decoder = flate2::bufread::MultiGzDecoder::new(blob);
        decoder.read_to_end(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn every_document_says_what_the_specification_asks_for() {
    let test = TestStore::new();
    let id = test.commit_upper(sample).id;
    for compression in [Compression::Zstd, Compression::Gzip] {
        let mut package = package(Stack::new([id]));
        package.labels.insert("k".to_owned(), "v".to_owned());
        let parts = unpack(&fs::read(export(&test, &package, compression)).unwrap());
        assert_eq!(parts[0].0, "oci-layout");
        let part = |name: &str| {
            let mut found = parts.iter().filter(|(part, _)| part == name);
            let (_, bytes) = found.next().unwrap();
            assert!(found.next().is_none(), "{name} twice");
            bytes.clone()
        };
        let blob = |descriptor: &Value| {
            let said = descriptor["digest"].as_str().unwrap();
            let bytes = part(&format!("blobs/sha256/{}", &said["sha256:".len()..]));
            assert_eq!(digest(&bytes), said);
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();

        assert_eq!(json(part("oci-layout"))["imageLayoutVersion"], "1.0.0");
        let index = json(part("index.json"));
        assert_eq!(index["schemaVersion"], 2);
        assert_eq!(
            index["mediaType"],
            "application/vnd.oci.image.index.v1+json"
        );
        let [descriptor] = index["manifests"].as_array().unwrap().as_slice() else {
            panic!("{index}");
        };
        let manifest = json(blob(descriptor));
        assert_eq!(descriptor["mediaType"], manifest["mediaType"]);
        assert_eq!(
            manifest["mediaType"],
            "application/vnd.oci.image.manifest.v1+json"
        );
        let config = json(blob(&manifest["config"]));
        assert_eq!(
            manifest["config"]["mediaType"],
            "application/vnd.oci.image.config.v1+json"
        );
        assert_eq!(config["os"], "linux");
        assert_eq!(
            config["architecture"],
            ptest_store::Package::native_architecture()
        );
        assert_eq!(config["config"]["Labels"]["k"], "v");
        assert_eq!(config["config"]["Labels"]["dev.ptest.prefix"], "ptest/env");
        assert_eq!(config["rootfs"]["type"], "layers");
        assert_eq!(config["history"].as_array().unwrap().len(), 1);
        let layer = &manifest["layers"][0];
        assert_eq!(layer["annotations"]["dev.ptest.layer"], id.to_string());
        let tar = decompress(layer["mediaType"].as_str().unwrap(), &blob(layer));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&tar));
        // For docker where it keeps images in the old way.
        let docker = json(part("manifest.json"));
        let place = |descriptor: &Value| {
            descriptor["digest"]
                .as_str()
                .unwrap()
                .replace("sha256:", "blobs/sha256/")
        };
        assert_eq!(docker[0]["Config"], place(&manifest["config"]));
        assert_eq!(docker[0]["Layers"][0], place(layer));
    }
}

#[test]
fn another_tar_unpacks_a_layer_to_the_same_tree() {
    let test = TestStore::new();
    let id = test.commit_upper(sample).id;
    let parts =
        unpack(&fs::read(export(&test, &package(Stack::new([id])), Compression::Zstd)).unwrap());
    let (_, blob) = parts.last().unwrap();
    let place = test.outside("tar");
    fs::create_dir(&place).unwrap();
    let file = test.outside("layer.tar");
    fs::write(&file, decompress("+zstd", blob)).unwrap();
    let output = Command::new("tar")
        .arg("-xpf")
        .arg(&file)
        .arg("-C")
        .arg(&place)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let tree = place.join("ptest/env");
    assert_eq!(names(&tree), ["bin", "fresh"]);
    let long = "long".repeat(40);
    assert_eq!(
        names(tree.join("bin")),
        [".wh.gone", "link", &long, "sub", "tool"]
    );
    assert_eq!(names(tree.join("fresh")), [".wh..wh..opq"]);
    let tool = fs::metadata(tree.join("bin/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o755, 1_234));
    assert_eq!(
        fs::read_link(tree.join("bin/link")).unwrap(),
        Path::new("tool")
    );
}

#[test]
fn a_layout_that_another_tar_put_together_is_read() {
    let test = TestStore::new();
    let stack = Stack::new([test.commit_upper(sample).id]);
    let exported = export(&test, &package(stack.clone()), Compression::Gzip);
    let place = test.outside("layout");
    fs::create_dir(&place).unwrap();
    let run = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new("tar").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&[
        "-xf".as_ref(),
        exported.as_os_str(),
        "-C".as_ref(),
        place.as_os_str(),
    ]);
    for format in ["gnu", "posix", "ustar"] {
        let again = test.outside("again.tar");
        let option = format!("--format={format}");
        run(&[
            option.as_ref(),
            "-cf".as_ref(),
            again.as_os_str(),
            "-C".as_ref(),
            place.as_os_str(),
            ".".as_ref(),
        ]);
        let other = TestStore::new();
        assert_eq!(import(&other.store, &again).package, package(stack.clone()));
        assert_consistent(&other.store);
    }
}

#[test]
fn layers_without_compression_and_without_ids_are_read() {
    let test = TestStore::new();
    let layer = tar(&[
        raw(b'5', "./env"),
        raw(b'5', "./env/d/"),
        file("./env/d/f", b"text"),
        raw(b'0', "env/d/.wh.gone"),
        raw(b'5', "env/o"),
        file("env/o/f", b"text"),
        raw(b'0', "env/o/.wh..wh..opq"),
        link(b'2', "env/l", "d/f"),
    ]);
    let expected = test.commit_upper(|root| {
        for directory in ["d", "o"] {
            fs::create_dir(root.join(directory)).unwrap();
            let path = root.join(directory).join("f");
            fs::write(&path, "text").unwrap();
            fs::File::open(&path)
                .unwrap()
                .set_modified(time(1_000))
                .unwrap();
        }
        whiteout(&root.join("d/gone"));
        opaque(&root.join("o"));
        symlink("d/f", root.join("l")).unwrap();
        let time = rustix::fs::Timespec {
            tv_sec: 1_000,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, root.join("l"), &times, flags).unwrap();
    });
    let other = TestStore::new();
    let imported = import(&other.store, &parts(&[layer]).write(other.dir.path()));
    assert_eq!(imported.package.stack, Stack::new([expected.id]));
    assert_consistent(&other.store);
}

#[test]
fn hard_links_become_files_of_their_own() {
    let test = TestStore::new();
    let layer = tar(&[
        file("env/one", b"text"),
        link(b'1', "env/two", "env/one"),
        link(b'1', "env/three", "./env/two"),
    ]);
    let imported = import(&test.store, &parts(&[layer]).write(test.dir.path()));
    let place = test.store.layer_path(&imported.added[0].id);
    for name in ["one", "two", "three"] {
        let metadata = fs::metadata(place.join(name)).unwrap();
        assert_eq!((metadata.nlink(), metadata.mtime()), (1, 1_000));
        assert_eq!(fs::read(place.join(name)).unwrap(), b"text");
    }
    assert_consistent(&test.store);
}
