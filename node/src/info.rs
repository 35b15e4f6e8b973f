//! INFO: what a node tells about itself, in sections of `field:value` lines.
//!
//! [`facts`] collects everything at one instant, [`text`] prints it. Fields are those that redis_exporter, redis-py
//! and redis-cli read; a field that Redis has is left out where Capstan could only make a number up.

pub mod facts;
pub mod process;
pub mod replication;
pub mod text;

/// A section, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Server,
        Self::Clients,
        Self::Memory,
        Self::Persistence,
        Self::Stats,
        Self::Replication,
        Self::Cpu,
        Self::Modules,
        Self::Commandstats,
        Self::Errorstats,
        Self::Latencystats,
        Self::Cluster,
        Self::Keyspace,
    ];

    /// As it stands in the heading; without regard to case it is also what INFO is asked with.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Clients => "Clients",
            Self::Memory => "Memory",
            Self::Persistence => "Persistence",
            Self::Stats => "Stats",
            Self::Replication => "Replication",
            Self::Cpu => "CPU",
            Self::Modules => "Modules",
            Self::Commandstats => "Commandstats",
            Self::Errorstats => "Errorstats",
            Self::Latencystats => "Latencystats",
            Self::Cluster => "Cluster",
            Self::Keyspace => "Keyspace",
        }
    }

    /// Whether INFO without an argument shows it.
    #[must_use]
    pub const fn is_default(self) -> bool {
        !matches!(self, Self::Commandstats | Self::Latencystats)
    }
}

/// Which sections were asked for, in the order of printing. A name that does not exist asks for nothing.
#[must_use]
pub fn wanted<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Section> {
    if names.len() == 0 {
        return Section::ALL.into_iter().filter(|section| section.is_default()).collect();
    }
    let names: Vec<&[u8]> = names.collect();
    let asked = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word.as_bytes()));
    let is_wanted = |section: &Section| {
        asked(section.heading())
            || asked("default") && section.is_default()
            || asked("everything")
            || asked("all") && *section != Section::Modules
    };
    Section::ALL.into_iter().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_chosen_as_redis_chooses_them() {
        let ask =
            |names: &[&str]| wanted(names.iter().map(|name| name.as_bytes()).collect::<Vec<_>>().into_iter());
        assert_eq!(ask(&["CPU", "server", "nonsense"]), [Section::Server, Section::Cpu]);
        assert_eq!(ask(&["everything"]), Section::ALL);
        assert!(!ask(&[]).contains(&Section::Commandstats) && ask(&[]).contains(&Section::Keyspace));
        assert!(ask(&["all"]).contains(&Section::Commandstats) && !ask(&["all"]).contains(&Section::Modules));
        assert_eq!(ask(&["default"]), ask(&[]));
        assert!(ask(&["nonsense"]).is_empty());
    }
}
