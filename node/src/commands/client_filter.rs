//! Which clients CLIENT KILL and CLIENT LIST mean. Pure.

use super::Args;
use crate::clients::Client;
use crate::resp::Error;

/// A client matches when it matches all that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    ids: Option<Vec<u64>>,
    from: Option<String>,
    to: Option<String>,
    user: Option<String>,
    /// A kind of client that this node has none of (replicas, subscribers).
    nobody: bool,
    skip_me: Option<bool>,
}

impl Filter {
    /// `CLIENT KILL ip:port`.
    #[must_use]
    pub fn from_address(address: &[u8]) -> Self {
        Self { from: Some(String::from_utf8_lossy(address).into()), skip_me: Some(false), ..Self::default() }
    }

    /// `ID …`: one of these.
    #[must_use]
    pub fn of_ids(ids: Vec<u64>) -> Self {
        Self { ids: Some(ids), ..Self::default() }
    }

    /// `TYPE …`.
    pub fn of_type(kind: &[u8]) -> Result<Self, Error> {
        let is = |word: &str| kind.eq_ignore_ascii_case(word.as_bytes());
        if is("normal") {
            return Ok(Self::default());
        }
        if ["master", "slave", "replica", "pubsub"].into_iter().any(is) {
            return Ok(Self { nobody: true, ..Self::default() });
        }
        Err(Error::err(format!("Unknown client type '{}'", String::from_utf8_lossy(kind))))
    }

    /// The options of `CLIENT KILL`, from argument 2 on.
    pub fn read(args: Args<'_>) -> Result<Self, Error> {
        let mut filter = Self::default();
        let mut at = 2;
        while at < args.len() {
            let value = args.get(at + 1).ok_or(Error::Syntax)?;
            let text = || Some(String::from_utf8_lossy(value).into_owned());
            if args.is(at, "id") {
                let id = super::args::parse_int(value).filter(|id| *id > 0);
                let id = id.ok_or_else(|| Error::err("client-id should be greater than 0"))?;
                filter.ids = Some(vec![id.unsigned_abs()]);
            } else if args.is(at, "type") {
                filter.nobody = Self::of_type(value)?.nobody;
            } else if args.is(at, "addr") {
                filter.from = text();
            } else if args.is(at, "laddr") {
                filter.to = text();
            } else if args.is(at, "user") {
                if value != b"default" {
                    return Err(Error::err(format!("No such user '{}'", String::from_utf8_lossy(value))));
                }
                filter.user = text();
            } else if args.is(at, "skipme") {
                filter.skip_me = Some(match (args.is(at + 1, "yes"), args.is(at + 1, "no")) {
                    (true, _) => true,
                    (_, true) => false,
                    (false, false) => return Err(Error::Syntax),
                });
            } else {
                return Err(Error::Syntax);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// Whether it means this client; the caller is looked at by [`Self::spares_caller`].
    #[must_use]
    pub fn takes(&self, client: &Client) -> bool {
        !self.nobody
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.from.as_ref().is_none_or(|from| *from == client.from.to_string())
            && self.to.as_ref().is_none_or(|to| *to == client.to.to_string())
            && self.user.as_ref().is_none_or(|user| *user == client.names().user)
    }

    /// Whether the one who kills stays: unless it said otherwise.
    #[must_use]
    pub fn spares_caller(&self) -> bool {
        self.skip_me.unwrap_or(true)
    }
}
