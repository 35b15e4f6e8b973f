//! The file with the cluster secret: read, or made for a cluster on this machine. Its content is never printed.

use crate::output::Ended;
use capstan_proto::auth::Secret;
use capstan_proto::env::Env;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Where the dev cluster of the current folder keeps its secret: the default of every admin verb.
pub(crate) const DEV_SECRET: &str = "./capstan-dev/secret";
/// A longer secret file is a wrong file.
const SECRET_MAX: u64 = 64 << 10;

/// Reads a secret file; none given means no secret.
pub(crate) fn read(path: Option<&Path>) -> Result<Secret, Ended> {
    let Some(path) = path else { return Ok(Secret::NONE) };
    let bad = |why: String| Ended::refused(format!("secret file {}: {why}", path.display()));
    let meta = std::fs::metadata(path).map_err(|e| bad(e.to_string()))?;
    if meta.len() > SECRET_MAX {
        return Err(bad(format!("{} bytes; a secret has at most {SECRET_MAX}", meta.len())));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the secret file can be read by others: chmod 600 it");
    }
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    Secret::from_text(&text).map_err(|e| bad(e.to_string()))
}

/// The secret file of an admin verb: the one that was named, else the dev cluster's if it is there.
pub(crate) fn read_or_dev(path: Option<&Path>) -> Result<Secret, Ended> {
    let dev = Path::new(DEV_SECRET);
    read(path.or_else(|| dev.exists().then_some(dev)))
}

/// Makes a secret file that only its owner reads, unless it is there already.
pub(crate) fn make(env: &Env, path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    env.random.fill(&mut bytes);
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    if path.exists() {
        return Ok(());
    }
    // By rename, so that a crash never leaves half a secret. The caller holds the folder's lock.
    let fresh = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_secret_is_private_and_stays_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        make(&Env::real(), &path).expect("made");
        let first = std::fs::read_to_string(&path).expect("readable");
        make(&Env::real(), &path).expect("there already");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), first);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(read(Some(&path)).expect("a secret").is_set());
    }

    #[test]
    fn an_empty_or_missing_secret_file_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        for content in [None, Some(" \n")] {
            if let Some(content) = content {
                std::fs::write(&path, content).expect("written");
            }
            match read(Some(&path)) {
                Err(Ended::Badly { message, .. }) => assert!(message.contains("secret"), "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
