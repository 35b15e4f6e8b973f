//! Compiles the .proto files without a system `protoc`.

use std::io::{Error, Result};

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=capstan");
    let files = protox::compile(["capstan/v1/meta.proto"], ["."]).map_err(Error::other)?;
    tonic_prost_build::configure().bytes(".").emit_rerun_if_changed(false).compile_fds(files)
}
