//! The token file: who may do what besides reading, one secret per name, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use proctor_services::{Caller, Role, Tokens};
use proctor_types::OperatorId;
use serde::Deserialize;

/// Name of callers without a token.
const ANONYMOUS: &str = "anonymous";
/// The shortest secret that is accepted.
const SECRET_LEN_MIN: usize = 16;

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The operating system refused.
    #[error("cannot {action} the token file {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others may read it.
    #[error("others may read the token file {0}: chmod 600 it, and give its tokens new secrets")]
    Readable(PathBuf),
    /// It is not a token file.
    #[error("the token file {path}: {what}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong; never a secret.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: OperatorId,
    role: String,
    secret: String,
}

/// Returns the tokens in the file at `path`; makes it, with one token of each role, when it is
/// missing. `open_reads` lets callers without a token read. `secret` gives a new secret each time.
///
/// # Errors
/// [`TokenError`]; no message holds a secret.
pub fn load(
    path: &Path,
    open_reads: bool,
    mut secret: impl FnMut() -> io::Result<String>,
) -> Result<Tokens, TokenError> {
    let failed =
        |action: &'static str| move |error| TokenError::Io { action, path: path.to_owned(), error };
    if !path.exists() {
        create(path, &mut secret).map_err(failed("make"))?;
    }
    let mode = fs::metadata(path).map_err(failed("look at"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(TokenError::Readable(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(failed("read"))?;
    let tokens =
        parse(&text).map_err(|what| TokenError::Malformed { path: path.to_owned(), what })?;
    Ok(if open_reads { tokens.with_anonymous(anonymous()) } else { tokens })
}

/// Returns the secret of the first token in the file at `path` whose role is at least `role`: what a
/// command on the same machine uses.
///
/// # Errors
/// [`TokenError`].
pub fn secret_for(path: &Path, role: Role) -> Result<Option<String>, TokenError> {
    let failed = |error| TokenError::Io { action: "read", path: path.to_owned(), error };
    let text = fs::read_to_string(path).map_err(failed)?;
    let entries =
        entries(&text).map_err(|what| TokenError::Malformed { path: path.to_owned(), what })?;
    let mut fitting: Vec<_> = entries.into_iter().filter(|(_, has, _)| *has >= role).collect();
    fitting.sort_by_key(|(_, has, _)| *has);
    Ok(fitting.into_iter().next().map(|(_, _, secret)| secret))
}

fn parse(text: &str) -> Result<Tokens, String> {
    let mut tokens = Tokens::default();
    for (name, role, secret) in entries(text)? {
        tokens.add(&secret, Caller { name, role });
    }
    Ok(tokens)
}

fn entries(text: &str) -> Result<Vec<(OperatorId, Role, String)>, String> {
    // The parser's message quotes the line, which may hold a secret: only its place is told.
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line} is not part of a [[token]] with name, role and secret")
    })?;
    let mut entries: Vec<(OperatorId, Role, String)> = Vec::new();
    for Entry { name, role, secret } in file.token {
        let known = Role::ALL.map(Role::name).join(", ");
        let role = Role::parse(&role)
            .ok_or_else(|| format!("{name} has the role {role:?}, known are {known}"))?;
        if secret.len() < SECRET_LEN_MIN {
            return Err(format!("the secret of {name} has less than {SECRET_LEN_MIN} characters"));
        }
        if entries.iter().any(|(other, _, _)| *other == name) || name.as_str() == ANONYMOUS {
            return Err(format!("the name {name} is taken"));
        }
        entries.push((name, role, secret));
    }
    Ok(entries)
}

/// Makes the file under another name first, so that it is never there without its contents.
fn create(path: &Path, secret: &mut impl FnMut() -> io::Result<String>) -> io::Result<()> {
    let unfinished = path.with_extension("toml.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "# Who may do what: reader, feed, operator or admin; each may do what those")?;
    writeln!(file, "# before it may. The names stand in the log as who gave a command.")?;
    for role in [Role::Feed, Role::Operator, Role::Admin] {
        writeln!(file, "\n[[token]]\nname = \"{role}\"\nrole = \"{role}\"")?;
        writeln!(file, "secret = \"{}\"", secret()?)?;
    }
    file.sync_all()?;
    fs::rename(unfinished, path)
}

fn anonymous() -> Caller {
    Caller { name: OperatorId::new(ANONYMOUS).expect("a valid name"), role: Role::Reader }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> impl FnMut() -> io::Result<String> {
        let mut number = 0;
        move || {
            number += 1;
            Ok(format!("a secret of length {number}"))
        }
    }

    #[test]
    fn a_missing_file_is_made_readable_by_its_owner_only_and_used_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tokens.toml");
        for _ in 0..2 {
            let tokens = load(&path, true, counted()).expect("tokens");
            let admin = tokens.caller(Some("Bearer a secret of length 3")).expect("known");
            assert_eq!((admin.name.as_str(), admin.role), ("admin", Role::Admin));
            assert_eq!(tokens.caller(None).expect("open").role, Role::Reader);
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let closed = load(&path, false, counted()).expect("tokens");
        assert!(closed.caller(None).is_err());
        let least = secret_for(&path, Role::Feed).expect("tokens").expect("one");
        assert_eq!(least, "a secret of length 1");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(matches!(load(&path, true, counted()), Err(TokenError::Readable(_))));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tokens.toml");
        let entry = |name: &str, role: &str, secret: &str| {
            format!("[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nsecret = \"{secret}\"\n")
        };
        let good = entry("a", "admin", "0123456789abcdef");
        for (text, part) in [
            (entry("a", "king", "0123456789abcdef"), "known are reader"),
            (entry("a", "admin", "short"), "less than 16"),
            (format!("{good}{good}"), "the name a is taken"),
            (entry("anonymous", "admin", "0123456789abcdef"), "is taken"),
            (format!("{good}extra = \"0123456789abcdef\"\n"), "line 5"),
            ("[[token]]\nsecret = 0123456789abcdef\n".into(), "line 2"),
        ] {
            fs::write(&path, &text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
            let error = load(&path, true, counted()).expect_err(&text).to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("0123456789abcdef"), "{error}");
        }
    }
}
