//! The options of SET and GETEX, read as Redis reads them: any order, the last expiry of a kind wins, two kinds do
//! not go together. Pure.

use crate::commands::Args;
use crate::commands::deadline::{From, Stated, Unit};
use crate::resp::Error;
use capstan_proto::env::UnixMs;

/// Which command's options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// NX, XX, GET, KEEPTTL, expiries.
    Set,
    /// PERSIST, expiries.
    GetEx,
}

/// When SET writes at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Condition {
    /// In any case.
    #[default]
    Always,
    /// If the key is missing.
    Missing,
    /// If the key is there.
    Present,
}

/// What becomes of the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Expiry {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// It is the argument with this number, stated in this way.
    At(usize, Unit, From),
}

/// All options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    /// NX or XX.
    pub(super) condition: Condition,
    /// GET: answer the old value.
    pub(super) get: bool,
    /// KEEPTTL, PERSIST, or an expiry.
    pub(super) expiry: Expiry,
}

impl Options {
    /// Reads the arguments from the `from`th on.
    pub(super) fn read(args: Args<'_>, from: usize, of: Of) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut i = from;
        while i < args.len() {
            i += options.read_one(args, i, of)?;
        }
        Ok(options)
    }

    /// Reads one option and returns how many arguments it took.
    fn read_one(&mut self, args: Args<'_>, i: usize, of: Of) -> Result<usize, Error> {
        let set = of == Of::Set;
        if set && args.is(i, "NX") && self.condition != Condition::Present {
            self.condition = Condition::Missing;
        } else if set && args.is(i, "XX") && self.condition != Condition::Missing {
            self.condition = Condition::Present;
        } else if set && args.is(i, "GET") {
            self.get = true;
        } else if set && args.is(i, "KEEPTTL") && matches!(self.expiry, Expiry::Unsaid | Expiry::Keep) {
            self.expiry = Expiry::Keep;
        } else if !set && args.is(i, "PERSIST") && matches!(self.expiry, Expiry::Unsaid | Expiry::Persist) {
            self.expiry = Expiry::Persist;
        } else if let Some((unit, from)) = expiry_word(args, i)
            && i + 1 < args.len()
            && self.can_expire(unit, from)
        {
            self.expiry = Expiry::At(i + 1, unit, from);
            return Ok(2);
        } else {
            return Err(Error::Syntax);
        }
        Ok(1)
    }

    /// The same word can be said again, another one cannot.
    fn can_expire(&self, unit: Unit, from: From) -> bool {
        match self.expiry {
            Expiry::Unsaid => true,
            Expiry::Keep | Expiry::Persist => false,
            Expiry::At(_, said_unit, said_from) => said_unit == unit && said_from == from,
        }
    }

    /// The stated expiry, if one is stated.
    pub(super) fn deadline(
        &self,
        args: Args<'_>,
        command: &'static str,
        now: UnixMs,
    ) -> Result<Option<UnixMs>, Error> {
        match self.expiry {
            Expiry::Unsaid | Expiry::Keep | Expiry::Persist => Ok(None),
            Expiry::At(i, unit, from) => Stated { unit, from, command }.positive(args.int(i)?, now).map(Some),
        }
    }
}

fn expiry_word(args: Args<'_>, i: usize) -> Option<(Unit, From)> {
    [
        ("EX", Unit::Seconds, From::Now),
        ("PX", Unit::Milliseconds, From::Now),
        ("EXAT", Unit::Seconds, From::Epoch),
        ("PXAT", Unit::Milliseconds, From::Epoch),
    ]
    .into_iter()
    .find_map(|(word, unit, from)| args.is(i, word).then_some((unit, from)))
}
