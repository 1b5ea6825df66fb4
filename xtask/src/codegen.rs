//! The gRPC code in `crates/rpc/src/generated`, from `proto/`, without a protoc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message as _;

/// Where the generated files are.
const GENERATED: &str = "crates/rpc/src/generated";

/// The packages: folder below `proto/`, the name of what is generated, and whether its descriptors
/// are served.
const PACKAGES: [(&str, &str, bool); 2] =
    [("proctor/v1", "v1", true), ("proctor/internal/v1", "internal_v1", false)];

/// Returns the generated files of the repository at `root`: name and contents.
///
/// # Errors
/// When a file of the contract is wrong or cannot be read.
fn generate(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (folder, name, served) in PACKAGES {
        let sources = sources(&root.join("proto").join(folder))?;
        let descriptors = protox::compile(&sources, [root.join("proto")])
            .with_context(|| format!("the contract in proto/{folder}"))?;
        if served {
            files.push((format!("{name}.bin"), descriptors.encode_to_vec()));
        }
        let scratch = tempfile::tempdir()?;
        tonic_prost_build::configure()
            .out_dir(scratch.path())
            .btree_map(".")
            .codec_path("crate::codec::Contiguous")
            .compile_fds(descriptors)?;
        let module = scratch.path().join(format!("{}.rs", folder.replace('/', ".")));
        let code = fs::read_to_string(&module).with_context(|| module.display().to_string())?;
        // Its own first line names the generator; the lines before say where it comes from.
        let text = format!(
            "//! Generated from `proto/{folder}` by `cargo xtask codegen`; do not edit.\n\n{code}"
        );
        files.push((format!("{name}.rs"), formatted(root, &text)?));
    }
    files.sort();
    Ok(files)
}

/// Writes the generated files into the repository at `root`.
///
/// # Errors
/// As [`generate`], or when a file cannot be written.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let folder = root.join(GENERATED);
    fs::create_dir_all(&folder)?;
    for (name, contents) in generate(root)? {
        fs::write(folder.join(&name), contents).with_context(|| name)?;
    }
    Ok(true)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "proto"));
    files.sort();
    Ok(files)
}

/// Returns `code` as rustfmt writes it: `cargo fmt --check` looks at generated files too.
fn formatted(root: &Path, code: &str) -> Result<Vec<u8>> {
    let scratch = tempfile::Builder::new().suffix(".rs").tempfile()?;
    fs::write(scratch.path(), code)?;
    let status = std::process::Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .arg(scratch.path())
        .status()
        .context("rustfmt")?;
    anyhow::ensure!(status.success(), "rustfmt refuses the generated code");
    Ok(fs::read(scratch.path())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo;

    #[test]
    fn generated_code_is_current() {
        let root = cargo::root().expect("the root of the repository");
        for (name, contents) in generate(&root).expect("the contract compiles") {
            let committed = fs::read(root.join(GENERATED).join(&name)).unwrap_or_default();
            // Not assert_eq: nobody wants to see both files.
            assert!(committed == contents, "{GENERATED}/{name}: run `cargo xtask codegen`");
        }
    }
}
