//! The answer to `CONTAINER HELP`, laid out as Redis lays it out.

use crate::resp::Reply;

/// Writes the heading, the lines and the line about HELP itself.
pub fn write(out: &mut Reply, container: &str, lines: &[&str]) {
    out.array(lines.len() + 3);
    out.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| out.simple(line));
    out.simple("HELP");
    out.simple("    Prints this help.");
}
