//! The TOML file: `name = value` at the top level, a value being a string, a number or a truth value.
//!
//! Reading gives the pairs in the order of the file; [`rewritten`] gives the text of the file with some settings
//! changed and everything else, comments and unknown names included, left as it is. Pure: the shells do the I/O.

use toml_edit::{DocumentMut, Formatted, Item, Value};

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is no TOML.
    #[error("it is no TOML: {0}")]
    Syntax(String),
    /// A value is neither text nor number nor truth value.
    #[error("'{0}' is a table or a list, and should be a text, a number or true or false")]
    NotPlain(String),
}

/// The settings that a file names, as text.
pub fn read(text: &str) -> Result<Vec<(String, String)>, FileError> {
    let document = parse(text)?;
    let plain = |(name, item): (&str, &Item)| {
        let value = item.as_value().and_then(plain_text);
        value.map(|value| (name.to_owned(), value)).ok_or_else(|| FileError::NotPlain(name.to_owned()))
    };
    document.iter().map(plain).collect()
}

/// The text of the file with these settings changed; a name that it lacks is added at its end.
pub fn rewritten<'a>(
    text: &str,
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<String, FileError> {
    let mut document = parse(text)?;
    for (name, value) in settings {
        let fresh = match value.parse::<i64>() {
            Ok(number) if number.to_string() == value => Value::Integer(Formatted::new(number)),
            _ => Value::String(Formatted::new(value.to_owned())),
        };
        match document.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                // The spaces and the comment around a value belong to it.
                let decor = old.decor().clone();
                *old = fresh;
                *old.decor_mut() = decor;
            }
            None => drop(document.insert(name, Item::Value(fresh))),
        }
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, FileError> {
    text.parse().map_err(|error: toml_edit::TomlError| FileError::Syntax(error.to_string().trim_end().into()))
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(yes) => Some(if *yes.value() { "yes" } else { "no" }.into()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# my node\nmaxmemory = \"1gb\" # enough\nport = 7000\n\nmine = true\n";

    #[test]
    fn plain_values_are_read_and_others_named() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(FILE), Ok(vec![pair("maxmemory", "1gb"), pair("port", "7000"), pair("mine", "yes")]));
        assert_eq!(read("a = [1]"), Err(FileError::NotPlain("a".into())));
        assert!(matches!(read("a = = 1"), Err(FileError::Syntax(_))));
    }

    #[test]
    fn rewriting_keeps_comments_order_and_unknown_names() {
        let text = rewritten(FILE, [("maxmemory", "5"), ("requirepass", "a\"b")].into_iter()).expect("valid");
        assert_eq!(
            text,
            "# my node\nmaxmemory = 5 # enough\nport = 7000\n\nmine = true\nrequirepass = 'a\"b'\n"
        );
        assert!(read(&text).expect("valid").contains(&("requirepass".into(), "a\"b".into())));
        assert_eq!(rewritten("", std::iter::empty()), Ok(String::new()));
    }
}
