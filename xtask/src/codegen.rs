//! Writes the checked-in protobuf code of gateway-codec, and checks that it is what the contracts give.
//!
//! No protoc: protox compiles the contracts, tonic-prost-build writes the Rust. What is written is checked
//! in, so that a build of the gateway needs neither, and a reader sees the types. `check` generates into a
//! temporary folder and compares, for CI.
//!
//! It does not format: the generated files are `include!`d, so that `cargo fmt` leaves them as they come.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use protox::prost::Message;

/// The contracts, relative to `proto/`.
const CONTRACTS: &[&str] = &[
    "im/base.proto",
    "im/command.proto",
    "im/friend.proto",
    "im/group.proto",
    "im/message.proto",
    "im/push.proto",
    "im/user.proto",
    "mychat/backend/v1/backend.proto",
    "mychat/cluster/v1/peer.proto",
    "mychat/gateway/v1/gateway.proto",
    "mychat/gateway/v1/push.proto",
];

/// Messages that hold passwords, tokens or payloads with them: `gateway-codec` writes their `Debug` by hand.
const WITHOUT_DEBUG: &[&str] = &[
    ".im.base.IMHeader",
    ".im.base.BaseRequest",
    ".im.base.BaseResponse",
    ".im.user.LoginRequest",
    ".im.user.RegisterRequest",
    ".mychat.backend.v1.CommandRequest",
    ".mychat.backend.v1.CommandReply",
];

/// What operators read of every key, relative to the project's root.
const REFERENCE: &str = "docs/configuration.md";

/// Where the generated code lives, likewise.
const TARGET: &str = "crates/gateway-codec/src/proto/generated";

/// File name of the descriptor set that server reflection answers from.
const DESCRIPTORS: &str = "descriptors.bin";

/// Service code needs tonic, which only gRPC programs want.
const GRPC_ONLY: &str = "#[cfg(feature = \"grpc\")]";

/// Generates the protobuf code under `root`; with `check` changes nothing and fails on the first difference.
///
/// # Errors
/// A contract that does not compile, a file that cannot be written, or, with `check`, a generated file that
/// is missing, different or left over: the message names it.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    reference(root, check)?;
    let fresh = generate(&root.join("proto"))?;
    let target = root.join(TARGET);
    let present = read_folder(&target)?;
    if check {
        return compare(&fresh, &present);
    }
    fs::create_dir_all(&target).with_context(|| format!("cannot make {TARGET}"))?;
    for (name, content) in &fresh {
        if present.get(name) != Some(content) {
            fs::write(target.join(name), content).with_context(|| format!("cannot write {TARGET}/{name}"))?;
            println!("wrote {TARGET}/{name}");
        }
    }
    for name in present.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(target.join(name)).with_context(|| format!("cannot remove {TARGET}/{name}"))?;
        println!("removed {TARGET}/{name}");
    }
    Ok(())
}

/// The reference of the configuration, made from the same declarations that read it.
fn reference(root: &Path, check: bool) -> Result<()> {
    let fresh = gateway_config::reference_markdown();
    let path = root.join(REFERENCE);
    if fs::read_to_string(&path).is_ok_and(|present| present == fresh) {
        return Ok(());
    }
    if check {
        bail!("{REFERENCE} differs from the configuration's keys: run `cargo xtask codegen`");
    }
    fs::write(&path, fresh).with_context(|| format!("cannot write {REFERENCE}"))?;
    println!("wrote {REFERENCE}");
    Ok(())
}

fn compare(fresh: &BTreeMap<String, Vec<u8>>, present: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    for (name, content) in fresh {
        match present.get(name) {
            None => bail!("{TARGET}/{name} is missing: run `cargo xtask codegen`"),
            Some(old) if old != content => {
                bail!("{TARGET}/{name} differs from the contracts: run `cargo xtask codegen`")
            }
            Some(_) => {}
        }
    }
    match present.keys().find(|name| !fresh.contains_key(*name)) {
        Some(name) => bail!("{TARGET}/{name} belongs to no contract: run `cargo xtask codegen`"),
        None => Ok(()),
    }
}

fn generate(contracts: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut compiler = protox::Compiler::new([contracts]).context("cannot open the folder of contracts")?;
    compiler.include_imports(true).include_source_info(true);
    compiler
        .open_files(CONTRACTS)
        .context("a contract does not compile")?;
    let commented = compiler.file_descriptor_set();

    let folder = TemporaryFolder::make()?;
    tonic_prost_build::configure()
        .out_dir(&folder.0)
        .bytes(".")
        .client_mod_attribute(".", GRPC_ONLY)
        .server_mod_attribute(".", GRPC_ONLY)
        .skip_debug(WITHOUT_DEBUG.iter().copied())
        .emit_rerun_if_changed(false)
        .compile_fds(commented.clone())
        .context("cannot generate code")?;
    let mut files = read_folder(&folder.0)?;

    // Comments are for readers of the contracts; reflection needs none.
    let mut bare = commented;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    files.insert(DESCRIPTORS.to_owned(), bare.encode_to_vec());
    Ok(files)
}

/// Every file of a folder by its name; nothing where there is no such folder.
fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            bail!("{} has a name that is not UTF-8", path.display());
        };
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(name.to_owned(), content);
    }
    Ok(files)
}

/// A folder that is gone when this is dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("mychat-gateway-codegen-{}", std::process::id()));
        fs::create_dir_all(&path).context("cannot make a temporary folder")?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Left over at worst, in a folder that the system empties.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn any_difference_is_told_with_the_name_of_its_file() {
        let fresh = files(&[("a.rs", "1"), ("b.rs", "2")]);
        assert!(compare(&fresh, &fresh).is_ok());
        for (present, word) in [
            (files(&[("a.rs", "1")]), "b.rs is missing"),
            (files(&[("a.rs", "1"), ("b.rs", "3")]), "b.rs differs"),
            (
                files(&[("a.rs", "1"), ("b.rs", "2"), ("c.rs", "")]),
                "c.rs belongs to no contract",
            ),
        ] {
            let told = compare(&fresh, &present).map_err(|error| error.to_string());
            assert!(told.as_ref().is_err_and(|told| told.contains(word)), "{told:?}");
        }
    }
}
