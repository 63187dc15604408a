//! Gives what a fuzzer made the checksums and digests that it cannot guess.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 512;

/// Makes the checksum of every header of a tar right, and ends the tar.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    for header in tar.chunks_exact_mut(BLOCK) {
        if header[257..262] == *b"ustar" {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// A package of documents and layers that zero bytes part from each other: the manifest, the
/// config, then the tar of a layer, in which they part nothing.
pub fn assembled(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut document = || serde_json::from_slice::<Value>(parts.next()?).ok();
    let (mut manifest, mut config) = (document()?, document()?);
    let layer = with_checksums(parts.next()?);
    if let Some(ids) = config.pointer_mut("/rootfs/diff_ids/0") {
        *ids = json!(digest(&layer));
    }
    let config = config.to_string().into_bytes();
    for (place, blob) in [("/layers/0", &layer), ("/config", &config)] {
        if let Some(Value::Object(descriptor)) = manifest.pointer_mut(place) {
            descriptor.insert("digest".to_owned(), json!(digest(blob)));
            descriptor.insert("size".to_owned(), json!(blob.len()));
        }
    }
    let manifest = manifest.to_string().into_bytes();
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(&manifest),
        "size": manifest.len(),
    }]});
    let mut file = Vec::new();
    put(
        &mut file,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    put(&mut file, "index.json", index.to_string().as_bytes());
    for blob in [&manifest, &config, &layer] {
        let name = digest(blob).replace(':', "/");
        put(&mut file, &format!("blobs/{name}"), blob);
    }
    Some(with_checksums(&file))
}

fn put(file: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    file.extend(header);
    file.extend(contents);
    file.resize(file.len().next_multiple_of(BLOCK), 0);
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
