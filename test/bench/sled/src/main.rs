//! How bpfman kept and read images while its state was in sled (bpfman 0.5 and 0.6): the manifest as JSON, the config and
//! the layer each under a key of its own in the default tree, and for every load the layer hashed, inflated and unpacked.
//!
//! Lines on standard input, an answer to each on standard output:
//!
//!     put BASE MANIFEST CONFIG LAYER     takes three files in
//!     read BASE COUNT                    nanoseconds that so many loads took, and the size of what each gave

use std::io::{BufRead, Read, Write};
use std::time::Instant;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let directory = std::env::args().nth(1).ok_or("usage: bpfman-path DIRECTORY")?;
    let database = sled::open(directory)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["put", base, manifest, config, layer] => put(&database, base, manifest, config, layer)?,
            ["read", base, count] => read_many(&database, base, count.parse()?)?,
            _ => return Err(format!("cannot read the line {line:?}").into()),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn put(database: &sled::Db, base: &str, manifest: &str, config: &str, layer: &str) -> Result<String, Failure> {
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
    database.insert(format!("{base}manifest.json"), serde_json::to_vec(&document)?)?;
    let config_digest = hex_of(&document["config"]["digest"])?;
    database.insert(format!("{base}{config_digest}"), std::fs::read(config)?)?;
    let layer_digest = hex_of(&document["layers"][0]["digest"])?;
    database.insert(format!("{base}{layer_digest}"), std::fs::read(layer)?)?;
    database.flush()?;
    Ok("stored".into())
}

fn read_many(database: &sled::Db, base: &str, count: u32) -> Result<String, Failure> {
    let mut size = 0;
    let started = Instant::now();
    for _ in 0..count {
        size = load(database, base)?.len();
    }
    Ok(format!("{} {size}", started.elapsed().as_nanos()))
}

/// The bytecode, as it was read for each program that was loaded.
fn load(database: &sled::Db, base: &str) -> Result<Vec<u8>, Failure> {
    let manifest = database.get(format!("{base}manifest.json"))?.ok_or("there is no manifest")?;
    let document: serde_json::Value = serde_json::from_str(std::str::from_utf8(&manifest)?)?;
    let digest = hex_of(&document["layers"][0]["digest"])?;
    let layer = database.get(format!("{base}{digest}"))?.ok_or("there is no layer")?;
    let found: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != digest {
        return Err("the layer is not what the manifest says".into());
    }
    let mut archive = tar::Archive::new(GzDecoder::new(&layer[..]));
    let mut entry = archive.entries()?.next().ok_or("the layer is empty")??;
    let mut bytecode = Vec::new();
    entry.read_to_end(&mut bytecode)?;
    Ok(bytecode)
}

fn hex_of(digest: &serde_json::Value) -> Result<String, Failure> {
    let text = digest.as_str().ok_or("the manifest has no digest")?;
    Ok(text.strip_prefix("sha256:").ok_or("the digest is not sha256")?.to_string())
}
