//! What a program can check in the documents: links, named paths, named tests, and which commands they show.

use super::lex::Source;
use std::path::Path;

/// Folders whose files are named in documents as `folder/…`.
const FOLDERS: [&str; 8] = ["proto/", "meta/", "node/", "cli/", "jepsen/", "tests/", "docs/", ".ci/"];

/// Relative links, and paths in back-quotes, that lead nowhere.
pub(crate) fn dead_links(top: &Path, path: &str, text: &str) -> Vec<String> {
    let mut dead = Vec::new();
    let folder = top.join(path).parent().map(Path::to_owned).unwrap_or_default();
    for (i, line) in outside_fences(text) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !folder.join(target).exists() {
                dead.push(format!("{path}:{}: no such file: {target}", i + 1));
            }
        }
        for code in line.split('`').skip(1).step_by(2) {
            let code = code.split(['#', ':']).next().unwrap_or_default();
            let named =
                FOLDERS.iter().any(|f| code.starts_with(f)) && !code.contains([' ', '*', '<', '{', '…', ',']);
            if named && !top.join(code).exists() {
                dead.push(format!("{path}:{}: no such file: {code}", i + 1));
            }
        }
    }
    dead
}

/// The lines of a document that stand in no fenced block, with their numbers.
fn outside_fences(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The lines of a document's fenced `sh` blocks.
pub(crate) fn commands(text: &str) -> Vec<&str> {
    let mut shell = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        let inside = shell && !fence;
        if fence {
            shell = !shell && line.trim() == "```sh";
        }
        inside && !line.trim().is_empty()
    });
    lines.collect()
}

/// Tests that docs/consistency.md names as `path::test_name` and that are not there.
pub(crate) fn missing_tests(text: &str, sources: &[Source]) -> Vec<String> {
    let mut missing = Vec::new();
    let mut seen = 0;
    for code in text.split('`').skip(1).step_by(2) {
        let Some((path, name)) = code.split_once(".rs::") else { continue };
        seen += 1;
        let path = format!("{path}.rs");
        let source = sources.iter().find(|s| s.path == path);
        if !source.is_some_and(|s| s.code.contains(&format!("fn {name}("))) {
            missing.push(format!("no test {name} in {path}"));
        }
    }
    if seen == 0 {
        missing.push("names no test".to_owned());
    }
    missing
}

#[test]
fn commands_are_the_lines_of_sh_blocks_only() {
    let text = "a\n```sh\nls\n\npwd\n```\nb\n```toml\nx = 1\n```\n```sh\nid\n```\n";
    assert_eq!(commands(text), ["ls", "pwd", "id"]);
}

#[test]
fn a_dead_link_and_a_dead_path_are_found_with_their_line() {
    let top = super::top();
    let text = "[a](README.md)\n[b](nowhere.md) `docs/nowhere.md` `tests/tidy.rs::name`\n";
    let dead = dead_links(&top, "README.md", text);
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.iter().all(|d| d.starts_with("README.md:2:")), "{dead:?}");
}
