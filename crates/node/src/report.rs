//! What a run leaves behind: tables for people, files for programs.

mod output;
mod table;

pub use output::{ListedFile, Manifest, OutputDir, OutputError, verify_output};
pub use table::{Align, Table, count, percent, usd};
