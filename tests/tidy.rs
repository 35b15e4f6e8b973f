//! The house rules that a program can check, as ordinary tests over the files of this checkout.
//!
//! What is measured by a ratchet (lengths of files and functions) has its exceptions in `tests/tidy-exceptions`:
//! a row names today's length exactly, so it can only shrink, and a row that is no longer needed fails too.
//! Nothing here judges what clippy and the compiler judge already.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/lex.rs"]
mod lex;

use lex::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file has fewer lines than this.
const FILE_LINES: usize = 500;
/// A function has fewer lines than this, its signature included.
const FUNCTION_LINES: usize = 70;
/// The one file that may contain `unsafe`, and the one crate root that can therefore only deny it.
const UNSAFE_FILE: &str = "node/src/store/raw.rs";
const UNSAFE_ROOT: &str = "node/src/lib.rs";
/// The only place that reads clocks and draws random numbers.
const ENV: &str = "proto/src/env/";

/// The top of the checkout.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every file below `dir`, but for what is built, hidden or downloaded.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).expect("a readable folder");
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let skipped = name.starts_with('.') || ["target", "node_modules", "capstan-dev"].contains(&&*name);
        if skipped || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Path from the top and content of every file with this extension, in order of the paths.
fn files(extension: &str) -> Vec<(String, String)> {
    let top = top();
    let mut paths = Vec::new();
    walk(&top, &mut paths);
    paths.sort();
    let wanted = paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == extension));
    wanted
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let name = path.strip_prefix(&top).expect("below the top").to_string_lossy().into_owned();
            (name, text)
        })
        .collect()
}

fn sources() -> Vec<Source> {
    let sources: Vec<Source> = files("rs").into_iter().map(|(path, text)| Source::new(path, text)).collect();
    assert!(sources.len() > 20, "only {} sources found: the walk is broken", sources.len());
    sources
}

/// Fails with one line per breach.
fn none(rule: &str, breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<String> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

/// `path:line: what` for every line of the code (comments and texts blanked) that contains one of the words.
fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    let hits = source.code.lines().enumerate().flat_map(|(i, line)| {
        let hit = words.iter().filter(|word| line.contains(**word));
        hit.map(move |word| format!("{}:{}: {word}", source.path, i + 1))
    });
    hits.collect()
}

#[test]
fn every_source_file_says_in_its_first_line_what_it_is() {
    let silent = sources().into_iter().filter(|s| !s.text.starts_with("//! "));
    none("the first line must be a `//!` sentence", silent.map(|s| s.path));
}

/// `file PATH LINES`, `fn PATH NAME LINES` and `untested NAME`, as written in `tests/tidy-exceptions`.
fn exceptions() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(top().join("tests/tidy-exceptions")).expect("the list of exceptions");
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        if row.starts_with("untested ") {
            return (row.to_owned(), 0);
        }
        let (what, lines) = row.rsplit_once(' ').expect("`file PATH LINES` or `fn PATH NAME LINES`");
        (what.to_owned(), lines.parse().expect("a number of lines"))
    })
    .collect()
}

#[test]
fn files_and_functions_are_short_but_for_a_list_that_only_shrinks() {
    let mut long = BTreeMap::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines >= FILE_LINES {
            long.insert(format!("file {}", source.path), lines);
        }
        for (name, lines) in source.functions() {
            if lines >= FUNCTION_LINES {
                let longest = long.entry(format!("fn {} {name}", source.path)).or_insert(0);
                *longest = lines.max(*longest);
            }
        }
    }
    let allowed: BTreeMap<_, _> = exceptions().into_iter().filter(|(_, lines)| *lines > 0).collect();
    let names: BTreeSet<&String> = long.keys().chain(allowed.keys()).collect();
    let breaches = names.into_iter().filter_map(|name| match (long.get(name), allowed.get(name)) {
        (Some(now), None) => {
            Some(format!("{name} {now}: too long (files < {FILE_LINES}, fn < {FUNCTION_LINES})"))
        }
        (None, Some(_)) => Some(format!("{name}: the row is no longer needed, remove it")),
        (Some(now), Some(was)) if now > was => Some(format!("{name} {now}: grew from {was}")),
        (Some(now), Some(was)) if now < was => Some(format!("{name} {now}: lower the row from {was}")),
        (Some(_), Some(_)) | (None, None) => None,
    });
    none("lengths against tests/tidy-exceptions", breaches);
}

#[test]
fn no_module_is_named_after_nothing() {
    let nothing = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let named = sources().into_iter().filter(|source| {
        let path = Path::new(&source.path).with_extension("");
        path.components().any(|part| nothing.contains(&&*part.as_os_str().to_string_lossy()))
            || nothing.iter().any(|name| lex::has_words(&source.code, &["mod", name]))
    });
    none("name a module after its idea", named.map(|s| s.path));
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let later = ["todo!", "unimplemented!", "#[ignore", "dbg!("];
    let breaches = sources().into_iter().flat_map(|source| {
        let mut hits = lines_with(&source, &later);
        let notes = source.text.lines().enumerate();
        let marks = [concat!("FIX", "ME"), concat!("XX", "X "), concat!("TO", "DO")];
        let noted = notes.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        hits.extend(noted.map(|(i, _)| format!("{}:{}: a note for later", source.path, i + 1)));
        hits
    });
    none("finish it, refuse it with a clear error, or open an issue", breaches);
}

#[test]
fn only_the_env_reads_clocks_and_draws_random_numbers() {
    let reads =
        ["Instant::now", "SystemTime::now", "thread_rng(", "rand::random", "thread::sleep", "::from_entropy"];
    let outside = sources().into_iter().filter(|source| !source.path.starts_with(ENV));
    let breaches = outside.flat_map(|source| {
        let mut hits = lines_with(&source, &reads);
        // openraft's seam for chance has that name.
        hits.retain(|hit| !(source.path == "meta/src/raft/types.rs" && hit.ends_with("thread_rng(")));
        // Generated code is exempt where it is included, not where we write.
        if source.path != "proto/src/rpc/mod.rs" {
            hits.extend(lines_with(&source, &["clippy::disallowed_methods"]));
        }
        hits
    });
    none("time and chance are arguments, or come from Env", breaches);
}

#[test]
fn unsafe_code_lives_in_one_file_and_every_other_crate_forbids_it() {
    let mut breaches = Vec::new();
    for source in sources() {
        if source.path != UNSAFE_FILE && lex::has_words(&source.code, &["unsafe"]) {
            breaches.push(format!("{}: unsafe outside {UNSAFE_FILE}", source.path));
        }
        let file = source.path.split_once('/').map_or("", |(_, rest)| rest);
        let root = file == "src/lib.rs" || file == "src/main.rs" || file.starts_with("src/bin/");
        let lint =
            if source.path == UNSAFE_ROOT { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        if root && !source.code.contains(lint) {
            breaches.push(format!("{}: a crate root without {lint}", source.path));
        }
        if source.path != UNSAFE_FILE && source.code.contains("allow(unsafe_code)") {
            let raw_module = source.path == "node/src/store/mod.rs";
            breaches.extend((!raw_module).then(|| format!("{}: allow(unsafe_code)", source.path)));
        }
    }
    none("unsafe", breaches);
}

#[test]
fn server_code_does_not_unwrap() {
    let servers = ["proto/src/", "meta/src/", "node/src/", "cli/src/"];
    let breaches = sources()
        .into_iter()
        .filter(|s| servers.iter().any(|dir| s.path.starts_with(dir)))
        .flat_map(|source| {
            let allowed = source.code.matches("allow(clippy::unwrap_used").count();
            (allowed > 0 && source.path != "proto/src/rpc/mod.rs")
                .then(|| format!("{}: allow(unwrap_used)", source.path))
        });
    none("a server answers with an error, it does not panic (I12)", breaches);
}

#[test]
fn every_rule_with_a_switch_is_named_in_a_test() {
    let sources = sources();
    let rules = sources.iter().find(|s| s.path == "proto/src/rules.rs").expect("the rules");
    let body = rules.text.split("pub enum Rule {").nth(1).expect("the list of rules");
    let rows = body.split('}').next().expect("its end").lines();
    let rows: Vec<(&str, &str)> =
        rows.filter_map(|row| row.trim().trim_end_matches(',').split_once(" = ")).collect();
    assert!(rows.len() >= 7, "the list of rules was not read");
    let tests: String =
        sources.iter().filter(|s| s.path != "proto/src/rules.rs").map(Source::tests).collect();
    let untested = rows.into_iter().filter(|(name, number)| {
        !tests.contains(&format!("Rule::{name}")) && !lex::has_number(&tests, '►', number)
    });
    against_exceptions('►', untested.map(|(_, number)| format!("untested ►{number}")).collect());
}

#[test]
fn every_invariant_in_force_is_named_in_a_test() {
    let tests: String = sources().iter().filter(|s| s.path != "tests/tidy.rs").map(Source::tests).collect();
    // Those that the parts built so far can break.
    let untested =
        [1, 2, 3, 4, 12].into_iter().filter(|n: &u32| !lex::has_number(&tests, 'I', &n.to_string()));
    against_exceptions('I', untested.map(|n| format!("untested I{n}")).collect());
}

/// Fails unless exactly these `untested` rows of this kind are in the list of exceptions.
fn against_exceptions(mark: char, untested: BTreeSet<String>) {
    let rows = exceptions().into_keys();
    let listed: BTreeSet<String> = rows.filter(|row| row.starts_with(&format!("untested {mark}"))).collect();
    none("against tests/tidy-exceptions", untested.symmetric_difference(&listed).cloned());
}

#[test]
fn links_and_paths_in_the_documents_lead_somewhere() {
    let top = top();
    none("documents", files("md").iter().flat_map(|(path, text)| docs::dead_links(&top, path, text)));
}

#[test]
fn tests_named_in_docs_consistency_exist() {
    let text = std::fs::read_to_string(top().join("docs/consistency.md")).expect("docs/consistency.md");
    none("docs/consistency.md", docs::missing_tests(&text, &sources()));
}

#[test]
fn the_commands_of_the_readme_are_the_ones_that_the_gate_runs() {
    let readme = std::fs::read_to_string(top().join("README.md")).expect("README.md");
    let gate = std::fs::read_to_string(top().join(".ci/run")).expect(".ci/run");
    assert!(!docs::commands(&readme).is_empty(), "README.md shows no command");
    assert!(gate.contains(".ci/readme"), ".ci/run does not run the README's commands");
}

#[test]
fn scripts_say_what_runs_them_and_stop_at_unset_names() {
    let top = top();
    let mut paths = Vec::new();
    for dir in [".ci", "tests/bench", "tests/real-clients", "tests/garbage"] {
        if top.join(dir).is_dir() {
            walk(&top.join(dir), &mut paths);
        }
    }
    let scripts = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let shell = text.lines().next()?.contains("sh") && text.starts_with("#!");
        shell.then_some((path, text))
    });
    let loose = scripts.filter(|(_, text)| !text.lines().any(|l| l.starts_with("set -") && l.contains('u')));
    none(
        "a shell script starts with `set -u` or stricter",
        loose.map(|(path, _)| path.display().to_string()),
    );
}
