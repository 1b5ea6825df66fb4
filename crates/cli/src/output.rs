//! What goes to the terminal, and how the program ends when nobody reads it any more.
//!
//! `println!` panics on a closed pipe, and a reader that has seen enough, like `head`, is no bug. The
//! commands write through `say!` and `note!` instead; the lints refuse the others.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

/// What a shell shows of a program that ended because its reader had: 128 and the number of SIGPIPE.
const READER_GONE: u8 = 141;

/// Standard output cannot be written to.
struct Unwritable(io::Error);

/// Prints a line to standard output.
macro_rules! say {
    () => { $crate::output::write(format_args!("\n")) };
    ($($what:tt)*) => { $crate::output::write_line(format_args!($($what)*)) };
}

/// Prints a line to standard error; one that nobody reads is no reason to stop.
macro_rules! note {
    ($($what:tt)*) => { $crate::output::write_note(format_args!($($what)*)) };
}

/// Writes to standard output. When that cannot be done the command is left on the spot: what it has to
/// remove or to end goes with its variables, and [`ending`] tells how the program ends.
pub(crate) fn write(what: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(what) {
        // Not a panic: no message is printed, and nothing is broken.
        resume_unwind(Box::new(Unwritable(error)));
    }
}

pub(crate) fn write_line(what: Arguments<'_>) {
    write(format_args!("{what}\n"));
}

pub(crate) fn write_note(what: Arguments<'_>) {
    drop(writeln!(io::stderr().lock(), "{what}"));
}

/// Runs the program; returns how it ends.
pub(crate) fn ending(program: impl FnOnce() -> ExitCode) -> ExitCode {
    catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|left| match left.downcast() {
        Ok(unwritable) => {
            let Unwritable(error) = *unwritable;
            if error.kind() == ErrorKind::BrokenPipe {
                return ExitCode::from(READER_GONE);
            }
            note!("error: cannot write to standard output: {error}");
            ExitCode::from(2)
        }
        Err(panic) => resume_unwind(panic),
    })
}
