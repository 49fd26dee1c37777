//! The entries with input that is generated, and with seeds that are changed: on every machine, with or without fuzzers.

use std::{fs, path::PathBuf};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};

use super::*;

/// Inputs of each entry.
const CASES: u32 = 768;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The committed inputs of an entry.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("seeds").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Cut(Index),
    /// A piece of another seed.
    Splice(Index, Index, Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    // What many of the formats care about.
    let tokens = [
        "\n",
        "\r\n",
        "\r",
        ":",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\0",
        "*",
        "!",
        "/",
        "%2e",
        "%25",
        "${A}",
        "${",
        "data:",
        "\u{feff}",
        "\\u0000",
        "\\ud800",
        "null",
        "1e999",
        "-0",
        SECRET,
        "content-length: 1\r\n",
        "transfer-encoding: chunked\r\n",
        "\"method\":1,",
        "\"params\":{},",
    ];
    let token = prop::sample::select(tokens.map(|token| token.as_bytes().to_vec()).to_vec());
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (at(), token).prop_map(|(at, token)| Change::Insert(at, token)),
        (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..32_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1..16_usize, 1..64_usize).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        at().prop_map(Change::Cut),
        (at(), at(), at(), 1..64_usize)
            .prop_map(|(at, seed, from, length)| Change::Splice(at, seed, from, length)),
    ]
}

fn changed(mut input: Vec<u8>, changes: &[Change], seeds: &[Vec<u8>]) -> Vec<u8> {
    let piece = |from: &[u8], at: usize, length: usize| from[at..from.len().min(at + length)].to_vec();
    for change in changes {
        let place = |at: &Index| at.index(input.len() + 1);
        match change {
            Change::Flip(at, byte) => {
                let at = at.index(input.len().max(1));
                if let Some(one) = input.get_mut(at) {
                    *one ^= byte;
                }
            }
            Change::Insert(at, bytes) => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at, length) => {
                let at = place(at);
                input.drain(at..input.len().min(at + length));
            }
            Change::Repeat(at, length, times) => {
                let at = place(at);
                let bytes = piece(&input, at, *length).repeat(*times);
                input.splice(at..at, bytes);
            }
            Change::Cut(at) => input.truncate(place(at)),
            Change::Splice(at, seed, from, length) => {
                let (at, seed) = (place(at), &seeds[seed.index(seeds.len())]);
                let bytes = piece(seed, from.index(seed.len() + 1), *length);
                input.splice(at..at, bytes);
            }
        }
    }
    input
}

/// Runs an entry with its seeds, with changed seeds, and with random bytes.
fn run(name: &str) {
    let (_, entry) = ENTRIES.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = seeds(name);
    for seed in &seeds {
        entry(seed);
    }
    let from_seed = (any::<Index>(), prop::collection::vec(change(), 1..6));
    let from_seed = from_seed.prop_map({
        let seeds = seeds.clone();
        move |(seed, changes)| changed(seeds[seed.index(seeds.len())].clone(), &changes, &seeds)
    });
    let input = prop_oneof![
        6 => from_seed,
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => any::<String>().prop_map(String::into_bytes),
    ];
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    });
    let outcome = runner.run(&input, |bytes| {
        entry(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

macro_rules! entries {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn each_entry_has_a_test_a_target_and_seeds() {
            let tested: BTreeSet<&str> = [$(stringify!($name)),*].into();
            let entries: BTreeSet<&str> = ENTRIES.iter().map(|(name, _)| *name).collect();
            assert_eq!(tested, entries);
            let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
            for (name, _) in ENTRIES {
                assert!(!seeds(name).is_empty());
                assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
                let target = folder().join(format!("fuzz_targets/{name}.rs"));
                assert!(fs::read_to_string(target).unwrap().contains("aih::fuzz::"), "{name}");
            }
        }
    };
}

entries!(
    sse,
    json,
    message,
    received,
    permissions,
    config,
    component,
    http_head,
    redact
);
