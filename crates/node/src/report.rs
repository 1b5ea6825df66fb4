//! What a run leaves behind: tables for people, files for programs.

mod output;
pub mod summary;
mod table;

pub use output::{ListedFile, Manifest, OutputDir, OutputError, verify_output};
pub use summary::Summary;
pub use table::{Align, Table, count, percent, usd};
