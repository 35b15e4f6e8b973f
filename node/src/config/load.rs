//! Puts the settings of a starting node together: file, then environment, then flags; the later wins.
//!
//! Pure: whoever starts the node hands in what was read. Every wrong value is an error that names where it stands; a
//! name in the file that no setting has is refused too, since a mistyped limit must not pass in silence.

use super::rows::{self, Key, ROWS};
use super::{Config, Kind, file};
use std::path::Path;

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The TOML file.
    File,
    /// A variable `CAPSTAN_…`.
    Environment,
    /// `--name value`.
    Flag,
}

impl Source {
    fn name_of(self, name: &str) -> String {
        match self {
            Self::File => format!("'{name}' in the configuration file"),
            Self::Environment => rows::find(name).map_or_else(|| name.to_owned(), rows::Row::variable),
            Self::Flag => format!("--{name}"),
        }
    }
}

/// Why a node does not start with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be used.
    #[error("configuration file: {0}")]
    File(#[from] file::FileError),
    /// A name that no setting has.
    #[error("{0}: there is no such setting")]
    Unknown(String),
    /// A value that its setting cannot have.
    #[error("{place}: {why}")]
    Value {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Open to others without a password (DESIGN 14).
    #[error(
        "bind: without a password the node listens on loopback addresses only, and '{0}' is none: set requirepass, or bind 127.0.0.1"
    )]
    Exposed(String),
}

/// The settings of the three sources over the defaults. `variable` asks the environment; `flags` are names and values.
pub fn load(
    file: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    flags: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, LoadError> {
    let config = Config::default();
    for (name, value) in file.map(file::read).transpose()?.unwrap_or_default() {
        set(&config, Source::File, &name, &value)?;
    }
    for row in ROWS {
        if let Some(value) = variable(&row.variable()) {
            set(&config, Source::Environment, row.name, &value)?;
        }
    }
    for (name, value) in flags {
        set(&config, Source::Flag, &name, &value)?;
    }
    check(&config)?;
    Ok(config)
}

fn set(config: &Config, source: Source, name: &str, text: &str) -> Result<(), LoadError> {
    let row = rows::find(name).ok_or_else(|| LoadError::Unknown(source.name_of(name)))?;
    let value = config.read(row, text);
    let value = value.map_err(|why| LoadError::Value { place: source.name_of(name), why })?;
    if matches!(row.kind, Kind::Floored { .. }) && row.kind.show(&value) != text {
        tracing::warn!(setting = row.name, asked = text, "below its floor: raised");
    }
    config.store(row.key, value);
    Ok(())
}

/// What no single value shows.
fn check(config: &Config) -> Result<(), LoadError> {
    let addresses = config.bind_addresses();
    if addresses.is_empty() {
        let why = "at least one address to listen on is needed".into();
        return Err(LoadError::Value { place: "bind".into(), why });
    }
    if config.text(Key::Requirepass).is_empty()
        && let Some((open, _)) = addresses.into_iter().find(|(address, _)| !super::is_loopback(address))
    {
        return Err(LoadError::Exposed(open));
    }
    Ok(())
}

/// The file that a node reads and CONFIG REWRITE writes: the one that is named, else `capstan.toml` in its folder.
#[must_use]
pub fn file_of(named: Option<&Path>, dir: Option<&Path>) -> Option<std::path::PathBuf> {
    named.map(Path::to_owned).or_else(|| dir.map(|dir| dir.join("capstan.toml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = "maxmemory = '1mb'\ntimeout = 1\nmaxclients = 11\n";
        let variable = |name: &str| match name {
            "CAPSTAN_TIMEOUT" => Some("2".into()),
            "CAPSTAN_MAXCLIENTS" => Some("22".into()),
            _ => None,
        };
        let config = load(Some(file), variable, flags(&[("maxclients", "33")])).expect("valid");
        assert_eq!(config.number(Key::Maxmemory), 1 << 20);
        assert_eq!(config.number(Key::Timeout), 2);
        assert_eq!(config.number(Key::Maxclients), 33);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        let error = |file: Option<&str>, variable: Option<&str>, flag: &[(&str, &str)]| {
            let ask = |name: &str| variable.filter(|_| name == "CAPSTAN_PORT").map(Into::into);
            load(file, ask, flags(flag)).expect_err("refused").to_string()
        };
        assert!(
            error(Some("port = 'x'"), None, &[]).starts_with("'port' in the configuration file: argument")
        );
        assert!(error(None, Some("x"), &[]).starts_with("CAPSTAN_PORT: argument"));
        assert!(error(None, None, &[("port", "x")]).starts_with("--port: argument"));
        assert!(error(Some("prot = 1"), None, &[]).ends_with("there is no such setting"));
        assert!(error(None, None, &[("bind", "")]).starts_with("bind: at least one"));
    }

    #[test]
    fn without_a_password_only_loopback_is_listened_on() {
        let none = |_: &str| None;
        let error = load(None, none, flags(&[("bind", "0.0.0.0")])).expect_err("open").to_string();
        assert!(error.contains("set requirepass"), "{error}");
        assert!(load(None, none, flags(&[("bind", "0.0.0.0"), ("requirepass", "x")])).is_ok());
    }
}
